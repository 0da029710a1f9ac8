// The Captions page: a window on a long list of pictures, an editor with a large picture, and changes of many captions at once.
// What is shown and how captions are split, found and changed is the server's matter; here is only what a hand does.
(() => {
  const { $, $$, el, say, base } = window.studio;
  const GAP = 12, WORDS_HEIGHT = 106, AHEAD = 600, BATCH = 120, SOON = 250;
  const state = {
    folder: "", extension: "", token: "", root: "", trigger: "", filter: {}, tagfind: "", names: [], counts: {}, entries: new Map(), fresh: new Set(),
    selected: new Set(), at: 0, anchor: 0, editing: "", shown: "", doing: "", scope: null, plan: null,
  };
  const number = (value) => value.toLocaleString();
  const name = () => state.names[state.at] || "";
  const short = (one) => one.slice(one.lastIndexOf("/") + 1);
  const later = (run, wait) => {
    let timer = 0;
    return (...values) => {
      clearTimeout(timer);
      timer = setTimeout(() => run(...values), wait);
    };
  };

  // Asking the server. A refusal is a sentence.
  const wordsOf = (html) => new DOMParser().parseFromString(html, "text/html").body.textContent;
  async function ask(verb, data = {}, more = {}) {
    const { token, folder, extension, trigger } = state;
    let answer;
    try {
      const reply = await fetch(`${base}/captions/${verb}`, {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token, folder, extension, trigger, ...data }), ...more,
      });
      if (reply.status === 401) location.reload();
      answer = await reply.json();
    } catch (error) {
      throw new Error(say("The server does not answer."));
    }
    if (answer.moved) setTimeout(() => open({}));
    if (answer.failed) throw Object.assign(new Error(wordsOf(answer.told)), { answer });
    return answer;
  }
  function tell(kind, ...words) {
    $("#captions-told").replaceChildren(...(words.length ? [el("p", { class: `told ${kind}` }, ...words)] : []));
  }
  const guard = (run) => async (...values) => {
    try {
      return await run(...values);
    } catch (error) {
      tell("bad", error.message);
    }
  };

  // Opening a place.
  async function open(asked) {
    const wanted = new URLSearchParams(location.search).get("picture") || "";
    let answer;
    try {
      answer = await ask("open", { token: "", folder: undefined, extension: undefined, ...asked });
    } catch (error) {
      return showNothing(error.message, asked.folder);
    }
    const { folder, extension, token, root, view } = answer;
    Object.assign(state, { folder, extension, token, root, trigger: view.trigger, filter: view.filter, tagfind: "", names: [], at: 0, anchor: 0 });
    state.entries.clear();
    state.fresh.clear();
    state.selected = new Set(view.selected);
    // Cards of the folder that was open before have no picture any more.
    for (const card of cards.values()) card.remove();
    cards.clear();
    leaveEditor();
    tell();
    $("#captions-folder").value = folder;
    $("#captions-folder").placeholder = root;
    $("#captions-form").hidden = !folder;
    $("#captions-extension").value = extension;
    $("#captions-extension").placeholder = answer.extensions.join(" ");
    $("#captions-trigger").value = view.trigger;
    $("#captions-trigger").placeholder = answer.class_tokens.length ? say("As the folders say") : say("None");
    $("#captions-tokens").textContent = answer.class_tokens.length ? say("The folders say: {words}", { words: answer.class_tokens.join(", ") }) : "";
    $("#captions-triggers").replaceChildren(...answer.class_tokens.map((value) => el("option", { value })));
    for (const [id, key] of [["find", "find"], ["tagfind", ""]]) $(`#captions-${id}`).value = (key && state.filter[key]) || "";
    showSwitches();
    showNotes(answer);
    $("#captions-empty").hidden = true;
    $("#captions-work").hidden = false;
    history.replaceState(null, "", `${location.pathname}${folder ? `?folder=${encodeURIComponent(folder)}` : ""}`);
    const here = nameOf(wanted || view.picture);
    await list();
    if (wanted && here && !state.names.includes(here)) await clearFilter();
    if (here && state.names.includes(here)) move(state.names.indexOf(here), { scroll: Boolean(wanted) });
    if (document.activeElement === document.body) $("#captions-grid").focus({ preventScroll: true });
    if (wanted && here) await edit(here);
  }
  // A picture may be named by its whole path, as below the folder, or by its file name.
  function nameOf(text) {
    const path = text.replaceAll("\\", "/"), root = `${state.root.replaceAll("\\", "/")}/`;
    return path.startsWith(root) ? path.slice(root.length) : path;
  }
  function showNothing(message, folder) {
    $("#captions-work").hidden = true;
    $("#captions-empty").hidden = false;
    $("#captions-count").textContent = "";
    if (folder) $("#captions-folder").value = folder;
    $("#captions-form").hidden = !folder;
    $("#captions-empty").replaceChildren(
      el("h2", {}, say("No pictures to show")), el("p", {}, message),
      el("p", {}, say("Here you read and change the captions of a folder of pictures: that of the Train page, or any other that you choose above.")),
    );
  }
  function showNotes(answer) {
    const usual = answer.extensions[0], held = answer.others[usual] || 0;
    const [other] = Object.keys(answer.others).filter((ending) => !answer.extensions.includes(ending) && answer.others[ending] > held);
    const hint = other && el("li", {}, say("More captions end in {ending}.", { ending: other }), " ",
      el("button", { type: "button", class: "link", onclick: () => open({ folder: state.folder, extension: other }) }, say("Show them")));
    $("#captions-notes").replaceChildren(...(hint ? [hint] : []), ...answer.notes.map((note) => el("li", {}, note)));
  }

  // The list: names in order, counts, tags. `brief` leaves the names as they are, so that nothing jumps away under the hand.
  let listing = 0;
  async function list({ brief = false } = {}) {
    const mine = ++listing, before = name();
    const answer = await ask("list", { filter: state.filter, tagfind: state.tagfind, brief });
    if (mine !== listing) return;
    if (answer.names) {
      state.names = answer.names;
      const there = answer.names.indexOf(before);
      state.at = there >= 0 ? there : Math.max(0, Math.min(state.at, answer.names.length - 1));
      state.anchor = state.at;
      layout();
    }
    Object.assign(state, { counts: answer.counts });
    showCounts();
    showTags(answer.tags, answer.tags_total);
    showSteps(answer);
    showFilter();
    showScope();
  }
  const listSoon = later(guard(list), SOON);
  const keepView = later(() => {
    const { folder, extension, trigger, filter, selected } = state;
    ask("view", { view: { folder, extension, trigger, filter, picture: name(), selected: [...selected] } }).catch(() => {});
  }, 600);

  function showCounts() {
    const { all, missing, unreadable, lacking, edited } = state.counts;
    $("#captions-count").textContent = say("{shown} of {all} pictures", { shown: number(state.names.length), all: number(all) });
    const kinds = [
      ["", say("All"), all, true], ["missing", say("Without caption"), missing, true], ["lacking", say("Without trigger words"), lacking, lacking > 0],
      ["unreadable", say("Unreadable"), unreadable, unreadable > 0], ["edited", say("Edited in 24 hours"), edited, edited > 0],
    ];
    const only = state.filter.only || "";
    $("#captions-kinds").replaceChildren(...kinds.filter(([kind, , , there]) => there || kind === only).map(([kind, words, count]) =>
      el("button", { type: "button", "data-only": kind, "aria-pressed": String(kind === only) }, `${words} `, el("span", { class: "num soft" }, number(count)))));
    const typed = $("#captions-trigger").value.trim() || $("#captions-triggers option");
    $("#captions-lacking").textContent = !typed ? say("Type words that every caption should have.")
      : lacking ? say("Pictures that lack them: {number}", { number: number(lacking) }) : say("All captions have them.");
    $("#captions-lacking-do").hidden = !lacking;
    $("[data-do=recode]").hidden = !unreadable;
    $("[data-do=create]").hidden = !missing;
  }
  function showTags(rows, total) {
    const has = new Set(state.filter.tags || []), not = new Set(state.filter.without || []), box = $("#captions-tags");
    const inside = box.contains(document.activeElement) ? document.activeElement.dataset : null;
    $("#captions-tags-count").textContent = number(total);
    box.replaceChildren(...rows.map(([tag, count]) => el("li", {},
      el("button", { type: "button", "data-tag": tag, "aria-pressed": String(has.has(tag)), tabindex: "-1" }, el("span", { class: "clip" }, tag), el("span", { class: "num soft" }, number(count))),
      el("button", { type: "button", "data-not": tag, "aria-pressed": String(not.has(tag)), tabindex: "-1", "aria-label": say("Without {tag}", { tag }), title: say("Without {tag}", { tag }) }, "−"))));
    if (total > rows.length) box.append(el("li", { class: "small soft" }, say("{number} more: search for them.", { number: number(total - rows.length) })));
    const first = inside && $$("button", box).find((one) => (inside.tag ? one.dataset.tag === inside.tag : one.dataset.not === inside.not));
    if (first) first.focus();
    const tabbed = first || $("button", box);
    if (tabbed) tabbed.tabIndex = 0;
  }
  function showFilter() {
    const { tags = [], without = [], find = "" } = state.filter;
    const chip = (words, drop) => el("button", { type: "button", class: "chip", onclick: drop, "aria-label": say("Do not filter by {words}", { words }) }, `${words} ×`);
    const chips = [
      ...tags.map((tag) => chip(tag, () => toggleTag("tags", tag))), ...without.map((tag) => chip(say("not {tag}", { tag }), () => toggleTag("without", tag))),
    ];
    if (chips.length + Boolean(find) + Boolean(state.filter.only) > 1) chips.push(el("button", { type: "button", class: "link small", "data-clear": true }, say("Show all")));
    $("#captions-filter").replaceChildren(...chips);
    const empty = $("#captions-nothing");
    empty.hidden = state.names.length > 0;
    $("p", empty).textContent = say("No caption fits. {number} pictures are not shown.", { number: number(state.counts.all || 0) });
  }
  function showSteps(answer) {
    for (const step of ["undo", "redo"]) {
      const button = $(`[data-step=${step}]`), words = step === "undo" ? say("Undo") : say("Redo");
      button.disabled = !answer[step];
      button.title = answer[step] ? `${words}: ${answer[step]}` : words;
      button.setAttribute("aria-label", button.title);
    }
  }
  function showSwitches() {
    for (const key of ["regex", "case"]) $(`#captions-${key}`).setAttribute("aria-pressed", String(Boolean(state.filter[key])));
  }
  const filterBy = guard(async (change) => {
    state.filter = { ...state.filter, ...change };
    showSwitches();
    await list();
    tell();
    keepView();
  });
  const toggleTag = (row, tag) => {
    const old = state.filter[row] || [], other = row === "tags" ? "without" : "tags";
    filterBy({ [row]: old.includes(tag) ? old.filter((one) => one !== tag) : [...old, tag], [other]: (state.filter[other] || []).filter((one) => one !== tag) });
  };
  const clearFilter = () => {
    $("#captions-find").value = "";
    state.filter = {};
    return filterBy({});
  };

  // The grid: only what can be seen is in the page.
  const cards = new Map();
  let columns = 1, cell = 200, picture = 170, row = 300;
  function layout() {
    const grid = $("#captions-grid"), width = grid.clientWidth;
    if (!width) return;
    columns = Math.max(1, Math.floor((width + GAP) / ((innerWidth < 700 ? 150 : 196) + GAP)));
    cell = (width - GAP * (columns - 1)) / columns;
    picture = Math.round(Math.min(cell, 190));
    row = picture + WORDS_HEIGHT + GAP;
    grid.style.height = `${Math.ceil(state.names.length / columns) * row}px`;
    grid.setAttribute("aria-label", say("Pictures with their captions: {number}", { number: number(state.names.length) }));
    for (const card of cards.values()) card.remove();
    cards.clear();
    paint();
  }
  function paint() {
    const grid = $("#captions-grid");
    if (!grid || !state.names.length) return;
    const top = grid.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor((-top - AHEAD) / row)) * columns, to = Math.min(state.names.length, Math.ceil((innerHeight - top + AHEAD) / row) * columns);
    for (const [index, card] of cards) {
      if ((index < from || index >= to) && index !== state.at) {
        card.remove();
        cards.delete(index);
      }
    }
    const kept = state.at < state.names.length && (state.at < from || state.at >= to) ? [state.at] : [];
    // In order, since readers of the screen follow the order of the page.
    let after = null;
    for (const index of [...kept, ...Array.from({ length: Math.max(0, to - from) }, (_, at) => from + at)].sort((one, other) => other - one)) {
      if (!cards.has(index)) cards.set(index, grid.insertBefore(newCard(index), after));
      after = cards.get(index);
      fill(index);
    }
    grid.setAttribute("aria-activedescendant", `caption-${state.at}`);
    fetchSoon(from, to);
  }
  function newCard(index) {
    const card = el("div", { role: "option", class: "caption-card", id: `caption-${index}`, "aria-posinset": index + 1, "aria-setsize": state.names.length, "data-card": index },
      el("span", { class: "mark", "aria-hidden": "true" }), el("span", { class: "shot" }, el("img", { alt: "", src: thumb(state.names[index], "small"), decoding: "async", onerror: (event) => event.target.replaceWith(el("span", { class: "none soft small" }, say("No preview"))) }), el("span", { class: "signs" })), el("span", { class: "name soft clip" }), el("span", { class: "text" }));
    Object.assign(card.style, { width: `${cell}px`, left: `${(index % columns) * (cell + GAP)}px`, top: `${Math.floor(index / columns) * row}px`, height: `${row - GAP}px` });
    $(".shot", card).style.height = `${picture}px`;
    return card;
  }
  const noPicture = (unread) => { $("#editor-picture").hidden = unread; $("#editor-unread").hidden = !unread; };
  const pathOf = (one) => (one.startsWith("/") || /^[A-Za-z]:/.test(one) ? one : `${state.root}/${one}`);
  const thumb = (one, size) => `${base}/thumb?size=${size}&path=${encodeURIComponent(state.entries.get(one)?.path || pathOf(one))}`;
  function fill(index) {
    const card = cards.get(index);
    if (!card) return;
    const one = state.names[index], entry = state.entries.get(one);
    card.classList.toggle("at", index === state.at);
    card.classList.toggle("editing", one === state.editing);
    card.setAttribute("aria-selected", String(state.selected.has(one)));
    if (card.drawn === entry && entry) return;
    card.drawn = entry;
    $(".name", card).textContent = short(one);
    $(".name", card).title = one;
    $(".text", card).textContent = entry ? entry.text || "" : "";
    const signs = !entry ? [] : [
      entry.text === null && ["bad", say("Unreadable")], entry.text !== null && !entry.text.trim() && ["warn", say("No caption")],
      entry.lacking && Boolean(entry.text?.trim()) && ["warn", say("No trigger words")], entry.edited && ["edited", say("Edited")],
    ].filter(Boolean);
    $(".signs", card).replaceChildren(...signs.map(([kind, words]) => el("span", { class: `sign ${kind}` }, words)));
  }
  const fillAll = () => [...cards.keys()].forEach(fill);
  let visible = [0, 0];
  const fetchMissing = later(guard(async () => {
    const wanted = state.names.slice(...visible).filter((one) => !state.fresh.has(one)).slice(0, BATCH);
    if (!wanted.length) return;
    for (const one of wanted) state.fresh.add(one);
    take((await ask("entries", { names: wanted })).entries);
    fetchMissing();
  }), 30);
  function fetchSoon(from, to) {
    visible = [from, to];
    fetchMissing();
  }
  function take(entries) {
    for (const entry of entries) {
      state.entries.set(entry.name, entry);
      state.fresh.add(entry.name);
    }
    fillAll();
  }
  function spoil(names) {
    for (const one of names || state.names) state.fresh.delete(one);
    paint();
  }
  function move(index, { scroll = true, range = false } = {}) {
    if (!state.names.length) return;
    state.at = Math.min(state.names.length - 1, Math.max(0, index));
    if (range) {
      const [from, to] = [Math.min(state.anchor, state.at), Math.max(state.anchor, state.at)];
      for (let at = from; at <= to; at += 1) state.selected.add(state.names[at]);
      showScope();
    } else state.anchor = state.at;
    if (scroll) reveal();
    paint();
    keepView();
  }
  function reveal() {
    const grid = $("#captions-grid").getBoundingClientRect(), top = grid.top + Math.floor(state.at / columns) * row;
    const above = innerWidth < 700 ? 64 : $("#captions-above").getBoundingClientRect().height + 72;
    if (top < above) scrollBy({ top: top - above - 8 });
    else if (top + row > innerHeight) scrollBy({ top: Math.min(top - above - 8, top + row - innerHeight + 8) });
  }

  // Choosing pictures.
  function toggle(index) {
    const one = state.names[index];
    if (!one) return;
    if (!state.selected.delete(one)) state.selected.add(one);
    state.anchor = index;
    move(index, { scroll: false });
    showScope();
  }
  function chooseNone() {
    state.selected.clear();
    showScope();
    fillAll();
    keepView();
  }
  function showScope() {
    const bar = $("#captions-bar"), chosen = state.selected.size, shown = new Set(state.names);
    const hidden = [...state.selected].filter((one) => !shown.has(one)).length;
    bar.hidden = !state.doing && (!chosen || Boolean(state.editing));
    $("#captions-none").hidden = !chosen;
    $("#captions-change").setAttribute("aria-expanded", String(!bar.hidden));
    $("#captions-scope").textContent = state.scope ? state.scope.words : !chosen ? say("All {number} shown", { number: number(state.names.length) })
      : hidden ? say("{number} chosen, {hidden} of them not shown", { number: number(chosen), hidden: number(hidden) }) : say("{number} chosen", { number: number(chosen) });
    if (state.doing) previewSoon();
  }

  // Changes of many captions.
  function startDoing(kind, scope = null) {
    state.scope = scope;
    state.doing = kind;
    state.plan = null;
    const form = $("#edit-form");
    form.hidden = !kind;
    for (const button of $$("#captions-bar [data-do]")) button.setAttribute("aria-pressed", String(button.dataset.do === kind));
    for (const field of $$("[data-for]", form)) field.hidden = !field.dataset.for.split(" ").includes(kind);
    $("#edit-told").textContent = "";
    $("#edit-examples").replaceChildren();
    $("#edit-apply").disabled = true;
    showScope();
    const first = kind && $$("[data-for]:not([hidden]) input, [data-for]:not([hidden]) select", form)[0];
    (first || (kind ? $("#edit-apply") : $("#captions-grid"))).focus({ preventScroll: true });
  }
  function asked() {
    const value = (id) => $(`#edit-${id}`).value;
    if (state.doing === "add") return { kind: value("place"), words: value("words") };
    if (state.doing === "replace") return { kind: "replace", find: value("find"), put: value("put"), how: value("how"), case: $("#edit-case").checked };
    if (state.doing === "sort") return { kind: "sort", common: value("common") === "common" };
    if (state.doing === "recode") return { kind: "recode", words: value("encoding") };
    if (state.doing === "create") return { kind: "create", words: value("text") };
    return { kind: state.doing, words: value("words") };
  }
  const scoped = () => (state.scope ? state.scope.data : state.selected.size ? { names: [...state.selected] } : { shown: state.filter });
  const isReady = (edit) => !(["front", "back", "remove", "to_front"].includes(edit.kind) && !edit.words.trim()) && !(edit.kind === "replace" && !edit.find);
  let previewing = 0;
  async function preview() {
    const mine = ++previewing, edit = asked();
    state.plan = null;
    $("#edit-apply").disabled = true;
    if (!state.doing || !isReady(edit)) return showPlan(null);
    $("#edit-told").textContent = say("Looking…");
    try {
      const plan = await ask("preview", { edit, ...scoped() });
      if (mine === previewing) showPlan(plan);
    } catch (error) {
      if (mine === previewing) showPlan(null, error.message);
    }
  }
  const previewSoon = later(preview, SOON);
  function showPlan(plan, problem = "") {
    state.plan = plan;
    const told = $("#edit-told");
    told.className = problem ? "small problem" : "small";
    told.textContent = problem || (plan ? say("Captions that change: {changes} of {of}", { changes: number(plan.changes), of: number(plan.of) }) : "");
    if (plan?.unreadable) told.textContent += ` · ${say("Unreadable ones are left alone: {number}", { number: number(plan.unreadable) })}`;
    $("#edit-apply").disabled = !plan?.changes;
    $("#edit-examples").replaceChildren(...(plan?.examples || []).map((row) => el("p", { class: "small" }, el("span", { class: "soft", title: row.name }, `${short(row.name)} `), ...difference(row.before, row.after))));
  }
  // What differs between two texts, as words.
  function difference(before, after) {
    const old = before.split(/(\s+)/), fresh = after.split(/(\s+)/);
    let start = 0, end = 0;
    while (start < old.length && start < fresh.length && old[start] === fresh[start]) start += 1;
    while (end < old.length - start && end < fresh.length - start && old[old.length - 1 - end] === fresh[fresh.length - 1 - end]) end += 1;
    const cut = (parts) => parts.slice(start, parts.length - end).join("");
    const front = old.slice(0, start).join(""), rest = old.slice(old.length - end).join("");
    return [
      front.length > 60 ? `… ${front.slice(-56)}` : front, cut(old) && el("del", {}, cut(old)), cut(fresh) && el("ins", {}, cut(fresh)),
      rest.length > 90 ? `${rest.slice(0, 86)} …` : rest,
    ].filter(Boolean);
  }
  async function apply() {
    if (!state.plan || !(await save())) return;
    const answer = await worked(ask("apply", { edit: asked(), plan: state.plan.plan, ...scoped() }));
    if (answer.stale) {
      showPlan(answer);
      tell("warn", say("Captions were changed in between. Look at what changes now."));
      return;
    }
    if (state.doing === "trigger") startDoing("");
    await settled(answer);
  }
  async function once(edit, names) {
    const { plan } = await ask("preview", { edit, names });
    await settled(await ask("apply", { edit, plan, names }));
  }
  async function step(back) {
    if (!(await save())) return;
    const answer = await worked(ask("step", { back }));
    await settled(answer);
    if (answer.names?.length === 1 && state.names.includes(answer.names[0])) move(state.names.indexOf(answer.names[0]));
  }
  async function settled(answer) {
    const skipped = (answer.skipped || []).map((row) => `${row.name}: ${row.reason}`), left = (answer.skipped_total || 0) - skipped.length;
    if (left > 0) skipped.push(say("{number} more were left alone.", { number: number(left) }));
    const stopped = answer.stopped ? [say("Stopped: the captions that are left stay as they were.")] : [];
    tell(skipped.length || stopped.length ? "warn" : "good", [answer.said, ...stopped, ...skipped].join(" · "));
    if (answer.names) spoil(answer.names);
    await list();
    if (state.editing && (answer.names || []).includes(state.editing)) await edit(state.editing, { focus: false });
  }
  // What takes long says how far it is, and can be stopped.
  async function worked(promise) {
    let over = false;
    const watch = async () => {
      while (!over) {
        await new Promise((resolve) => setTimeout(resolve, 500));
        if (over) return;
        const { done, total } = await ask("working").catch(() => ({}));
        if (over || !total) continue;
        const stop = el("button", { type: "button", class: "link", onclick: () => ask("working", { stop: true }).catch(() => {}) }, say("Stop"));
        tell("", say("Working: {done} of {total}", { done: number(done), total: number(total) }), " ", stop);
      }
    };
    watch();
    try {
      return await promise;
    } finally {
      over = true;
    }
  }

  // The editor.
  const box = () => $("#editor-text");
  const isDirty = () => Boolean(state.editing) && !box().readOnly && box().value !== state.shown;
  async function edit(one, { focus = true } = {}) {
    if (!(await save())) return;
    if (!one) return;
    if (state.names[state.at] !== one && state.names.includes(one)) move(state.names.indexOf(one), { scroll: false });
    state.editing = one;
    $("#captions-editor").hidden = false;
    showScope();
    noPicture(false);
    $("#editor-picture").src = thumb(one, "large");
    $("#editor-unread a").href = `${base}/dataset?at=${encodeURIComponent(state.entries.get(one)?.path || pathOf(one))}`;
    $("#editor-picture").alt = one;
    $("#editor-name").textContent = short(one);
    $("#editor-name").title = one;
    showTold("");
    showConflict(null);
    showEntry(state.entries.get(one) || waited(one));
    if (focus) box().focus({ preventScroll: true });
    const { entries } = await ask("entries", { names: [one] });
    if (state.editing !== one) return;
    if (!entries.length) throw new Error(say("This picture is not in the folder any more."));
    const typed = isDirty();
    take(entries);
    if (!typed) showEntry(entries[0]);
    fillAll();
    reveal();
    const next = state.names[state.at + 1];
    if (next) new Image().src = thumb(next, "large");
  }
  // Nothing can be typed before the caption is there: it would be kept under the name of one picture and with the words of another.
  const waited = (name) => ({ name, text: "", tags: [], waited: true });
  function showEntry(entry) {
    state.shown = entry.text || "";
    box().readOnly = entry.waited || entry.text === null;
    box().value = state.shown;
    box().placeholder = entry.waited ? say("Looking…") : entry.class_tokens ? say("Without a caption it is trained with: {words}", { words: entry.class_tokens }) : say("No caption yet");
    box().setAttribute("aria-label", say("Caption of {name}", { name: entry.name }));
    $("#editor-at").textContent = say("{at} of {all}", { at: number(state.at + 1), all: number(state.names.length) });
    const notes = [
      entry.problem, entry.unread > 0 && say("Only the first line is trained with, since wildcards are off."),
      entry.shared > 0 && say("This file is the caption of other pictures too: {number}", { number: number(entry.shared) }),
      entry.lacking && entry.text !== null && say("The trigger words are missing."),
    ].filter(Boolean);
    const mend = entry.text === null && el("button", { type: "button", class: "link small", onclick: () => startDoing("recode", { words: entry.name, data: { names: [entry.name] } }) }, say("Mend encoding"));
    $("#editor-tags").replaceChildren(
      ...notes.map((note) => el("p", { class: `small note ${note === entry.problem ? "problem" : "soft"}` }, note)), ...(mend ? [mend] : []),
      ...entry.tags.map((tag) => el("button", { type: "button", class: "chip", "data-drop": tag, "aria-label": say("Remove {tag}", { tag }), title: say("Remove {tag}", { tag }) }, `${tag} ×`)));
  }
  function showTold(words, kind = "") {
    $("#editor-told").textContent = words;
    $("#editor-told").className = kind === "bad" ? "small problem" : "small soft";
  }
  function showConflict(entry) {
    const place = $("#editor-conflict");
    if (!entry) return place.replaceChildren();
    const theirs = entry.text === null ? entry.problem : entry.exists ? entry.text || say("(empty)") : say("(the file is gone)");
    place.replaceChildren(el("div", { class: "told warn" }, el("p", {}, say("Another program changed this caption in between. It is now:")), el("pre", {}, theirs), el("div", { class: "row" },
      el("button", { type: "button", class: "button", onclick: () => { state.entries.set(entry.name, entry); showConflict(null); showEntry(entry); fillAll(); box().focus(); } }, say("Take that text")),
      el("button", { type: "button", class: "button", onclick: () => { state.entries.set(entry.name, entry); showConflict(null); save(); } }, say("Keep mine")))));
  }
  let saving = Promise.resolve(true);
  const save = () => (saving = saving.then(store, store));
  async function store() {
    if (!isDirty()) return true;
    const one = state.editing, text = box().value;
    showTold(say("Saving…"));
    try {
      const answer = await ask("save", { name: one, text, version: state.entries.get(one).version });
      take([answer.entry]);
      spoil(answer.same_file);
      showSteps(answer);
      if (state.editing === one) {
        const typed = box().value;
        showEntry(answer.entry);
        if (typed !== text) box().value = typed;
      }
      showTold(say("Saved"));
      listSoon({ brief: true });
      return true;
    } catch (error) {
      showTold(error.message, "bad");
      if (error.answer?.conflict) showConflict(error.answer.conflict);
      return false;
    }
  }
  const go = guard(async (delta) => {
    if (!(await save())) return;
    const next = state.at + delta;
    if (next < 0 || next >= state.names.length) return showTold(delta > 0 ? say("Saved. That was the last picture.") : say("Saved. That is the first picture."));
    move(next);
    await edit(state.names[next]);
  });
  function leaveEditor() {
    state.editing = "";
    $("#captions-editor").hidden = true;
    showConflict(null);
    showScope();
    fillAll();
  }
  const closeEditor = guard(async () => {
    if (!(await save())) return;
    leaveEditor();
    $("#captions-grid").focus({ preventScroll: true });
    reveal();
  });

  // Hands: keys, clicks, fields.
  function onGridKey(event) {
    const page = Math.max(1, Math.floor((innerHeight - 200) / row)) * columns, control = event.ctrlKey || event.metaKey;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page, Home: -state.at, End: state.names.length };
    if (event.key in steps && !event.altKey && !control) move(state.at + steps[event.key], { range: event.shiftKey });
    else if (event.key === " ") toggle(state.at);
    else if (event.key === "Enter") guard(edit)(name());
    else if (control && event.key.toLowerCase() === "a") {
      state.selected = new Set(state.names);
      showScope();
      fillAll();
      keepView();
    } else if (event.key === "Escape") state.doing ? startDoing("") : chooseNone();
    else if (!control && !event.altKey && { a: 1, r: 1, f: 1, h: 1 }[event.key.toLowerCase()])
      startDoing({ a: "add", r: "remove", f: "to_front", h: "replace" }[event.key.toLowerCase()]);
    else return;
    event.preventDefault();
    fillAll();
  }
  function onTextKey(event) {
    const control = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && control) go(1);
    else if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) go(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Escape") closeEditor();
    else return;
    event.preventDefault();
  }
  function onTagsKey(event) {
    const rows = $$("#captions-tags li:has(button)"), at = rows.findIndex((line) => line.contains(event.target)), buttons = at >= 0 ? $$("button", rows[at]) : [];
    const side = buttons.indexOf(event.target), line = { ArrowDown: 1, ArrowUp: -1, Home: -at, End: rows.length - 1 - at }[event.key];
    const to = line !== undefined ? $$("button", rows[Math.min(rows.length - 1, Math.max(0, at + line))])[Math.max(0, side)]
      : event.key === "ArrowRight" ? buttons[1] : event.key === "ArrowLeft" ? buttons[0] : null;
    if (!to) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }
  const isTyping = (target) => target.matches?.("input, textarea, select, [contenteditable]");
  function onAnyKey(event) {
    if ($("dialog[open]") || isTyping(event.target)) return;
    const control = event.ctrlKey || event.metaKey, letter = event.key.toLowerCase();
    if (control && letter === "z") guard(step)(!event.shiftKey);
    else if (control && letter === "y") guard(step)(false);
    else if (event.key === "?") $("#captions-help").showModal();
    else if (event.key === "/" && !control) $("#captions-find").focus();
    else return;
    event.preventDefault();
  }
  function onClick(event) {
    const target = event.target, card = target.closest(".caption-card");
    const at = (selector) => target.closest(selector);
    if (card) {
      const index = Number(card.dataset.card);
      $("#captions-grid").focus({ preventScroll: true });
      if (event.shiftKey) move(index, { range: true, scroll: false });
      else if (at(".mark") || event.ctrlKey || event.metaKey) toggle(index);
      else {
        move(index, { scroll: false });
        guard(edit)(state.names[index]);
      }
    } else if (at("[data-clear]")) clearFilter();
    else if (at("[data-only]")) filterBy({ only: state.filter.only === at("[data-only]").dataset.only ? "" : at("[data-only]").dataset.only });
    else if (at("[data-tag]")) toggleTag("tags", at("[data-tag]").dataset.tag);
    else if (at("[data-not]")) toggleTag("without", at("[data-not]").dataset.not);
    else if (at("[data-step]")) guard(step)(at("[data-step]").dataset.step === "undo");
    else if (at("[data-do=trigger]")) startDoing("trigger", { words: say("Pictures that lack the trigger words: {number}", { number: number(state.counts.lacking) }), data: { shown: { only: "lacking" } } });
    else if (at("[data-do]")) startDoing(at("[data-do]").dataset.do === state.doing ? "" : at("[data-do]").dataset.do);
    else if (at("[data-drop]")) guard(async () => (await save()) && once({ kind: "remove", words: at("[data-drop]").dataset.drop }, [state.editing]))();
    else if (at("[data-go]")) go(Number(at("[data-go]").dataset.go));
    else if (at("[data-close]")) at("dialog").close();
    else onButton(target.closest("button")?.id);
  }
  function onButton(id) {
    const buttons = {
      "captions-none": chooseNone, "captions-keys": () => $("#captions-help").showModal(), "edit-close": () => startDoing(""), "editor-close": closeEditor,
      "editor-next": () => go(1), "captions-form": () => open({ folder: "", extension: "" }), "captions-change": () => startDoing(state.doing ? "" : "add"),
      "captions-regex": () => filterBy({ regex: !state.filter.regex }), "captions-case": () => filterBy({ case: !state.filter.case }),
    };
    buttons[id]?.();
  }

  function start() {
    // Enter is heard twice: the field has changed, and the form is sent.
    let opening = "";
    const place = $("#captions-place"), reopen = async () => {
      const asking = { folder: $("#captions-folder").value.trim(), extension: $("#captions-extension").value.trim() }, mark = JSON.stringify(asking);
      if (opening === mark || (asking.folder === state.folder && asking.extension === state.extension && state.token)) return;
      opening = mark;
      await guard(open)(asking);
      if (opening === mark) opening = "";
    };
    place.addEventListener("submit", (event) => { event.preventDefault(); reopen(); });
    place.addEventListener("change", reopen);
    $("#edit-form").addEventListener("submit", (event) => { event.preventDefault(); guard(apply)(); });
    $("#edit-form").addEventListener("input", previewSoon);
    $("#edit-form").addEventListener("keydown", (event) => event.key === "Escape" && startDoing(""));
    $("#captions-find").addEventListener("input", later(() => filterBy({ find: $("#captions-find").value }), SOON));
    $("#captions-find").addEventListener("keydown", (event) => ["Enter", "Escape", "ArrowDown"].includes(event.key) && (event.preventDefault(), $("#captions-grid").focus({ preventScroll: true })));
    $("#captions-tagfind").addEventListener("input", later(guard(() => { state.tagfind = $("#captions-tagfind").value; return list({ brief: true }); }), SOON));
    $("#captions-trigger").addEventListener("input", later(guard(async () => { state.trigger = $("#captions-trigger").value.trim(); state.fresh.clear(); await list(); keepView(); }), SOON));
    $("#editor-picture").addEventListener("error", () => noPicture(true));
    $("#captions-grid").addEventListener("keydown", onGridKey);
    $("#captions-tags").addEventListener("keydown", onTagsKey);
    box().addEventListener("keydown", onTextKey);
    box().addEventListener("input", () => showTold(isDirty() ? say("Not saved yet") : ""));
    box().addEventListener("focusout", () => save());
    document.addEventListener("keydown", onAnyKey);
    $("#captions").addEventListener("click", onClick);
    addEventListener("scroll", () => requestAnimationFrame(paint), { passive: true });
    new ResizeObserver(layout).observe($("#captions-grid").parentElement);
    const side = $("#captions-side");
    if (innerWidth < 700) side.open = false;
    // Another program may have written while the window was in the back; and what was typed is saved when it goes there.
    addEventListener("focus", () => state.token && (spoil(), listSoon()));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && isDirty()) ask("save", { name: state.editing, text: box().value, version: state.entries.get(state.editing).version }, { keepalive: true }).then((answer) => { take([answer.entry]); state.shown = answer.entry.text; }, () => {});
    });
    const query = new URLSearchParams(location.search);
    open(query.has("folder") ? { folder: query.get("folder") } : {});
  }
  window.studio.ready(() => window.studio.whenShown("#captions-grid", start, /\/captions\/?$/.test(location.pathname) ? 1200 : 1));
})();
