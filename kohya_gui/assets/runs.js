// The list of runs, and what the pages of runs share: name and note, training again, the trash.
(() => {
  const { $, $$, base, say, runs } = window.studio;
  const LIST_EVERY = 4000;
  // Runs that are chosen: the list is drawn anew as runs go on, the choice stays.
  const chosen = new Set();
  let seen = null, most = 50, asking = false, again = false, opener = null, about = [];

  // A sentence that belongs to the page that is shown next.
  const carry = (answer) => {
    try { if (answer.said) sessionStorage.setItem("studio-said", answer.said); } catch (error) { /* private mode: not said */ }
    location.href = answer.href;
  };
  function carried() {
    let words = null;
    try { words = sessionStorage.getItem("studio-said"); sessionStorage.removeItem("studio-said"); } catch (error) { return; }
    if (words) window.studio.whenShown("#outcome", (box) => {
      const told = document.createElement("p");
      told.className = "told good";
      told.setAttribute("role", "status");
      told.textContent = words;
      box.replaceChildren(told);
    }, 600);
  }

  async function list() {
    if (!$("#runs")) return;
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await runs.post("/runs/list", { seen, most, words: $("#runs-find").value, state: $("#runs-state").value });
      window.studio.heard();
      if (answer.table !== undefined) {
        draw($("#runs"), answer.table);
        draw($("#trash"), answer.trash);
        $("#runs-tools").hidden = answer.count === 0;
        for (const id of chosen) if (!$(`#runs input.choose[value="${CSS.escape(id)}"]`)) chosen.delete(id);
      }
      seen = answer.seen;
      showChosen();
    } catch (error) { /* the frame says that the server does not answer */ } finally { asking = false; }
    if (again) { again = false; list(); }
  }
  function draw(place, html) {
    if (place.innerHTML === html) return;
    const open = $("details", place)?.open;
    const focused = place.contains(document.activeElement) ? [...$$("a, button, input, summary", place)].indexOf(document.activeElement) : -1;
    place.innerHTML = html;
    if (open && $("details", place)) $("details", place).open = true;
    if (focused >= 0) $$("a, button, input, summary", place)[focused]?.focus({ preventScroll: true });
  }
  function showChosen() {
    const bar = $("#chosen");
    if (!bar) return;
    for (const box of $$("#runs input.choose")) {
      box.checked = chosen.has(box.value);
      box.closest("tr").classList.toggle("chosen", box.checked);
    }
    const all = $("#runs .choose-all");
    if (all) { const boxes = $$("#runs input.choose"); all.checked = boxes.every((box) => box.checked); all.indeterminate = !all.checked && chosen.size > 0; }
    bar.hidden = !chosen.size;
    $("#chosen-count").textContent = chosen.size === 1 ? say("1 run chosen") : say("{count} runs chosen", { count: chosen.size });
    $("#compare-button").disabled = chosen.size < 2;
    $("#compare-button").title = chosen.size < 2 ? say("Choose at least two runs.") : "";
  }

  // The menu of one run in the list.
  function openMenu(button) {
    const menu = $("#run-menu"), box = button.getBoundingClientRect();
    opener = button;
    button.setAttribute("aria-expanded", "true");
    menu.hidden = false;
    menu.style.left = `${Math.max(8, Math.min(box.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8))}px`;
    menu.style.top = `${box.bottom + menu.offsetHeight > innerHeight ? box.top - menu.offsetHeight : box.bottom}px`;
    $("button", menu).focus();
  }
  function closeMenu(back) {
    const menu = $("#run-menu");
    if (!menu || menu.hidden) return;
    menu.hidden = true;
    opener?.setAttribute("aria-expanded", "false");
    if (back) $(`.more-button[data-run="${CSS.escape(opener.dataset.run)}"]`)?.focus();
  }

  async function openNote(id) {
    const answer = await runs.press(null, "/runs/note", { id });
    if (!answer?.note) return;
    about = [id];
    $("#note-title").value = answer.note.title;
    $("#note-tags").value = answer.note.tags;
    $("#note-text").value = answer.note.text;
    $("#note-told").replaceChildren();
    $("#note-dialog").showModal();
  }
  async function openRemoval(ids) {
    const answer = await runs.press(null, "/runs/removal", { ids });
    if (!answer?.words) return;
    about = ids;
    $("#remove-words").innerHTML = answer.words;
    $("#remove-dialog").showModal();
  }
  const train = async (button, id) => {
    const answer = await runs.press(button, "/runs/again", { id });
    if (answer?.href) carry(answer);
  };
  const afterwards = () => ($("#runs") ? ((seen = null), list()) : runs.look());

  document.addEventListener("submit", async (event) => {
    if (event.target.closest("#note-dialog")) {
      event.preventDefault();
      const answer = await runs.post("/runs/keep-note", { id: about[0], title: $("#note-title").value, tags: $("#note-tags").value, text: $("#note-text").value }).catch(() => null);
      if (answer && !answer.failed) { $("#note-dialog").close(); runs.tell(answer.told); afterwards(); }
      else $("#note-told").innerHTML = answer?.told || `<p class="told bad">${say("The server does not answer. Try again.")}</p>`;
    }
    if (event.target.closest("#remove-dialog")) {
      event.preventDefault();
      const files = Boolean($("#remove-files")?.checked);
      $("#remove-dialog").close();
      const answer = await runs.press(null, "/runs/put-away", { ids: about, files });
      if (answer?.failed || !answer) return;
      for (const id of about) chosen.delete(id);
      if (!$("#runs") && answer.href) carry(answer);
      else afterwards();
    }
  });

  document.addEventListener("click", async (event) => {
    const at = (selector) => event.target.closest(selector);
    const menu = at("[data-menu]"), more = at(".more-button");
    if (menu) {
      const id = opener.dataset.run, button = opener;
      closeMenu(true);
      if (menu.dataset.menu === "open") location.href = `${base}/run?id=${encodeURIComponent(id)}`;
      if (menu.dataset.menu === "note") openNote(id);
      if (menu.dataset.menu === "again") train(button, id);
      if (menu.dataset.menu === "remove") openRemoval([id]);
      return;
    }
    const wasOpen = more && opener === more && !$("#run-menu").hidden;
    closeMenu(false);
    if (more && !wasOpen) return openMenu(more);
    if (at("[data-close]")) at("dialog")?.close();
    if (at("[data-note]")) openNote(runs.id);
    if (at("[data-again]")) train(at("[data-again]"), at("[data-again]").dataset.again || runs.id);
    if (at("[data-remove]")) openRemoval([runs.id]);
    if (at("#delete-button")) openRemoval([...chosen]);
    if (at("#choose-none")) { chosen.clear(); showChosen(); }
    if (at("#compare-button")) location.href = `${base}/compare?ids=${[...chosen].map(encodeURIComponent).join(",")}`;
    if (at("#runs-more")) { most += 200; list(); }
    if (at("#runs-clear")) { $("#runs-find").value = ""; $("#runs-state").value = ""; list(); }
    if (at("[data-tag]")) { $("#runs-find").value = at("[data-tag]").dataset.tag; list(); }
    if (at("[data-back]")) { await runs.press(at("[data-back]"), "/runs/bring-back", { ids: at("[data-back]").dataset.back.split("\n") }); afterwards(); }
    if (at("[data-erase]")) erase(at("[data-erase]"));
  });
  // Asked twice: the button itself says what the second press does.
  async function erase(button) {
    if (!button.dataset.sure) {
      button.dataset.sure = "1";
      button.textContent = say("Really delete, without a way back");
      button.addEventListener("blur", () => { seen = null; list(); }, { once: true });
      return;
    }
    await runs.press(button, "/runs/erase", { ids: [button.dataset.erase] });
    afterwards();
  }
  document.addEventListener("change", (event) => {
    if (event.target.matches("#runs input.choose")) { event.target.checked ? chosen.add(event.target.value) : chosen.delete(event.target.value); showChosen(); }
    if (event.target.matches("#runs .choose-all")) { for (const box of $$("#runs input.choose")) event.target.checked ? chosen.add(box.value) : chosen.delete(box.value); showChosen(); }
    if (event.target.matches("#runs-state")) list();
    if (event.target.matches("#compare-step")) for (const body of $$("#compare tbody[data-step]")) body.hidden = body.dataset.step !== event.target.value;
  });
  document.addEventListener("input", (event) => event.target.id === "runs-find" && list());
  document.addEventListener("keydown", (event) => {
    const menu = $("#run-menu");
    if (!menu || menu.hidden) return;
    const items = $$("button", menu), now = items.indexOf(document.activeElement);
    const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next !== undefined) { event.preventDefault(); items[(next + items.length) % items.length].focus(); }
    if (event.key === "Escape" || event.key === "Tab") closeMenu(true);
  });

  window.studio.ready(() => {
    carried();
    window.studio.whenShown("#runs", () => {
      list();
      setInterval(() => document.hidden || list(), LIST_EVERY);
      document.addEventListener("visibilitychange", () => document.hidden || list());
    }, 600);
  });
})();
