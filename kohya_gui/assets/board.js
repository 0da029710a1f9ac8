// The TensorBoard page: folders to choose from, and the frame in the page's own colours.
(() => {
  const { $, $$, setValue, ready } = window.studio;

  document.addEventListener("click", (event) => {
    const chip = event.target.closest("#board-places [data-put]");
    const field = chip && $("#board-folder textarea, #board-folder input");
    if (field) setValue(field, chip.dataset.put);
  });

  const load = () => {
    for (const frame of $$("#board-frame iframe:not([src])")) {
      frame.src = `${frame.dataset.source}${document.body.classList.contains("dark") ? "?darkMode=true" : ""}`;
    }
  };
  ready(() => new MutationObserver(load).observe(document.body, { childList: true, subtree: true }));
})();
