// The Dataset page: the server draws its parts; here requests are sent, and the place of the reader kept.
(() => {
  const { $, $$, el, say, base, ready, whenShown } = window.studio;
  const POLL_MS = 600;
  let sending = 0, timer = 0, focusNext = "", isDrawing = false;

  const post = async (verb, body) => (await fetch(`${base}/dataset/${verb}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();
  const tell = (html) => { $("#ds-told").innerHTML = html; };
  const plain = (tone, text) => { tell(""); $("#ds-told").append(el("p", { class: `told ${tone}` }, text)); };

  // What has the focus, in words that find it again in parts that were drawn anew.
  function mark() {
    const now = document.activeElement;
    if (!now?.closest("#dataset")) return null;
    const keyed = now.closest("[data-key]")?.dataset.key;
    if (now.id) return `#${CSS.escape(now.id)}`;
    if (now.dataset.set) return `[data-spot="${now.dataset.spot}"][data-set="${CSS.escape(now.dataset.set)}"]`;
    if (now.dataset.do) return `[data-do="${CSS.escape(now.dataset.do)}"]`;
    return keyed ? `[data-key="${CSS.escape(keyed)}"]` : null;
  }
  // What is typed and not sent yet: an answer to something else must not take it away.
  const spotOf = (entry) => (entry.id ? `#${CSS.escape(entry.id)}` : `[data-spot="${entry.dataset.spot}"][data-set="${CSS.escape(entry.dataset.set)}"]`);
  const isUnsent = (entry) => entry.value !== entry.defaultValue && entry.value !== entry.dataset.sent;
  const unsent = () => $$("#dataset input:is([type=text], [type=number])").filter(isUnsent).map((entry) => [spotOf(entry), entry.value, entry.dataset.file]);
  function draw(parts) {
    const at = mark(), caret = document.activeElement?.selectionStart, typed = document.activeElement?.value, kept = unsent(), folded = {};
    for (const part of $$("#dataset details[data-key]")) folded[part.dataset.key] = part.open;
    isDrawing = true;
    for (const [id, html] of Object.entries(parts)) {
      const place = $(`#${id}`);
      if (place.dataset.drawn === html) continue;
      const top = place.scrollTop;
      place.innerHTML = html;
      place.dataset.drawn = html;
      place.scrollTop = top;
    }
    isDrawing = false;
    for (const part of $$("#dataset details[data-key]")) if (folded[part.dataset.key]) part.open = true;
    for (const [spot, value, file] of kept) {
      const entry = $(spot, $("#dataset"));
      if (entry && entry.dataset.file === file) entry.value = value; // the name typed for one dataset file is not that of the next
    }
    const again = at && $(at, $("#dataset"));
    if (again && again !== document.activeElement) {
      again.focus({ preventScroll: true });
      if (caret != null && again.value === typed && again.setSelectionRange && again.type === "text") again.setSelectionRange(caret, caret);
    }
    if (focusNext) {
      const entry = $(`#ds-o-${CSS.escape(focusNext)}`);
      focusNext = "";
      if (entry) { entry.closest("details")?.setAttribute("open", ""); entry.focus(); }
    }
  }
  function show(answer) {
    if (answer.parts) draw(answer.parts);
    if (answer.told !== undefined && (answer.told || !answer.busy)) tell(answer.told);
    clearTimeout(timer);
    if (answer.busy) timer = setTimeout(look, POLL_MS);
  }
  async function ask(verb, body) {
    sending += 1;
    try {
      const answer = await post(verb, body);
      window.studio.heard();
      show(answer);
      return answer;
    } catch (error) {
      plain("bad", say("The server does not answer. Try again."));
    } finally {
      sending -= 1;
    }
  }
  const does = (body) => ask("do", body);
  // Typing goes on while somebody else looks: a look that comes late must not draw over it.
  async function look() {
    try {
      const answer = await post("look", {});
      if (sending) return;
      const said = $("#ds-told").innerHTML;
      show({ ...answer, told: undefined });
      if (said !== $("#ds-told").innerHTML) tell(said);
    } catch (error) {
      timer = setTimeout(look, 4 * POLL_MS);
    }
  }

  const path = () => {
    const entry = $("#ds-path");
    entry.dataset.sent = entry.value;
    return entry.value.trim();
  };

  const isInSight = (part) => {
    const { top } = part.getBoundingClientRect();
    return top >= 0 && top < innerHeight / 2;
  };
  document.addEventListener("click", async (event) => {
    const at = (selector) => event.target.closest(`#dataset ${selector}`);
    const button = at("[data-do]");
    if (button && !button.disabled) {
      focusNext = button.dataset.focus || "";
      button.closest("details.ds-more")?.removeAttribute("open");
      const asked = JSON.parse(button.dataset.do), aside = button.closest("#ds-side");
      await does(asked);
      // What was asked for may lie below all folders on a narrow page, and above the window beside many of them.
      if (["choose", "find"].includes(asked.do) && aside && !isInSight($("#ds-main"))) $("#ds-main").scrollIntoView();
      if (button.dataset.then) does(JSON.parse(button.dataset.then));
    }
    const file = at("[data-file-do]");
    if (file) does({ do: file.dataset.fileDo, path: path() });
    const add = at("[data-add]");
    if (add) addFolder(add);
    const convert = at("[data-picture]");
    if (convert) offerReadings(convert);
    if (!at(".ds-more")) $("#dataset .ds-more")?.removeAttribute("open");
  });
  async function addFolder(add) {
    const answer = await does({ do: "add", path: $("#ds-folder").value, dataset: Number(add.dataset.add) });
    if (answer && !answer.failed) $("#ds-folder").value = "";
  }
  // A caption that is not UTF-8 is shown as each encoding reads it; whoever knows the words chooses.
  async function offerReadings(button) {
    const problem = button.closest("li"), caption = button.dataset.caption, spot = button.dataset.spot;
    const { readings, told } = await post("readings", { spot, caption });
    if (!readings) return tell(told || "");
    const rows = readings.map(([encoding, title, text]) => el("li", {}, el("button", { type: "button", class: "link", onclick: () => does({ do: "convert", spot, caption, encoding }) }, title), ` ${text}`));
    button.replaceWith(el("ul", { class: "ds-readings", "aria-label": say("Which of these reads right?") }, ...(rows.length ? rows : [el("li", {}, say("No encoding reads it. Open it in an editor."))])));
    $("button", problem)?.focus();
  }

  function set(entry) {
    entry.dataset.sent = entry.value;
    does({ do: "set", spot: entry.dataset.spot, key: entry.dataset.set, value: entry.type === "checkbox" ? String(entry.checked) : entry.value });
  }
  document.addEventListener("change", (event) => event.target.closest("#dataset [data-set]") && set(event.target));
  // A field that was drawn anew around what was typed tells of no change when it is left.
  document.addEventListener("focusout", (event) => !isDrawing && event.target.matches("#dataset input:is([type=text], [type=number])[data-set]") && isUnsent(event.target) && set(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.closest("#dataset")) return;
    if (event.target.id === "ds-path") does({ do: event.target.value === event.target.defaultValue ? "save" : "open", path: path() });
    else if (event.target.id === "ds-folder") addFolder($("#dataset [data-add]"));
    else return;
    event.preventDefault();
  });

  window.studio.dataset = { does, post, tell, plain };
  ready(() => whenShown("#ds-work", () => {
    const at = new URLSearchParams(location.search).get("at") || "";
    if (at) history.replaceState(null, "", location.pathname);
    does({ do: "arrive", at });
  }, 600));
})();
