// The frame of every page: theme, menu, what the machine is doing, and whether the server still answers.
(() => {
  const base = window.STUDIO_BASE || "";
  const studio = (window.studio = { base });

  studio.ready = (run) => (document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", run) : run());
  studio.$ = (selector, from) => (from || document).querySelector(selector);
  studio.$$ = (selector, from) => [...(from || document).querySelectorAll(selector)];
  studio.el = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value != null) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child != null));
    return made;
  };
  // A sentence in the reader's language; {places} are filled by `values`. The page carries the texts that scripts say.
  studio.say = (english, values = {}) => (window.STUDIO_WORDS?.[english] || english).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
  // Gradio keeps its own copy of a value: it hears only of an assignment through the native setter followed by "input".
  studio.setValue = (input, value) => {
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(input), "value").set.call(input, value);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  studio.whenShown = (selector, run, tries = 60) => {
    const found = studio.$(selector);
    if (found) run(found);
    else if (tries > 0) requestAnimationFrame(() => studio.whenShown(selector, run, tries - 1));
  };

  // Gradio says that the page is in the browser's language, whatever language it is in.
  const root = document.documentElement;
  const language = window.STUDIO_LANGUAGE || "en";
  const told = () => root.lang !== language && (root.lang = language);
  told();
  new MutationObserver(told).observe(root, { attributes: true, attributeFilter: ["lang"] });

  const wanted = () => window.STUDIO_THEME || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const applyTheme = () => document.body && document.body.classList.toggle("dark", wanted() === "dark");
  studio.ready(() => {
    applyTheme();
    // Gradio sets the class itself once when it starts.
    new MutationObserver(() => document.body.classList.contains("dark") !== (wanted() === "dark") && applyTheme()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);

  // "light", "dark", or "" for what the system says.
  studio.setTheme = (name) => {
    window.STUDIO_THEME = name;
    try { name ? localStorage.setItem("studio-theme", name) : localStorage.removeItem("studio-theme"); } catch (error) { /* private mode: lasts for this page */ }
    applyTheme();
  };

  document.addEventListener("click", (event) => {
    if (event.target.closest("#theme")) studio.setTheme(wanted() === "dark" ? "light" : "dark");
    if (event.target.closest("#menu")) {
      const open = document.body.classList.toggle("menu-open");
      studio.$("#menu").setAttribute("aria-expanded", String(open));
    } else if (!event.target.closest("#side")) document.body.classList.remove("menu-open");
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      navigator.clipboard?.writeText(studio.$(copy.dataset.copy).textContent).then(() => {
        const before = copy.textContent;
        copy.textContent = studio.say("Copied");
        setTimeout(() => (copy.textContent = before), 1500);
      });
    }
  });
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-language]")) return;
    document.cookie = `studio_language=${event.target.value}; path=${base || "/"}; max-age=31536000; samesite=lax`;
    location.reload();
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && document.body.classList.remove("menu-open"));

  let heard = Date.now();
  studio.heard = () => (heard = Date.now());
  const showLost = () => {
    const box = studio.$("#lost");
    if (!box) return;
    const seconds = Math.round((Date.now() - heard) / 1000);
    box.hidden = seconds < 8;
    if (!box.hidden) box.textContent = studio.say("The server does not answer. Last heard {seconds} s ago; trying again.", { seconds });
  };
  const ask = async () => {
    const live = studio.$("#live");
    if (!live || document.hidden) return;
    try {
      const reply = await fetch(`${base}/status`, { headers: { accept: "text/html" } });
      if (reply.status === 401) return location.reload();
      const text = await reply.text();
      if (reply.ok && live.innerHTML !== text) live.innerHTML = text;
      studio.heard();
    } catch (error) { /* shown by showLost */ }
  };
  studio.ready(() => {
    studio.whenShown("#live", ask, 600);
    setInterval(ask, 3000);
    setInterval(showLost, 1000);
    document.addEventListener("visibilitychange", () => { studio.heard(); ask(); });
  });

  // A page that the server wants shown next is written into #goto.
  studio.ready(() => new MutationObserver(() => {
    const target = studio.$("#goto [data-href]");
    if (target && !target.dataset.taken) {
      target.dataset.taken = "1";
      location.href = target.dataset.href;
    }
  }).observe(document.body, { childList: true, subtree: true }));
})();
