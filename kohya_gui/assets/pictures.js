// Charts with the values under the pointer, and sample pictures in full size.
(() => {
  const { $, $$, el, say } = window.studio;

  // Values are read back from the drawing, so nothing is sent twice.
  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.("svg.chart");
    const tip = $("#chart-tip") || document.body.appendChild(el("div", { id: "chart-tip", hidden: true }));
    if (!svg) return (tip.hidden = true);
    const [xLow, xHigh, left, right] = svg.dataset.x.split(" ").map(Number), [yLow, yHigh, bottom, top] = svg.dataset.y.split(" ").map(Number);
    const box = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
    const pointer = ((event.clientX - box.left) / box.width) * width;
    const step = xLow + ((pointer - left) / (right - left)) * (xHigh - xLow);
    const lines = $$("polyline.line", svg).map((line) => {
      const near = [...line.points].reduce((best, point) => (Math.abs(point.x - pointer) < Math.abs(best.x - pointer) ? point : best));
      return `${line.dataset.label} ${(yLow + ((near.y - bottom) / (top - bottom)) * (yHigh - yLow)).toPrecision(3)}`;
    });
    tip.hidden = step < xLow || step > xHigh || !lines.length;
    tip.textContent = [say("step {step}", { step: Math.round(step).toLocaleString() }), ...lines].join(" · ");
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.clientY - 36}px`;
  });

  // Pictures of one table are neighbours: arrows go along its rows and columns.
  const place = (link) => { const cell = link.closest("td"); return cell ? [cell.parentElement, cell.cellIndex] : [null, 0]; };
  function near(link, key) {
    const [row, column] = place(link);
    if (!row) {
      const all = $$("[data-view-picture]", link.closest("ul") || document.body);
      return all[all.indexOf(link) + (key === "ArrowRight" ? 1 : key === "ArrowLeft" ? -1 : 0)];
    }
    const at = (line, index) => line?.cells?.[index]?.querySelector("[data-view-picture]");
    const sideways = { ArrowRight: 1, ArrowLeft: -1 }[key], down = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[key];
    if (sideways) for (let index = column + sideways; index > 0 && index < row.cells.length; index += sideways) if (at(row, index)) return at(row, index);
    if (down) for (let line = row[down]; line; line = line[down]) if (at(line, column)) return at(line, column);
    return null;
  }
  let shown = null;
  function show(link) {
    let box = $("#picture");
    if (!box) {
      box = el("dialog", { id: "picture", "aria-label": say("Sample picture"), onclick: () => box.close() }, el("span", { class: "frame" }, el("img"), el("i", { "aria-hidden": "true" })), el("p", { class: "small words", role: "status" }));
      box.append(el("p", { class: "small soft hint" }, say("Arrow keys show the other pictures.")), el("button", { type: "button", class: "button" }, say("Close")));
      document.body.append(box);
    }
    shown = link;
    $("img", box).src = link.href;
    $("img", box).alt = $(".words", box).textContent = link.dataset.caption;
    // What a training cuts away of a picture is dim here as well.
    $(".frame", box).classList.toggle("is-cut", Boolean(link.dataset.cut));
    $(".frame i", box).style.inset = link.dataset.cut || "";
    $(".hint", box).hidden = !["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"].some((key) => near(link, key));
    if (!box.open) box.showModal();
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-view-picture]");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    show(link);
  });
  document.addEventListener("keydown", (event) => {
    if (!$("#picture")?.open || !event.key.startsWith("Arrow")) return;
    event.preventDefault();
    // The page may have been drawn anew meanwhile.
    const link = shown.isConnected ? shown : $$("[data-view-picture]").find((other) => other.href === shown.href);
    const next = link && near(link, event.key);
    if (next) show(next);
  });
})();
