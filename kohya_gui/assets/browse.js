// Browsing the server's folders in the page: a button at every path field, one dialog.
(() => {
  const { $, $$, el, setValue, base, say } = window.studio;
  let field = null, want = "any", here = "", asked = "";

  const wantOf = (block) => (block.classList.contains("path-folder") ? "folder" : block.classList.contains("path-file") ? "file" : "any");
  const bytes = (size) => (size < 1e3 ? `${size} ${say("bytes")}` : size < 1e6 ? `${(size / 1e3).toFixed(0)} kB` : size < 1e9 ? `${(size / 1e6).toFixed(0)} MB` : `${(size / 1e9).toFixed(1)} GB`);

  function addButtons() {
    for (const block of $$(".path-file, .path-folder, .path-any")) {
      const box = $(".input-container", block);
      if (!box || $(".browse", box)) continue;
      const name = $("[data-testid=block-info]", block)?.textContent.trim() || say("path");
      box.append(el("button", { type: "button", class: "browse", "aria-label": say("Browse for {label}", { label: name }) }, say("Browse")));
    }
  }

  function dialog() {
    let box = $("#browser");
    if (box) return box;
    box = el("dialog", { id: "browser", "aria-label": say("Choose a file or folder") },
      el("div", { class: "browser-head" }, el("h2", {}, say("Choose")), el("button", { type: "button", class: "link", "data-close": true }, say("Close"))),
      el("div", { class: "browser-roots" }),
      el("p", { class: "browser-path mono small" }),
      el("ul", { class: "browser-list" }),
      el("div", { class: "browser-foot" }, el("span", { class: "small soft", role: "status" }), el("button", { type: "button", class: "button primary", "data-use": true }, say("Use this folder"))));
    document.body.append(box);
    box.addEventListener("click", (event) => {
      const row = event.target.closest("[data-path]");
      if (event.target === box || event.target.closest("[data-close]")) box.close();
      else if (event.target.closest("[data-use]")) take(here);
      else if (row) row.dataset.folder ? go(row.dataset.path) : take(row.dataset.path);
    });
    box.addEventListener("keydown", (event) => {
      const rows = $$(".browser-list button", box), at = rows.indexOf(document.activeElement);
      if ((event.key === "ArrowDown" || event.key === "ArrowUp") && rows.length) {
        event.preventDefault();
        rows[(at + (event.key === "ArrowDown" ? 1 : -1) + rows.length) % rows.length].focus();
      } else if (event.key === "Backspace") $(".browser-list [data-up]", box)?.click();
    });
    return box;
  }

  const take = (path) => {
    setValue(field, path);
    field.dispatchEvent(new Event("change", { bubbles: true }));
    dialog().close();
    field.focus();
  };

  async function go(path) {
    const box = dialog(), list = $(".browser-list", box), note = $("[role=status]", box);
    note.textContent = say("Looking…");
    let found;
    try {
      found = await (await fetch(`${base}/browse?want=${want}&field=${asked}&path=${encodeURIComponent(path)}`)).json();
    } catch (error) {
      note.textContent = say("The server does not answer. Try again.");
      return;
    }
    $(".browser-roots", box).replaceChildren(...found.roots.map((root) => el("button", { type: "button", class: "chip", "data-path": root, "data-folder": "1" }, root)));
    if (found.error) {
      note.textContent = found.error;
      list.replaceChildren();
      if (!here && found.roots.length) go(found.roots[0]);
      return;
    }
    here = found.path;
    $(".browser-path", box).textContent = here;
    const separator = here.includes("\\") ? "\\" : "/";
    const join = (name) => (here.endsWith(separator) ? here : here + separator) + name;
    const rows = found.entries.map(([name, folder, size]) => el("li", {}, el("button", { type: "button", class: folder ? "folder" : "file", "data-path": join(name), "data-folder": folder ? "1" : null }, el("span", {}, name), el("span", { class: "small soft num" }, folder ? "" : bytes(size)))));
    if (found.parent) rows.unshift(el("li", {}, el("button", { type: "button", class: "folder up", "data-path": found.parent, "data-folder": "1", "data-up": true }, say("One folder up"))));
    list.replaceChildren(...rows);
    note.textContent = found.hidden ? say("{count} more entries are not shown.", { count: found.hidden.toLocaleString() }) : found.entries.length ? "" : say("This folder is empty.");
    $("[data-use]", box).hidden = want === "file";
    list.scrollTop = 0;
    ($(".browser-list button", box) || $("[data-close]", box)).focus();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".browse");
    if (!button) return;
    event.preventDefault();
    const block = button.closest(".path-file, .path-folder, .path-any");
    field = $("textarea, input", block);
    want = wantOf(block);
    asked = block.id;
    here = "";
    dialog().showModal();
    go(field.value);
  });
  window.studio.ready(() => new MutationObserver(() => requestAnimationFrame(addButtons)).observe(document.body, { childList: true, subtree: true }));
})();
