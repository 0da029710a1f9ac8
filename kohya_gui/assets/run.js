// The page of one run: it asks for the pieces that changed, shows the log as it grows, and sends what is pressed.
(() => {
  const { $, $$, base, say } = window.studio;
  const LONGEST = 400000, EVERY_ENDED = 4, FAR = 1e6, SCROLLED = ".scroll, pre, ol.timeline";
  const run = new URLSearchParams(location.search).get("id") || "";
  const seen = {};
  let log = "", at = null, state = null, hits = [], hit = -1, asking = false, turn = 0, title = document.title;

  const runs = (window.studio.runs = { id: run, look: () => look() });
  runs.post = async (address, body) => {
    const answer = await fetch(`${base}${address}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    if (answer.status === 401) location.reload();
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  };
  runs.tell = (html) => { const box = $("#outcome"); if (box) { box.innerHTML = html; box.scrollIntoView({ block: "nearest" }); } };
  // Something is pressed: the button waits, and what the server says of it is shown.
  runs.press = async (button, address, body) => {
    if (button?.getAttribute("aria-busy")) return null;
    button?.setAttribute("aria-busy", "true");
    try {
      const answer = await runs.post(address, body);
      if (answer.told) runs.tell(answer.told);
      return answer;
    } catch (error) {
      const words = document.createElement("p");
      words.className = "told bad";
      words.textContent = say("The server does not answer. Try again.");
      runs.tell(words.outerHTML);
      return null;
    } finally { button?.removeAttribute("aria-busy"); }
  };

  // Pieces of the open tab and of the page above it; what nobody sees is not asked for.
  const wanted = () => $$("[data-piece]", $("#run")).filter((piece) => !piece.closest("[role=tabpanel][hidden], details:not([open])")).map((piece) => piece.dataset.piece);

  async function look() {
    if (asking) return;
    asking = true;
    try {
      const answer = await runs.post("/run/look", { id: run, seen, wanted: wanted(), log: at });
      window.studio.heard();
      show(answer);
    } catch (error) { /* the frame says that the server does not answer */ } finally { asking = false; }
  }

  function show(answer) {
    if (answer.none) {
      $("#run").dataset.none = "1";
      $("#run-header").innerHTML = answer.none;
      for (const part of $$("#run > :not(#run-header), .run-acts > :not(.back)")) part.hidden = true;
      return;
    }
    for (const [name, [digest, html]] of Object.entries(answer.pieces)) fill(name, digest, html);
    $("#run-buttons").hidden = !answer.buttons.some((key) => key !== "remove");
    for (const button of $$("#run-buttons [data-act]")) button.hidden = !answer.buttons.includes(button.dataset.act);
    $("#remove").hidden = !answer.buttons.includes("remove");
    document.title = `${answer.title} · ${title}`;
    if (state === null) open(location.hash.slice(1) || (answer.state === "finished" || answer.state === "stopped" ? "files" : "log"), false);
    state = answer.state;
    if (answer.log) takeLog(answer.log);
    $("#run").dataset.state = answer.active ? "active" : "ended";
  }

  // What is open, focused or scrolled in a piece stays so when it is drawn anew.
  function fill(name, digest, html) {
    const piece = $(`[data-piece="${name}"]`, $("#run"));
    if (!piece) return;
    const folded = $$("details", piece).map((part) => part.open);
    const scrolled = $$(SCROLLED, piece).map((part) => [part.scrollLeft >= part.scrollWidth - part.clientWidth - 4 ? FAR : part.scrollLeft, part.scrollTop]);
    const focused = piece.contains(document.activeElement) ? [...piece.querySelectorAll("a, button, summary, [tabindex]")].indexOf(document.activeElement) : -1;
    const had = piece.dataset.filled;
    piece.innerHTML = html;
    piece.dataset.filled = "1";
    seen[name] = digest;
    // The newest sample is at the right, the last line of a log at the end.
    $$(SCROLLED, piece).forEach((part, index) => ([part.scrollLeft, part.scrollTop] = had && scrolled[index] ? scrolled[index] : [FAR, part.matches("details pre") ? FAR : 0]));
    if (!had) return showChosen(piece);
    $$("details", piece).forEach((part, index) => folded[index] !== undefined && (part.open = folded[index]));
    if (focused >= 0) piece.querySelectorAll("a, button, summary, [tabindex]")[focused]?.focus({ preventScroll: true });
  }

  // Of many checkpoints, the chosen one is in view first, else the best.
  function showChosen(piece) {
    const head = $("table.grid th.kept", piece) || $("table.grid .chip.best", piece)?.closest("th");
    if (head) head.closest(".scroll").scrollLeft = head.offsetLeft - head.parentElement.firstElementChild.offsetWidth - 16;
  }

  function takeLog(news) {
    const first = at === null || news.fresh;
    if (first) log = "";
    at = news.at;
    // A progress line is drawn over the one before it.
    if (news.over && !first) log = log.slice(0, log.lastIndexOf("\n") + 1);
    log = (log + news.text).slice(-LONGEST);
    fillLog();
  }
  function fillLog() {
    const box = $("#log-text"), text = log || say("Nothing written yet.");
    if (box.textContent !== text) box.textContent = text;
    if ($("#log-follow").checked) box.scrollTop = box.scrollHeight;
    if ($("#log-find").value) find(false);
  }
  const range = (node, start, length) => {
    const made = document.createRange();
    made.setStart(node, Math.min(start, node.length));
    made.setEnd(node, Math.min(start + length, node.length));
    return made;
  };
  function find(move) {
    const wanted = $("#log-find").value.toLowerCase(), text = log.toLowerCase();
    hits = [];
    for (let from = 0; wanted && (from = text.indexOf(wanted, from)) >= 0 && hits.length < 2000; from += wanted.length) hits.push(from);
    const node = $("#log-text").firstChild;
    if (window.CSS?.highlights && node) CSS.highlights.set("found", new Highlight(...hits.map((place) => range(node, place, wanted.length))));
    if (move && hits.length && node) {
      hit = (hit + move + hits.length) % hits.length;
      $("#log-follow").checked = false;
      if (window.CSS?.highlights) CSS.highlights.set("found-now", new Highlight(range(node, hits[hit], wanted.length)));
      const box = $("#log-text"), place = range(node, hits[hit], wanted.length).getBoundingClientRect();
      box.scrollTop += place.top - box.getBoundingClientRect().top - box.clientHeight / 2;
    } else if (!hits.length) window.CSS?.highlights?.delete("found-now");
    const count = hits.length.toLocaleString();
    $("#log-hits").textContent = !wanted ? "" : hit < 0 || !hits.length ? say("{count} found", { count }) : say("{number} of {count}", { number: (hit + 1).toLocaleString(), count });
  }

  function open(key, byHand) {
    const known = $$("#run-tabs [role=tab]");
    const chosen = known.find((tab) => tab.dataset.tab === key) || known[0];
    for (const tab of known) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      $(`#panel-${tab.dataset.tab}`).hidden = tab !== chosen;
    }
    if (byHand) { history.replaceState(null, "", `#${chosen.dataset.tab}`); chosen.focus(); }
    if (chosen.dataset.tab === "log") fillLog();
    look();
  }

  const inPage = (event) => $("#run") && event.target.closest?.("#run");
  document.addEventListener("click", async (event) => {
    if (!inPage(event)) return;
    const tab = event.target.closest("[role=tab]"), act = event.target.closest("[data-act]"), keep = event.target.closest("[data-keep]"), copy = event.target.closest("[data-copy-kept]");
    if (tab) return open(tab.dataset.tab, true);
    if (act) await runs.press(act, "/run/act", { id: run, key: act.dataset.act });
    if (keep) await runs.press(keep, "/run/keep", { id: run, path: keep.dataset.keep });
    if (copy) await runs.press(copy, "/run/copy", { id: run });
    if (act || keep || copy) look();
  });
  document.addEventListener("keydown", (event) => {
    if (!inPage(event)) return;
    if (event.target.id === "log-find" && event.key === "Enter") { event.preventDefault(); find(event.shiftKey ? -1 : 1); }
    if (!event.target.matches("[role=tab]")) return;
    const tabs = $$("#run-tabs [role=tab]"), now = tabs.indexOf(event.target);
    const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next !== undefined) { event.preventDefault(); open(tabs[(next + tabs.length) % tabs.length].dataset.tab, true); }
  });
  document.addEventListener("input", (event) => event.target.id === "log-find" && ((hit = -1), find(0)));
  document.addEventListener("change", (event) => event.target.id === "log-follow" && event.target.checked && fillLog());
  document.addEventListener("toggle", (event) => inPage(event) && event.target.open && event.target.querySelector("[data-piece]") && look(), true);

  window.studio.ready(() => window.studio.whenShown("#run", (page) => {
    $("#log-download").href = `${base}/file?run=${encodeURIComponent(run)}&path=log.txt&download=1`;
    $("#log-report").href = `${base}/report?run=${encodeURIComponent(run)}`;
    look();
    setInterval(() => {
      turn += 1;
      const due = page.dataset.state === "active" || turn % EVERY_ENDED === 0;
      if (!document.hidden && !page.dataset.none && due) look();
    }, Number(page.dataset.poll) * 1000);
    document.addEventListener("visibilitychange", () => !document.hidden && look());
  }, 600));
})();
