"""Files of a run: what is ready to use, everything that was saved, and how other programs take it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kohya_gui.jobs.checkpoints import Checkpoint, checkpoints, condition
from kohya_gui.jobs.evidence import absolute_path
from kohya_gui.jobs.monitor import RunView, SavedFile
from kohya_gui.jobs.notes import Note, read_note
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.run_parts import download, file_name, loss_words, trainer_of
from kohya_gui.tabs.run_pictures import keep_button, last_pictures
from kohya_gui.text import count, say, size
from sd_scripts.params.families import FAMILIES

MOST_PICTURES = 4
STATES = {"missing": "not there any more", "changed": "another file has its name now"}
"""What is said of a file that is not what the run saved."""


def result(view: RunView, *, root_path: str) -> Markup:
    """What a finished run opens with: the file to use, with its pictures. Nothing before."""
    found = checkpoints(view, read_note(view.run).kept)
    chosen = next((checkpoint for checkpoint in found if checkpoint.kept), None)
    final = next((checkpoint for checkpoint in reversed(found) if checkpoint.file.final), None)
    best = chosen or final
    if best is None or (view.status.state != "finished" and chosen is None):
        return Markup()
    there = condition(view, best.file) == "there"
    name, title = file_name(best.file.path), say("The checkpoint that you keep") if chosen else say("Your file is ready")
    facts = say("{size}, step {step}", size=size(best.file.bytes), step=count(best.step))
    state = tag("p", facts, class_="soft num") if there else tag("p", say("It is not there any more: {path}", path=best.file.path), class_="warn")
    again = tag("button", say("Train again with changes"), type="button", class_="button", data_again=view.run.name)
    acts = tag("div", _download(view, best.file, root_path, primary=True) if there else None, again, class_="buttons")
    how = how_to_use(str(view.record.get("command", "")), best.file.path) if there else None
    words = tag("div", tag("h2", title), tag("p", name, class_="file-name"), state, acts, how, class_="result-words")
    pictures = last_pictures(view, [sample for _, sample in sorted(best.samples.items())][:MOST_PICTURES], root_path=root_path)
    return tag("div", words, pictures, class_="card banner good result")


def files(view: RunView, *, root_path: str) -> Markup:
    """What the run has saved, the chosen file first, with downloads."""
    note = read_note(view.run)
    found = checkpoints(view, note.kept)
    states = sorted((save for save in view.saves.values() if save.what == "state"), key=lambda save: -save.step)
    words = [save for save in view.saves.values() if save.what == "embedding"]
    if not found and not states:
        return tag("p", say("Nothing saved yet."), class_="soft")
    order = sorted(found, key=lambda checkpoint: (not checkpoint.kept, not checkpoint.file.final, -checkpoint.step))
    rows = [row for checkpoint in order for row in _rows(view, checkpoint, note, root_path)]
    rows += [_row(view, save, words=say("a word that was learnt along"), acts=[_download(view, save, root_path)]) for save in words]
    rows += [_row(view, save, words=say("a state to resume from")) for save in states]
    heads = [tag("th", word, scope="col") for word in (say("File"), say("Step"), say("Validation"), say("Size"), "")]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="rows files")
    folder = tag("p", say("In the folder {folder}", folder=_folder(view)), class_="small soft") if rows else None
    return join(folder, table)


def how_to_use(script: str, path: str) -> Markup | None:
    """What to do with the file in other programs."""
    row, name = trainer_of(script), file_name(path)
    if row is None:
        return None
    facts = {"adapter": _use_adapter, "embedding": _use_embedding}.get(row.method, _use_model)(name, say(FAMILIES[row.family].title))
    rows = [join(tag("dt", program), tag("dd", how)) for program, how in facts]
    return tag("details", tag("summary", say("How to use it")), tag("dl", rows, class_="facts"), class_="use")


def _use_adapter(name: str, models: str) -> list[tuple[str, Markup]]:
    return [
        ("ComfyUI", _put("models/loras", say("Load it with the node “Load LoRA”."))),
        ("A1111, Forge", _put("models/Lora", say("Write this into the prompt:"), f"<lora:{Path(name).stem}:1>")),
        ("diffusers", tag("code", f'pipe.load_lora_weights(".", weight_name="{name}")')),
    ]


def _use_embedding(name: str, models: str) -> list[tuple[str, Markup]]:
    word = Path(name).stem
    return [
        ("ComfyUI", _put("models/embeddings", say("Write this into the prompt:"), f"embedding:{word}")),
        ("A1111, Forge", _put("embeddings", say("Write this into the prompt:"), word)),
        ("diffusers", tag("code", f'pipe.load_textual_inversion("{name}", token="{word}")')),
    ]


def _use_model(name: str, models: str) -> list[tuple[str, Markup]]:
    if not Path(name).suffix:
        return [("diffusers", tag("code", f'DiffusionPipeline.from_pretrained("{name}")'))]
    return [
        ("ComfyUI", _put("models/checkpoints", say("Load it with the node “Load Checkpoint”."))),
        ("A1111, Forge", _put("models/Stable-diffusion", say("Choose it at the top of the page."))),
        ("diffusers", join(say("With the pipeline class of {models}:", models=models), " ", tag("code", f'.from_single_file("{name}")'))),
    ]


def _put(folder: str, then: str, code: str = "") -> Markup:
    return join(say("Put the file into this folder:"), " ", tag("code", folder), ". ", then, " ", tag("code", code) if code else None)


def _rows(view: RunView, checkpoint: Checkpoint, note: Note, root_path: str) -> list[Markup]:
    """A row for each file of a checkpoint, and one for the copy of the chosen one."""
    first, *others = checkpoint.files
    measured = loss_words(checkpoint.validation.loss if checkpoint.validation else None)
    chips = [tag("span", say("kept"), class_="chip good")] if checkpoint.kept else []
    chips += _finished_chip(first)
    chips += [tag("span", say("lowest validation loss"), class_="chip best")] if checkpoint.best else []
    copied = Path(note.copy) if checkpoint.kept and Path(note.copy).is_file() else None
    copy = tag("button", say("Copy as {name}", name=_copy_name(view, first)), type="button", class_="button", data_copy_kept=True)
    acts = [copy if checkpoint.kept and copied is None else None, _download(view, first, root_path), keep_button(checkpoint)]
    rows = [_row(view, first, chips=chips, measured=measured, acts=acts)]
    if copied is not None:
        chip = tag("span", say("copy of the kept file"), class_="chip good")
        figures = _figures(checkpoint.step, "", copied.stat().st_size)
        rows.append(tag("tr", tag("td", copied.name, chip), figures, _end(download(view.run.name, note.copy, root_path))))
    return rows + [_row(view, save, chips=_finished_chip(save), measured=measured, acts=[_download(view, save, root_path)]) for save in others]


def _row(
    view: RunView,
    save: SavedFile,
    *,
    chips: Sequence[Markup] = (),
    words: str = "",
    measured: str = "",
    acts: Sequence[Markup | None] = (),
) -> Markup:
    """A file with what can be done with it, if it is still there."""
    state, name = condition(view, save), file_name(save.path)
    below = [tag("div", words, class_="small soft")] if words else []
    below += [tag("div", say(STATES[state]), class_="small warn")] if state in STATES else []
    label = tag("td", tag("b", name) if save.final else name, chips, below)
    return tag("tr", label, _figures(save.step, measured, save.bytes), _end(*acts) if state == "there" else tag("td"))


def _end(*acts: Markup | None) -> Markup:
    return tag("td", tag("div", acts, class_="buttons") if any(acts) else None, class_="end")


def _finished_chip(save: SavedFile) -> list[Markup]:
    return [tag("span", say("finished file"), class_="chip")] if save.final else []


def _figures(step: int, measured: str, bytes_: int) -> list[Markup]:
    """Step, validation loss and size; a narrow page shows their names beside them."""
    return [
        tag("td", count(step), class_="num", data_label=say("Step")),
        tag("td", measured, class_="num", data_label=say("Validation") if measured else None),
        tag("td", size(bytes_), class_="num"),
    ]


def _download(view: RunView, save: SavedFile, root_path: str, *, primary: bool = False) -> Markup:
    if absolute_path(view.record, save.path).is_dir():
        return tag("span", say("a folder"), class_="small soft")
    return download(view.run.name, save.path, root_path, primary=primary)


def _copy_name(view: RunView, save: SavedFile) -> str:
    return f"{view.name}-kept{Path(save.path).suffix}"


def _folder(view: RunView) -> str:
    first = next(iter(view.saves.values()))
    return str(absolute_path(view.record, first.path).parent)
