// The form: marks at fields and sections, views, search, and the talk with the server. The draft on the server is the truth; the inputs show it.
(() => {
  const { $, $$, el, base, say } = window.studio;
  let marks = null, findings = null, index = [], trainers = {}, partOf = {}, view = "basic";
  try { view = sessionStorage.getItem("studio-view") || "basic"; } catch (error) { /* private mode */ }

  // The talk: one message at a time, so that answers come in order. What is typed meanwhile waits, a field's last value only.
  const typed = new Map();
  let talking = Promise.resolve(), waiting = false;
  const post = (address, body) => fetch(`${base}${address}`, { method: "POST", headers: { "content-type": "application/json" }, body });

  async function send(message) {
    const values = Object.fromEntries(typed);
    if (!Object.keys(values).length && !message) return;
    let answer;
    try {
      answer = await post("/form", JSON.stringify({ ...message, values }));
    } catch (error) {
      setTimeout(hear, 2000); // nothing typed is lost: it goes with the next message
      return;
    }
    if (answer.status === 401) return location.reload();
    if (!answer.ok) return outcome(el("p", { class: "told bad", role: "alert" }, await answer.text()));
    for (const [key, value] of Object.entries(values)) if (typed.get(key) === value) typed.delete(key);
    show(await answer.json(), !message, message?.do === "guide" ? "#guide-outcome" : "#outcome");
  }
  const queue = (run) => (talking = talking.then(run, run));
  const hear = () => {
    if (waiting) return;
    waiting = true;
    queue(() => { waiting = false; return send(null); });
  };
  const tell = (message) => queue(() => send(message));

  const outcome = (node) => $("#outcome").replaceChildren(node);
  function show(answer, quiet, place = "#outcome") {
    if (answer.values) setValues(answer.values);
    if (answer.presets) setPresets(answer.presets);
    if (answer.recent) $("#config-recent").replaceChildren(...answer.recent.map((path) => el("option", { value: path })));
    if (answer.file !== undefined && answer.file) $("#config-file").value = answer.file;
    if (answer.marks) { marks = answer.marks; soon(); askPlan(); }
    if (answer.plan !== undefined) $("#plan").innerHTML = answer.plan;
    if (answer.findings) { findings = answer.findings; soon(); }
    if (answer.values || answer.marks) document.dispatchEvent(new Event("studio:shown"));
    if (answer.guide) { $("#guide").open = false; $("#guide-outcome").replaceChildren(); place = "#outcome"; }
    if (answer.outcome !== undefined) {
      $(place).innerHTML = answer.outcome;
      if (!quiet) $(place).scrollIntoView({ block: "nearest" });
    } else if (!quiet) $(place).replaceChildren();
    if (answer.href) location.href = answer.href;
  }

  // The plan looks at files and may take longer than typing: only the last question counts.
  let planned = "", asking = null;
  async function askPlan() {
    if (!marks || planned === marks.draft) return;
    planned = marks.draft;
    asking?.abort();
    asking = new AbortController();
    try {
      const answer = await fetch(`${base}/form/plan`, { signal: asking.signal });
      if (answer.ok) show(await answer.json(), true);
    } catch (error) { if (error.name !== "AbortError") planned = ""; }
  }

  const valueOf = (input) => (input.type === "checkbox" ? input.checked : input.value);
  function setValues(values) {
    for (const input of $$("[data-key]")) {
      const value = values[input.dataset.key];
      if (value === undefined || typed.has(input.dataset.key) || valueOf(input) === value) continue;
      if (input.type === "checkbox") input.checked = value;
      else if (input.tagName === "SELECT" && ![...input.options].some((option) => option.value === value)) {
        input.append(el("option", { value }, value)); // a value that is no choice is shown, and marked as wrong
        input.value = value;
      } else input.value = value;
    }
  }
  const setPresets = (rows) => {
    const group = (label, place) => {
      const chosen = rows.filter((row) => row[2] === place);
      return chosen.length ? el("optgroup", { label }, ...chosen.map(([name, title]) => el("option", { value: name }, title))) : null;
    };
    const known = $("#preset").value;
    const groups = [group(say("Bundled"), ""), group(say("From the kohya GUI"), "kohya"), group(say("Your own"), "user")];
    $("#preset").replaceChildren(el("option", { value: "" }, say("Choose…")), ...groups.filter(Boolean));
    if (rows.some((row) => row[0] === known)) $("#preset").value = known;
  };
  const note = (input) => { typed.set(input.dataset.key, valueOf(input)); hear(); };
  window.studio.form = { note, tell, mark: () => marks?.draft, settled: () => talking };

  // Fields, headings and sections of other trainers are hidden: the form holds them all.
  const hasPart = (part) => !part || !marks || trainers[marks.script]?.[2].includes(part);
  const hasField = (name) => hasPart(partOf[name]);
  const hide = (block, absent) => { if (block.classList.contains("is-absent") !== absent) block.classList.toggle("is-absent", absent); };
  const hideOthers = (column) => {
    if (!marks || column.dataset.script === marks.script) return;
    column.dataset.script = marks.script;
    for (const block of $$(".field[id^='f-']", column)) hide(block, !hasField(block.id.slice(2)));
    for (const heading of $$(".part-title[id^='part-']", column)) hide(heading, !hasPart(heading.id.slice(5)));
    for (const section of $$(".section", column)) {
      const own = index.filter((row) => row[3] === section.id);
      hide(section, own.length > 0 && !own.some((row) => hasPart(row[4])));
    }
    const [method, family] = trainers[marks.script];
    const there = Object.values(trainers).filter((row) => row[1] === family).map((row) => row[0]);
    for (const radio of $$("[data-switch=method]")) { radio.checked = radio.value === method; radio.parentElement.hidden = !there.includes(radio.value); }
    for (const radio of $$("[data-switch=family]")) radio.checked = radio.value === family;
    if ($("#find")?.value) search($("#find").value);
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
    const text = problem ? problem.slice(1, 3).filter(Boolean).join(" ") : off || "";
    const message = $(":scope > .message", block), fix = $(":scope > .mend", block), reset = $(":scope > .reset", block);
    if (message.textContent !== text) message.textContent = text;
    fix.hidden = !problem?.[3];
    for (const input of $$("[data-key]", block)) {
      const invalid = String(problem?.[0] === "error");
      if (input.getAttribute("aria-invalid") !== invalid) input.setAttribute("aria-invalid", invalid);
    }
    for (const part of $$("input, textarea, select, .browse", block)) if (part.disabled !== (off !== undefined)) part.disabled = off !== undefined;
    const words = changed === undefined ? "" : say("reset to {value}", { value: changed });
    if (reset.textContent !== words) reset.textContent = words;
    reset.hidden = changed === undefined;
  }

  function decorateSection(section) {
    const own = marks?.sections[section.id] || { summary: "", mark: "", changed: 0 };
    const found = findings?.sections[section.id]?.mark || "";
    const mark = own.mark === "error" || found === "error" ? "error" : own.mark || found;
    section.classList.toggle("has-changed", own.changed > 0);
    const line = $(":scope > summary > .summary", section), badge = $(":scope > summary > .badge", section);
    if (!line) return;
    if (line.textContent !== own.summary) line.textContent = own.summary;
    const words = mark === "error" ? say("to mend") : mark === "warning" ? say("look") : own.changed ? say("{count} changed", { count: own.changed }) : "";
    if (badge.textContent !== words) badge.textContent = words;
    badge.dataset.mark = mark || (own.changed ? "changed" : "");
  }

  const VIEWS = { basic: () => say("Basic"), all: () => say("All"), changed: (count) => (count ? say("Changed {count}", { count }) : say("Changed")) };
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
      const words = VIEWS[button.dataset.view](changed);
      if (button.textContent !== words) button.textContent = words;
    }
    for (const button of $$("[data-do]", $("#find-bar"))) button.disabled = !marks?.[button.dataset.do];
    const errors = (marks?.errors || 0) + (findings?.errors || 0);
    $("#start")?.classList.toggle("blocked", errors > 0);
  }

  let queued = false;
  const soon = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; decorate(); });
  };

  function look(wanted) {
    view = wanted;
    try { sessionStorage.setItem("studio-view", view); } catch (error) { /* private mode */ }
    decorate();
    if (view === "changed") for (const section of $$(".section.has-changed")) section.open = true;
  }

  function goTo(name) {
    const row = index.find((entry) => entry[0] === name);
    const section = row && document.getElementById(row[3]), block = document.getElementById(`f-${name}`);
    if (!section || !block) return;
    if (view !== "all") look("all");
    section.open = true;
    block.scrollIntoView({ block: "center" });
    $("[data-key]", block)?.focus({ preventScroll: true });
    block.classList.add("flash");
    setTimeout(() => block.classList.remove("flash"), 1200);
  }

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
    if (words.length && !found.length) list.append(el("li", { class: "none" }, say("No setting is called that.")));
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

  const answers = () => Object.fromEntries($$("[data-guide]").filter((input) => input.type !== "radio" || input.checked).map((input) => [input.dataset.guide, input.value]));
  // What a button's message says besides its name.
  const DETAILS = {
    guide: () => ({ guide: answers() }),
    "guide-start": () => ({ do: "guide", guide: answers(), start: true }),
    open: () => ({ path: $("#config-file").value }),
    save: () => ({ path: $("#config-file").value }),
    paste: () => ({ text: $("#pasted-text").value }),
    compare: () => ({ path: $("#config-file").value, other: $("#compare-with").value }),
    "preset-apply": () => ({ name: $("#preset").value }),
    "preset-drop": () => ({ name: $("#preset").value }),
    "preset-keep": () => ({ name: $("#preset-name").value }),
    prepare: () => ({ tool: Object.fromEntries($$("[data-tool]").map((input) => [input.dataset.tool, input.value])) }),
  };
  async function upload(file) {
    await talking;
    const answer = await fetch(`${base}/form/file?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
    if (answer.ok) show(await answer.json());
    else outcome(el("p", { class: "told bad", role: "alert" }, await answer.text()));
  }

  document.addEventListener("input", (event) => {
    if (event.target.id === "find") search(event.target.value);
    else if (event.target.dataset.key) {
      note(event.target);
      // The answer to an earlier button is no answer to what is typed now.
      for (const old of $$("#outcome .told")) old.hidden = true;
    }
  });
  document.addEventListener("change", (event) => {
    const target = event.target;
    if (target.dataset.switch) tell({ do: "switch", method: $("[data-switch=method]:checked")?.value, family: $("[data-switch=family]:checked")?.value });
    else if (target.id === "preset" && target.value) tell({ do: "preset", name: target.value });
    else if (target.id === "config-upload" && target.files.length) { upload(target.files[0]); target.value = ""; }
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.id === "find") {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); choose(event.key === "ArrowDown" ? 1 : -1); }
      if (event.key === "Enter") { const row = $("[aria-selected=true]", results()); if (row) chosen(row.dataset.goto); }
      if (event.key === "Escape") closeSearch();
    } else if (event.key === "/" && !/^(input|textarea|select)$/i.test(event.target.tagName) && $("#find")) { event.preventDefault(); $("#find").focus(); }
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".find")) closeSearch();
    if (event.target.closest("#config-send")) return $("#config-upload").click();
    if (event.target.closest("[data-clear=outcome]")) {
      $("#outcome").replaceChildren();
      $("#preset").value = "";
      return;
    }
    const target = event.target.closest("[data-goto], [data-reset], [data-fix], [data-do], #find-bar [data-view]");
    if (!target || !$("#form-column")) return;
    const { goto, reset, fix, do: deed, view: wanted } = target.dataset;
    if (target.closest("#find-results")) chosen(goto);
    else if (goto) goTo(goto);
    else if (reset) tell({ do: "reset", names: [reset] });
    else if (fix) tell({ do: "fix", names: [fix] });
    else if (wanted) look(wanted);
    else if (deed) {
      target.setAttribute("aria-busy", "true");
      tell({ do: deed, ...DETAILS[deed]?.() }).finally(() => target.removeAttribute("aria-busy"));
    }
  });

  if (location.pathname.replace(/\/$/, "") !== base) return; // another page
  const first = fetch(`${base}/form`).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
  const whenDrawn = (run) => ($("#train-page [data-trainers]") ? run($("#train-page [data-trainers]")) : requestAnimationFrame(() => whenDrawn(run)));
  window.studio.ready(() => whenDrawn(async (source) => {
    trainers = JSON.parse(source.dataset.trainers);
    index = $$(".field[data-part]").map((block) => [block.id.slice(2), $(".name", block).textContent, $(".info", block).textContent, block.closest(".section").id, block.dataset.part]);
    for (const row of index) partOf[row[0]] = row[4];
    const answer = await first;
    $("#guide").open = !answer?.values?.pretrained_model_name_or_path && !answer?.values?.train_data_dir;
    if (answer) show(answer, true);
    else queue(async () => { const again = await fetch(`${base}/form`); if (again.ok) show(await again.json(), true); });
  }));
})();
