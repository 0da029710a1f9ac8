// Pictures on their way to the server: dropped or chosen, with their folders, a few at a time, and taken back when somebody cancels.
(() => {
  const { $, $$, el, base, say } = window.studio;
  const AT_ONCE = 3, TOLD_LEFT = 5;
  let going = null;

  // What was dropped, folders with all that is in them: [path, file] each.
  async function filesOf(entry, prefix) {
    if (entry.isFile) return [[prefix + entry.name, await new Promise((resolve, reject) => entry.file(resolve, reject))]];
    const reader = entry.createReader(), inside = [];
    for (let some; (some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length; ) inside.push(...some);
    return (await Promise.all(inside.map((one) => filesOf(one, `${prefix}${entry.name}/`)))).flat();
  }
  const overDrop = (event) => $("#dataset") && event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!overDrop(event)) return;
    event.preventDefault();
    document.body.classList.add("is-dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("is-dropping"));
  document.addEventListener("drop", async (event) => {
    if (!overDrop(event)) return;
    event.preventDefault();
    document.body.classList.remove("is-dropping");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plainFiles = [...event.dataTransfer.files].map((file) => [file.name, file]);
    let files;
    try {
      files = entries.length ? (await Promise.all(entries.map((entry) => filesOf(entry, "")))).flat() : plainFiles;
    } catch (error) {
      return window.studio.dataset.plain("bad", say("The browser may not read what was dropped: {reason}", { reason: error.message }));
    }
    const sheet = files.length === 1 && /\.(toml|json)$/i.test(files[0][0]);
    if (sheet) window.studio.dataset.does({ do: "open-text", text: await files[0][1].text(), name: files[0][0] });
    else upload(files);
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "ds-files" && event.target.id !== "ds-tree") return;
    upload([...event.target.files].map((file) => [file.webkitRelativePath || file.name, file]));
    event.target.value = "";
  });
  document.addEventListener("click", (event) => {
    const pick = event.target.closest("#dataset [data-pick]");
    if (pick) $(`#${pick.dataset.pick}`).click();
    if (event.target.closest("#ds-cancel")) cancel();
  });
  addEventListener("beforeunload", (event) => going && event.preventDefault());

  // The new folder's name, and the files' names below it. What a dropped folder's name says (10_cat, reg) must stay the name of the folder that
  // the pictures lie in, whatever number the new one gets; any other would only be there twice.
  function placed(files) {
    const top = files[0][0].split("/")[0], one = files[0][0].includes("/") && files.every(([path]) => path.startsWith(`${top}/`));
    const zip = files.length === 1 && /\.zip$/i.test(top) ? top.slice(0, -4) : "";
    const name = one ? top : zip, says = /^\d+_./.test(name) || /^reg$/i.test(name);
    if (says) return [name.replace(/^\d+_/, ""), one ? files : [[`${name}/${top}`, files[0][1]]]];
    return [name, one ? files.map(([path, file]) => [path.slice(top.length + 1), file]) : files];
  }

  // One file; the promise ends with the server's answer, and fails where none comes.
  function send(folder, [name, file], onProgress) {
    const request = new XMLHttpRequest();
    const done = new Promise((resolve, reject) => {
      request.upload.onprogress = (event) => onProgress(event.loaded);
      request.onload = () => { try { resolve(JSON.parse(request.responseText)); } catch (error) { reject(error); } };
      request.onerror = request.onabort = () => reject(new Error("no answer"));
    });
    request.open("POST", `${base}/dataset/upload?folder=${encodeURIComponent(folder)}&name=${encodeURIComponent(name)}`);
    request.send(file);
    return [request, done];
  }

  async function upload(dropped) {
    const { does, post, tell, plain } = window.studio.dataset;
    if (!dropped.length) return plain("warn", say("There is no file in what was dropped."));
    if (going) return plain("warn", say("An upload is under way. Wait for it, or cancel it first."));
    const endings = $("#ds-drop").dataset.endings.split(" "), dataset = Number($("#ds-drop").dataset.dataset);
    const [name, named] = placed(dropped);
    // What the server would leave out is not sent at all: a film may lie among the pictures.
    const fits = ([path]) => endings.some((ending) => path.toLowerCase().endsWith(ending));
    const waiting = named.filter(fits), total = waiting.length, left = named.filter((row) => !fits(row)).map(([path]) => [path, say("no picture and no caption")]);
    if (!total) return plain("warn", named.length === 1 ? say("This is no picture, no caption and no zip.") : say("None of these {count} files is a picture, a caption or a zip.", { count: named.length }));
    going = { requests: new Set(), cancelled: false };
    const mine = going;
    const { folder, told } = await post("folder", { name }).catch(() => ({}));
    if (!folder) {
      going = null;
      return told ? tell(told) : plain("bad", say("The server does not answer. Try again."));
    }
    mine.folder = folder;
    const all = waiting.reduce((sum, [, file]) => sum + file.size, 0) || 1, sent = new Map(), failed = [];
    let done = 0, unanswered = [];
    const bar = el("div"), meter = el("div", { class: "progress", role: "progressbar", "aria-label": say("Upload") }, bar), words = el("p", { class: "num" });
    const stop = el("button", { type: "button", class: "button", id: "ds-cancel" }, say("Cancel"));
    $("#ds-upload").replaceChildren(words, meter, stop);
    $("#ds-upload").hidden = false;
    tell("");
    const show = () => {
      const bytes = [...sent.values()].reduce((sum, size) => sum + size, 0);
      const share = Math.floor((100 * bytes) / all);
      bar.style.width = `${share}%`;
      meter.setAttribute("aria-valuenow", share);
      words.textContent = bytes >= all && done < total ? say("Everything is sent; the server unpacks and checks it.") : say("Sending to {folder}: {done} of {total} files, {share} %", { folder, done, total, share });
    };
    show();
    const worker = async () => {
      for (let next; !mine.cancelled && (next = waiting.shift()); ) {
        const [path, file] = next;
        const [request, answered] = send(folder, next, (bytes) => { sent.set(path, Math.min(bytes, file.size)); show(); });
        mine.requests.add(request);
        const answer = await answered.catch(() => null);
        mine.requests.delete(request);
        if (answer) {
          if (answer.failed) failed.push(answer.told);
          else left.push(...answer.left);
          sent.set(path, file.size);
          done += 1;
        } else {
          unanswered.push(next);
          sent.delete(path);
        }
        show();
      }
    };
    // A line that broke may come back: what did not arrive is sent once more if somebody wants it, into the same folder.
    const isWantedAgain = () => new Promise((resolve) => {
      mine.decide = resolve;
      words.textContent = unanswered.length === 1 ? say("One file did not arrive: {name}.", { name: unanswered[0][0] }) : say("{count} files did not arrive.", { count: unanswered.length });
      const again = el("button", { type: "button", class: "button primary", onclick: () => resolve(true) }, say("Send again"));
      const without = el("button", { type: "button", class: "button", onclick: () => resolve(false) }, say("Go on without"));
      stop.before(again, ...(done ? [without] : []));
      again.focus();
    });
    for (;;) {
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
      if (mine.cancelled || !unanswered.length || !(await isWantedAgain())) break;
      for (const part of $$("#ds-upload button")) if (part !== stop) part.remove();
      waiting.push(...unanswered);
      unanswered = [];
      show();
    }
    if (!mine.cancelled) await finish(folder, dataset, left, failed, unanswered.length);
    mine.ended?.();
  }

  async function finish(folder, dataset, left, failed, lacking) {
    going = null;
    $("#ds-upload").hidden = true;
    await window.studio.dataset.does({ do: "uploaded", folder, dataset });
    const told = $("#ds-told");
    if (lacking) told.append(el("p", { class: "told warn" }, lacking === 1 ? say("One file did not arrive and is left out.") : say("{count} files did not arrive and are left out.", { count: lacking })));
    if (failed.length > 1) told.append(el("p", { class: "told bad" }, say("{count} files were refused. The first:", { count: failed.length })));
    if (failed.length) told.insertAdjacentHTML("beforeend", failed[0]);
    if (left.length) {
      const names = left.slice(0, TOLD_LEFT).map(([file, why]) => `${file}: ${why}`).join("; ");
      told.append(el("p", { class: "told warn" }, left.length === 1 ? say("One file was left out. {names}", { names }) : say("{count} files were left out. {names}", { count: left.length, names })));
    }
  }

  async function cancel() {
    const mine = going;
    if (!mine?.folder || mine.cancelled) return;
    mine.cancelled = true;
    $("#ds-cancel").disabled = true;
    const ended = new Promise((resolve) => (mine.ended = resolve));
    mine.decide?.(false);
    for (const request of mine.requests) request.abort();
    await ended;
    $("#ds-upload").hidden = true;
    await window.studio.dataset.does({ do: "cancel", folder: mine.folder });
    going = null;
    $("[data-pick]")?.focus();
  }
})();
