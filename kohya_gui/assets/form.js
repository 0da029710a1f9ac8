// The form: marks at fields and sections, views, search, reset. Values belong to Gradio's widgets; this only decorates them and asks the server.
(() => {
  const { $, $$, el, setValue, whenShown } = window.studio;
  let marks = null, findings = null, index = [], trainers = {}, partOf = {}, view = "basic";
  try { view = sessionStorage.getItem("studio-view") || "basic"; } catch (error) { /* private mode */ }

  const read = (selector) => {
    const source = $(`${selector} [data-marks]`);
    return source ? JSON.parse(source.dataset.marks) : null;
  };
  const inputOf = (block) => $("textarea, input:not([type=hidden])", block);
  const once = (parent, className, make) => $(`:scope > .${className}`, parent) || parent.appendChild(make());

  // Fields, headings and sections of other trainers are hidden: the form holds them all.
  const hasPart = (part) => !part || !marks || trainers[marks.script]?.includes(part);
  const hasField = (name) => hasPart(partOf[name]);
  const hide = (block, absent) => { if (block.classList.contains("is-absent") !== absent) block.classList.toggle("is-absent", absent); };
  const hideOthers = (column) => {
    if (marks && column.dataset.script !== marks.script) {
      column.dataset.script = marks.script;
      if ($("#find")?.value) search($("#find").value);
    }
    for (const block of $$(".field[id^='f-']", column)) hide(block, !hasField(block.id.slice(2)));
    for (const heading of $$(".part-title[id^='part-']", column)) hide(heading, !hasPart(heading.id.slice(5)));
    for (const section of $$(".section", column)) {
      const own = index.filter((row) => row[3] === section.id);
      hide(section, own.length > 0 && !own.some((row) => hasPart(row[4])));
    }
  };

  function decorateField(block) {
    const name = block.id.slice(2);
    const problem = marks?.problems[name] || findings?.problems[name];
    const off = marks?.off[name];
    const changed = marks?.changed[name];
    block.classList.toggle("is-changed", changed !== undefined);
    block.classList.toggle("is-off", off !== undefined);
    block.classList.toggle("has-error", problem?.[0] === "error");
    block.classList.toggle("has-warning", problem?.[0] === "warning");
    const input = inputOf(block);
    const text = problem ? problem.slice(1, 3).filter(Boolean).join(" ") : off || "";
    const message = once(block, "message", () => el("p", { class: "message", id: `m-${name}`, "aria-live": "polite" }));
    if (message.textContent !== text) message.textContent = text;
    const fix = once(block, "mend", () => el("button", { class: "mend link", type: "button", "data-fix": name }, "Fix it"));
    fix.hidden = !problem?.[3];
    if (input) {
      const invalid = String(problem?.[0] === "error");
      if (input.getAttribute("aria-invalid") !== invalid) input.setAttribute("aria-invalid", invalid);
      if (/kind-(int|float|number)/.test(block.className) && !input.inputMode) input.inputMode = "decimal";
      if (input.getAttribute("aria-describedby") !== message.id) input.setAttribute("aria-describedby", message.id);
      for (const part of $$("input, textarea, .wrap", block)) if (part.inert !== (off !== undefined)) part.inert = off !== undefined;
    }
    const reset = once(block, "reset", () => el("button", { class: "reset link", type: "button", "data-reset": name }));
    const words = changed === undefined ? "" : `reset to ${changed}`;
    if (reset.textContent !== words) reset.textContent = words;
    reset.hidden = changed === undefined;
  }

  function decorateSection(section) {
    const own = marks?.sections[section.id] || { summary: "", mark: "", changed: 0 };
    const found = findings?.sections[section.id]?.mark || "";
    const mark = own.mark === "error" || found === "error" ? "error" : own.mark || found;
    section.classList.toggle("has-changed", own.changed > 0);
    const head = $(":scope > button.label-wrap", section);
    if (!head) return;
    head.setAttribute("aria-expanded", String(head.classList.contains("open")));
    const line = once(head, "summary", () => el("span", { class: "summary" }));
    if (line.textContent !== own.summary) line.textContent = own.summary;
    const words = mark === "error" ? "to mend" : mark === "warning" ? "look" : own.changed ? `${own.changed} changed` : "";
    const badge = once(head, "badge", () => el("span", { class: "badge" }));
    if (badge.textContent !== words) badge.textContent = words;
    badge.dataset.mark = mark || (own.changed ? "changed" : "");
  }

  function decorate() {
    const column = $("#form-column");
    if (!column) return;
    if (column.dataset.view !== view) column.dataset.view = view;
    hideOthers(column);
    for (const block of $$(".field[id^='f-']", column)) decorateField(block);
    for (const section of $$(".section", column)) decorateSection(section);
    const changed = marks ? Object.keys(marks.changed).length : 0;
    for (const button of $$("[data-view]", $("#find-bar"))) {
      button.setAttribute("aria-pressed", String(button.dataset.view === view));
      const words = button.dataset.view === "changed" && changed ? `Changed ${changed}` : button.dataset.view[0].toUpperCase() + button.dataset.view.slice(1);
      if (button.textContent !== words) button.textContent = words;
    }
    for (const button of $$("[data-act]", $("#find-bar"))) button.disabled = !marks?.[button.dataset.act];
    const errors = (marks?.errors || 0) + (findings?.errors || 0);
    const start = $("#start");
    if (start) start.classList.toggle("blocked", errors > 0);
  }

  let queued = false;
  const soon = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; marks = read("#marks") || marks; findings = read("#findings") || findings; decorate(); });
  };

  function show(wanted) {
    view = wanted;
    try { sessionStorage.setItem("studio-view", view); } catch (error) { /* private mode */ }
    decorate();
    if (view === "changed") for (const section of $$(".section.has-changed")) open(section);
  }
  const open = (section) => {
    const head = $(":scope > button.label-wrap", section);
    if (head && !head.classList.contains("open")) head.click();
  };

  function goTo(name) {
    const row = index.find((entry) => entry[0] === name);
    const section = row && document.getElementById(row[3]);
    if (!section) return;
    if (view !== "all") show("all");
    open(section);
    whenShown(`#f-${CSS.escape(name)}`, (block) => {
      block.scrollIntoView({ block: "center" });
      inputOf(block)?.focus({ preventScroll: true });
      block.classList.add("flash");
      setTimeout(() => block.classList.remove("flash"), 1200);
    });
  }

  const tell = (command) => {
    const channel = $("#act textarea, #act input");
    if (channel) setValue(channel, JSON.stringify({ ...command, n: performance.now() }));
  };

  // Search: a combobox over name, label and help.
  const results = () => $("#find-results");
  function search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const list = results();
    const score = ([name, label, help]) => {
      if (name === text.trim()) return 4;
      const spaced = name.replaceAll("_", " ");
      if (!words.every((word) => `${name} ${spaced} ${label} ${help}`.toLowerCase().includes(word))) return 0;
      const near = `${name} ${spaced} ${label}`.toLowerCase();
      return words.every((word) => near.includes(word)) ? (label.toLowerCase().startsWith(words[0]) || name.startsWith(words[0]) ? 3 : 2) : 1;
    };
    const found = words.length ? index.filter((row) => hasField(row[0])).map((row) => [score(row), row]).filter(([points]) => points).sort((a, b) => b[0] - a[0]).slice(0, 12) : [];
    list.replaceChildren(...found.map(([, [name, label, help]], place) => el("li", { role: "option", id: `found-${place}`, "data-goto": name, "aria-selected": String(place === 0) }, el("b", {}, label), el("code", {}, name.split("--")[0]), el("span", {}, help))));
    if (words.length && !found.length) list.append(el("li", { class: "none" }, "No setting is called that."));
    list.hidden = !words.length;
    $("#find").setAttribute("aria-expanded", String(!list.hidden));
    choose(0);
  }
  function choose(step) {
    const rows = $$("[role=option]", results());
    if (!rows.length) return $("#find").removeAttribute("aria-activedescendant");
    const now = Math.max(0, rows.findIndex((row) => row.getAttribute("aria-selected") === "true"));
    const next = (now + step + rows.length) % rows.length;
    rows.forEach((row, place) => row.setAttribute("aria-selected", String(place === next)));
    rows[next].scrollIntoView({ block: "nearest" });
    $("#find").setAttribute("aria-activedescendant", rows[next].id);
  }
  const chosen = (name) => { $("#find").value = ""; closeSearch(); goTo(name); };
  const closeSearch = () => { if (results()) { results().hidden = true; $("#find").setAttribute("aria-expanded", "false"); } };

  document.addEventListener("input", (event) => {
    if (event.target.id === "find") search(event.target.value);
    // The answer to an earlier button is no answer to what is typed now.
    else if (event.target.closest("#form-column")) for (const old of $$("#outcome .told")) old.hidden = true;
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.id === "find") {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); choose(event.key === "ArrowDown" ? 1 : -1); }
      if (event.key === "Enter") { const row = $("[aria-selected=true]", results()); if (row) chosen(row.dataset.goto); }
      if (event.key === "Escape") closeSearch();
    } else if (event.key === "/" && !/^(input|textarea|select)$/i.test(event.target.tagName) && $("#find")) { event.preventDefault(); $("#find").focus(); }
  });
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-goto], [data-reset], [data-fix], [data-act], #find-bar [data-view]");
    if (!event.target.closest(".find")) closeSearch();
    if (!target) return;
    if (target.closest("#find-results")) chosen(target.dataset.goto);
    else if (target.dataset.goto) goTo(target.dataset.goto);
    else if (target.dataset.reset) tell({ do: "reset", names: [target.dataset.reset] });
    else if (target.dataset.fix) tell({ do: "fix", names: [target.dataset.fix] });
    else if (target.dataset.act) tell({ do: target.dataset.act });
    else if (target.dataset.view) show(target.dataset.view);
  });

  window.studio.ready(() => whenShown("[data-index]", (source) => {
    index = JSON.parse(source.dataset.index);
    trainers = JSON.parse(source.dataset.trainers);
    for (const row of index) partOf[row[0]] = row[4];
    new MutationObserver(soon).observe($("gradio-app") || document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-marks"] });
    soon();
  }, 1200));
})();
