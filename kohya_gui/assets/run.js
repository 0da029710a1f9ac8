// A run's page: the log as it grows, values under the pointer in charts, sample pictures in full size.
(() => {
  const { $, $$, el, base } = window.studio;
  const LONGEST = 400000;
  let log = "", taken = -1, hits = [], at = -1;
  // Runs that are chosen for comparing: the list is drawn anew by every poll, the choice stays.
  const chosen = new Set();
  function keepChosen() {
    const button = $("#compare-button");
    if (!button) return;
    for (const box of $$("#runs input.choose")) if (box.checked !== chosen.has(box.value)) box.checked = chosen.has(box.value);
    button.disabled = chosen.size < 2;
    const words = chosen.size < 2 ? "Compare" : `Compare ${chosen.size}`;
    if (button.textContent !== words) button.textContent = words;
  }
  document.addEventListener("change", (event) => {
    if (!event.target.matches("#runs input.choose")) return;
    if (event.target.checked) chosen.add(event.target.value);
    else chosen.delete(event.target.value);
    keepChosen();
  });
  document.addEventListener("click", (event) => {
    if (event.target.id === "compare-button") location.href = `${base}/compare?ids=${[...chosen].map(encodeURIComponent).join(",")}`;
  });
  const run = new URLSearchParams(location.search).get("id") || "";

  function takeLog() {
    const feed = $("#log-feed [data-log]");
    if (!feed) return fillLog();
    const news = JSON.parse(feed.dataset.log);
    if (news.at === taken) return fillLog();
    if (news.from === 0 || news.at < taken) log = "";
    taken = news.at;
    // A progress line is drawn over the one before it.
    if (news.over) log = log.slice(0, log.lastIndexOf("\n") + 1);
    log = (log + news.text).slice(-LONGEST);
    fillLog(true);
  }
  function fillLog(fresh) {
    const box = $("#log-text");
    if (!box || (!fresh && box.dataset.filled)) return;
    box.dataset.filled = "1";
    const text = log || "Nothing written yet.";
    if (box.textContent !== text) box.textContent = text;
    if ($("#log-follow")?.checked) box.scrollTop = box.scrollHeight;
    $("#log-download").href = `${base}/file?run=${encodeURIComponent(run)}&path=log.txt&download=1`;
    $("#log-report").href = `${base}/report?run=${encodeURIComponent(run)}`;
    if ($("#log-find").value) find(false);
  }

  function find(move) {
    const wanted = $("#log-find").value.toLowerCase(), text = log.toLowerCase();
    hits = [];
    for (let from = 0; wanted && (from = text.indexOf(wanted, from)) >= 0 && hits.length < 2000; from += wanted.length) hits.push(from);
    $("#log-hits").textContent = wanted ? `${hits.length.toLocaleString()} found` : "";
    const node = $("#log-text").firstChild;
    if (window.CSS?.highlights && node) {
      CSS.highlights.set("found", new Highlight(...hits.map((hit) => range(node, hit, wanted.length))));
    }
    if (move && hits.length && node) {
      at = (at + 1) % hits.length;
      $("#log-follow").checked = false;
      const box = $("#log-text"), place = range(node, hits[at], wanted.length).getBoundingClientRect();
      box.scrollTop += place.top - box.getBoundingClientRect().top - box.clientHeight / 2;
    }
  }
  const range = (node, start, length) => {
    const made = document.createRange();
    made.setStart(node, Math.min(start, node.length));
    made.setEnd(node, Math.min(start + length, node.length));
    return made;
  };
  document.addEventListener("input", (event) => event.target.id === "log-find" && ((at = -1), find(false)));
  document.addEventListener("keydown", (event) => event.target.id === "log-find" && event.key === "Enter" && find(true));

  // Values under the pointer: read back from the drawing, so nothing is sent twice.
  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.("svg.chart");
    const tip = $("#chart-tip") || document.body.appendChild(el("div", { id: "chart-tip", hidden: true }));
    if (!svg) return (tip.hidden = true);
    const [xLow, xHigh, left, right] = svg.dataset.x.split(" ").map(Number), [yLow, yHigh, bottom, top] = svg.dataset.y.split(" ").map(Number);
    const box = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
    const pointer = ((event.clientX - box.left) / box.width) * width;
    const step = xLow + ((pointer - left) / (right - left)) * (xHigh - xLow);
    const lines = $$("polyline.line", svg).map((line) => {
      const near = [...line.points].reduce((best, point) => (Math.abs(point.x - pointer) < Math.abs(best.x - pointer) ? point : best));
      return `${line.dataset.label} ${(yLow + ((near.y - bottom) / (top - bottom)) * (yHigh - yLow)).toPrecision(3)}`;
    });
    tip.hidden = step < xLow || step > xHigh || !lines.length;
    tip.textContent = [`step ${Math.round(step).toLocaleString()}`, ...lines].join(" · ");
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.clientY - 36}px`;
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-view-picture]");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const box = $("#picture") || document.body.appendChild(el("dialog", { id: "picture", "aria-label": "Sample picture", onclick: () => box.close() }));
    box.replaceChildren(el("img", { src: link.href, alt: link.dataset.caption }), el("p", { class: "small" }, link.dataset.caption), el("button", { type: "button", class: "button" }, "Close"));
    box.showModal();
  });

  window.studio.ready(() => new MutationObserver(() => { takeLog(); keepChosen(); }).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-log"] }));
})();
