"""Sample pictures of a run: by step as they were drawn, and by checkpoint, to choose one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kohya_gui.jobs.checkpoints import Checkpoint, checkpoints, condition
from kohya_gui.jobs.monitor import RunView, Sample
from kohya_gui.jobs.notes import read_note
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.run_parts import download, file_address, file_name, loss_words
from kohya_gui.text import count, say, size

SAMPLE_COLUMNS = 12


def gallery(view: RunView, *, root_path: str) -> Markup:
    """Sample pictures: a row per prompt, a column per step, the newest at the right."""
    if not view.samples:
        told = say("Pictures appear here as they are drawn.") if view.status.is_active else say("No sample pictures were drawn.")
        return join(tag("h2", say("Samples")), tag("p", told, class_="soft"))
    steps = sorted({sample.step for sample in view.samples})
    shown = steps[-SAMPLE_COLUMNS:]
    at = {(sample.index, sample.step): sample for sample in view.samples}
    heads = [tag("th", step_words(step), scope="col") for step in shown]
    rows = [
        tag("tr", prompt_head(view.samples, index), [tag("td", picture(view, at.get((index, step)), root_path)) for step in shown])
        for index in indices(view.samples)
    ]
    older = len(steps) - len(shown)
    hidden = (
        say("Samples of 1 earlier step are not shown.") if older == 1 else say("Samples of {count} earlier steps are not shown.", count=count(older))
    )
    rest = tag("p", hidden, class_="small soft") if older else None
    return join(tag("h2", say("Samples")), _sideways(tag("tr", tag("th", say("Prompt"), scope="col"), heads), rows, say("Samples")), rest)


def grid(view: RunView, *, root_path: str) -> Markup:
    """Checkpoints side by side: a row per prompt, a column per saved file, to look at what each makes of the prompts and to keep one."""
    found = checkpoints(view, read_note(view.run).kept)
    if not found:
        told = say("Nothing saved yet.") if view.status.is_active else say("This run saved no checkpoint.")
        return join(tag("h2", say("Checkpoints")), tag("p", told, class_="soft"))
    heads = [tag("th", _column_head(view, checkpoint, root_path), scope="col", class_=_column_class(checkpoint)) for checkpoint in found]
    rows = [
        tag(
            "tr",
            prompt_head(view.samples, index),
            [tag("td", _cell(view, checkpoint, index, root_path), class_=_column_class(checkpoint)) for checkpoint in found],
        )
        for index in indices(view.samples)
    ]
    words = say(
        "Each column is a saved file with what it makes of the prompts. “Keep this one” marks it: it comes first, and the trainer does not delete it."
    )
    none = None if rows else tag("p", say("No sample pictures were drawn, so there is nothing to compare by eye."), class_="soft")
    table = _sideways(tag("tr", tag("th", say("Prompt"), scope="col"), heads), rows, say("Checkpoints"), class_="samples grid num")
    return join(tag("h2", say("Checkpoints")), tag("p", words, class_="small soft"), none, table)


def last_pictures(view: RunView, samples: Iterable[Sample], *, root_path: str) -> Markup | None:
    """A few pictures in a row."""
    shown = [tag("li", picture(view, sample, root_path)) for sample in samples]
    return tag("ul", shown, class_="strip", aria_label=say("Last samples")) if shown else None


def keep_button(checkpoint: Checkpoint) -> Markup:
    """Chooses this checkpoint, or lets it go."""
    words = say("Kept") if checkpoint.kept else say("Keep this one")
    label = say("Keep {name}", name=file_name(checkpoint.file.path))
    pressed = "true" if checkpoint.kept else "false"
    return tag(
        "button", words, type="button", class_="button keep", data_keep=checkpoint.file.path, aria_pressed=pressed, aria_label=label, title=label
    )


def picture(view: RunView, sample: Sample | None, root_path: str) -> Markup | None:
    """One picture that opens large; nothing where there is none."""
    if sample is None:
        return None
    address = file_address(view.run.name, sample.path, root_path)
    words = say("{prompt}, step {step}", prompt=sample.prompt, step=count(sample.step))
    image = tag("img", src=address, alt=words, loading="lazy", width=128, height=128)
    return tag("a", image, href=address, data_view_picture=True, data_caption=words, target="_blank")


def prompt_head(samples: Sequence[Sample], index: int) -> Markup:
    """The prompt at the head of a row, as it was last."""
    prompt = next((sample.prompt for sample in reversed(samples) if sample.index == index), "")
    return tag("th", tag("span", prompt, title=prompt), scope="row")


def step_words(step: int) -> str:
    """When a picture was drawn."""
    return say("step {step}", step=count(step)) if step else say("before")


def indices(samples: Iterable[Sample]) -> list[int]:
    """The prompts' places."""
    return sorted({sample.index for sample in samples})


def _column_class(checkpoint: Checkpoint) -> str | None:
    return "kept" if checkpoint.kept else None


def _column_head(view: RunView, checkpoint: Checkpoint, root_path: str) -> Markup:
    save, there = checkpoint.file, condition(view, checkpoint.file) == "there"
    chips = [tag("span", say("kept"), class_="chip good")] if checkpoint.kept else []
    chips += [tag("span", say("finished file"), class_="chip")] if save.final else []
    chips += [tag("span", say("lowest validation loss"), class_="chip best")] if checkpoint.best else []
    link = download(view.run.name, save.path, root_path)
    acts = (
        tag("div", keep_button(checkpoint), link, class_="buttons") if there else tag("span", say("The file is not there any more."), class_="warn")
    )
    others = ", ".join(file_name(file.path) for file in checkpoint.files[1:])
    more = say("also saved as {name}", name=others) if others else ""
    return join(
        tag("b", step_words(checkpoint.step)),
        tag("span", chips, class_="chips") if chips else None,
        _validation(checkpoint),
        tag("span", file_name(save.path), class_="file clip", title=save.path),
        tag("span", more, class_="file clip", title=more) if more else None,
        tag("span", size(save.bytes)),
        acts,
    )


def _validation(checkpoint: Checkpoint) -> Markup | None:
    measured = checkpoint.validation
    if measured is None:
        return None
    loss = loss_words(measured.loss)
    if measured.step == checkpoint.step:
        return tag("span", say("validation {loss}", loss=loss))
    return tag("span", say("validation {loss} at step {step}", loss=loss, step=count(measured.step)))


def _cell(view: RunView, checkpoint: Checkpoint, index: int, root_path: str) -> Markup:
    sample = checkpoint.samples.get(index)
    if sample is None:
        return tag("div", say("not drawn"), class_="none small")
    drawn = tag("span", step_words(sample.step), class_="small soft") if sample.step != checkpoint.step else None
    return join(picture(view, sample, root_path), drawn)


def _sideways(head: Markup, rows: Sequence[Markup], label: str, *, class_: str = "samples num") -> Markup:
    """A table that the script scrolls to its newest column, at the right."""
    table = tag("table", tag("thead", head), tag("tbody", rows), class_=class_)
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)
