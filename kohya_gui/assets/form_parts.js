// Two parts of the form with a shape of their own: sample prompts as a table, and a U-Net's blocks as a picture. Both only write what the fields hold.
(() => {
  const { $, $$, el, base, say } = window.studio;

  // Prompts: the lines of the text field are the truth; a row of the table is one line, and an edit rewrites that line alone.
  const OPTIONS = [["n", "Negative"], ["w", "Width"], ["h", "Height"], ["s", "Steps"], ["l", "Scale"], ["d", "Seed"], ["ss", "Sampler"]];
  const lines = () => $("#i-prompts");
  const isPrompt = (line) => line.trim() && !line.trim().startsWith("#");
  const parse = (line) => {
    const [prompt, ...parts] = line.split(" --");
    return { prompt, parts: parts.map((part) => { const at = part.indexOf(" "); return at < 0 ? [part, ""] : [part.slice(0, at), part.slice(at + 1)]; }) };
  };
  const written = ({ prompt, parts }) => [prompt, ...parts.map(([name, value]) => (value === "" ? name : `${name} ${value}`))].join(" --");
  const valueOf = (row, name) => (row.parts.find((part) => part[0].toLowerCase() === name) || ["", ""])[1];
  const clean = (text) => text.replace(/[\r\n]+/g, " ").replace(/ --/g, " \u2013");

  let shownText = null; // what the table shows: it is drawn anew for changes from elsewhere alone, so that no cell goes away under the cursor
  function rewrite(change, stays = false) {
    const input = lines();
    input.value = change(input.value.split("\n")).join("\n");
    if (stays) shownText = input.value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }
  function edit(place, name, value) {
    rewrite((all) => {
      const row = parse(all[place]);
      if (!name) row.prompt = clean(value);
      else {
        const part = row.parts.find((entry) => entry[0].toLowerCase() === name);
        if (value.trim() === "") row.parts = row.parts.filter((entry) => entry !== part);
        else if (part) part[1] = clean(value.trim());
        else row.parts.push([name, clean(value.trim())]);
      }
      all[place] = written(row);
      return all;
    }, true);
  }
  function drawPrompts() {
    const table = $("#prompts-rows"), input = lines();
    if (!table || !input || shownText === input.value) return;
    shownText = input.value;
    const all = input.value.split("\n");
    const cell = (place, name, label, value) => el("td", { class: name ? "" : "wide-cell" }, el("input", { type: "text", value, "data-prompt": place, "data-option": name, "aria-label": label, list: name === "ss" ? "prompt-samplers" : null, inputmode: /^[whsld]$/.test(name) ? "decimal" : null, autocomplete: "off" }));
    table.replaceChildren(...all.flatMap((line, place) => {
      if (!isPrompt(line)) return [];
      const row = parse(line);
      return [el("tr", {}, cell(place, "", say("Prompt"), row.prompt), ...OPTIONS.map(([name, label]) => cell(place, name, say(label), valueOf(row, name))), el("td", {}, el("button", { type: "button", class: "link", "data-drop-prompt": place, "aria-label": say("Delete this prompt") }, "\u2715")))];
    }));
  }
  const addPrompt = () => {
    rewrite((all) => [...all.filter((line, place) => line.trim() || place < all.length - 1), say("a new prompt")]);
    const fields = $$("[data-option='']", $("#prompts-rows"));
    fields[fields.length - 1]?.select();
  };

  // Blocks: drawn by the server, anew when the form changed.
  let sheet = "rates", drawn = "";
  async function drawBlocks(force) {
    const picture = $("#blocks-picture"), mark = window.studio.form?.mark?.();
    if (!$("#blocks")?.open || (!force && drawn === mark)) return;
    drawn = mark;
    const focused = document.activeElement?.dataset?.block;
    const answer = await fetch(`${base}/form/blocks?sheet=${sheet}`);
    if (!answer.ok) return;
    picture.innerHTML = await answer.text();
    if (focused !== undefined) $(`[data-block="${focused}"]`, picture)?.focus();
  }

  document.addEventListener("toggle", (event) => { if (event.target.id === "blocks") drawBlocks(true); }, true);
  document.addEventListener("studio:shown", () => { drawPrompts(); drawBlocks(false); });
  document.addEventListener("input", (event) => { if (event.target.id === "i-prompts") drawPrompts(); });
  document.addEventListener("change", (event) => {
    const { prompt, option, block, of } = event.target.dataset || {};
    if (prompt !== undefined) edit(Number(prompt), option, event.target.value);
    else if (block !== undefined) window.studio.form.tell({ do: "block", sheet: of, index: Number(block), text: event.target.value });
  });
  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[data-sheet]"), drop = event.target.closest("[data-drop-prompt]");
    if (tab) { sheet = tab.dataset.sheet; drawBlocks(true).then(() => $(`[data-sheet="${sheet}"]`)?.focus()); }
    else if (drop) { rewrite((all) => all.filter((line, place) => place !== Number(drop.dataset.dropPrompt))); }
    else if (event.target.closest("#add-prompt")) addPrompt();
  });
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest?.("[data-sheet]");
    if (!tab || !/^Arrow(Left|Right)$/.test(event.key)) return;
    const tabs = $$("[data-sheet]"), next = tabs[(tabs.indexOf(tab) + (event.key === "ArrowRight" ? 1 : tabs.length - 1)) % tabs.length];
    next.click();
  });
})();
