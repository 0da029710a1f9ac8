// The Settings page, and the text for reports on the About page.
(() => {
  const { $, $$, el, say, base, ready, whenShown } = window.studio;
  let mark = "", before = "";

  const post = async (verb, body) => (await fetch(`${base}/settings/${verb}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();
  const tell = (html) => { $("#settings-told").innerHTML = html || ""; };
  const lost = () => tell(`<p class="told bad">${say("The server does not answer. Try again.")}</p>`);

  const rows = () => $$("#settings-defaults li").map((row) => [row.dataset.name, $("input", row).value]);
  const asked = () => ({ values: Object.fromEntries($$("#settings-form [name]").map((entry) => [entry.name, entry.value])), defaults: rows() });
  function showChanged() {
    const changed = JSON.stringify(asked()) !== before;
    $("#settings-save").disabled = $("#settings-back").disabled = !changed;
    $("#settings-changed").textContent = changed ? say("Not saved yet.") : "";
  }
  // `token`: only its field is drawn anew, so that what is typed in the form and in the other token's field stays.
  function show(answer, token) {
    if (!answer.page) return;
    const drawn = el("div");
    drawn.innerHTML = answer.page;
    if (token) {
      const field = (place) => $(`[data-token="${CSS.escape(token)}"]`, place).closest(".field");
      field(document).replaceWith(field(drawn));
      return $(`#t-${CSS.escape(token)}`).focus();
    }
    const typed = $$("#settings-work [data-token] input").map((entry) => [entry.id, entry.value]);
    $("#settings-work").replaceChildren(...drawn.childNodes);
    for (const [id, value] of typed) $(`#${CSS.escape(id)}`).value = value;
    mark = answer.mark;
    before = JSON.stringify(asked());
    showChanged();
  }
  async function ask(verb, body) {
    try {
      const answer = await post(verb, body);
      tell(answer.told);
      show(answer, body.variable);
      return answer;
    } catch (error) {
      lost();
    }
  }

  function add(name, text, label) {
    const known = $$("#settings-defaults li").find((row) => row.dataset.name === name);
    if (known) {
      $("input", known).value = text || $("input", known).value;
      return $("input", known).focus();
    }
    const title = label || $(`#settings-options option[value="${CSS.escape(name)}"]`)?.textContent;
    if (!title) return tell(`<p class="told bad">${say("No trainer has such an option. Choose one of the list.")}</p>`);
    const entry = el("input", { type: "text", value: text, "aria-label": say("Value of {option}", { option: title }) });
    const drop = el("button", { type: "button", class: "icon", "data-drop": true, "aria-label": say("Take {option} out", { option: title }) }, "✕");
    $("#settings-defaults").append(el("li", { "data-name": name }, el("span", {}, `${title} `, el("code", {}, name)), entry, drop));
    if (!text) entry.focus();
    showChanged();
  }
  const addTyped = () => {
    const entry = $("#settings-option");
    if (!entry.value.trim()) return entry.focus();
    add(entry.value.trim(), "");
    entry.value = "";
  };

  document.addEventListener("input", (event) => event.target.closest("#settings-form") && showChanged());
  document.addEventListener("submit", async (event) => {
    const token = event.target.closest("[data-token]");
    if (event.target.id === "settings-form") {
      event.preventDefault();
      await ask("save", { ...asked(), mark });
      $("#settings-told").scrollIntoView({ block: "center" });
    } else if (token) {
      event.preventDefault();
      const entry = $("input", token);
      if (entry.value.trim()) ask("token", { variable: token.dataset.token, value: entry.value.trim() });
      else entry.focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.id !== "settings-option") return;
    event.preventDefault();
    addTyped();
  });
  document.addEventListener("click", async (event) => {
    const at = (selector) => event.target.closest(selector);
    if (at("#settings-add")) addTyped();
    if (at("[data-drop]")) { at("li").remove(); showChanged(); }
    if (at("#settings-back")) ask("look", {});
    if (at("[data-forget]")) ask("token", { variable: at("[data-forget]").dataset.forget, value: null });
    if (at("#settings-from-form")) {
      const answer = await post("from-form", {}).catch(lost);
      for (const [name, text] of answer?.rows || []) add(name, text);
      if (answer?.rows && !answer.rows.length) tell(`<p class="told">${say("The form changes nothing that a new one could start with.")}</p>`);
    }
    const shower = at("#diagnostics-show");
    if (shower) {
      const text = $("#diagnostics");
      try {
        const reply = await fetch(`${base}/diagnostics`);
        if (!reply.ok) throw new Error(reply.status);
        text.textContent = await reply.text();
      } catch (error) {
        text.textContent = say("The server does not answer. Try again.");
      }
      shower.setAttribute("aria-expanded", "true");
      shower.textContent = say("Show it anew");
      for (const part of [text, ...$$("#about-report [hidden]")]) part.hidden = false;
    }
  });
  document.addEventListener("change", (event) => event.target.name === "look" && event.target.closest("#settings") && window.studio.setTheme(event.target.value));
  window.addEventListener("beforeunload", (event) => $("#settings-save") && !$("#settings-save").disabled && event.preventDefault());
  ready(() => whenShown("#settings-work", () => {
    const look = $(`#settings [name=look][value="${window.STUDIO_THEME || ""}"]`);
    if (look) look.checked = true;
    ask("look", {});
  }, 600));
})();
