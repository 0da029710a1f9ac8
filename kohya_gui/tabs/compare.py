"""The page that holds runs side by side: how they turned out, what was set differently, their curves in one picture, their samples at equal steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from kohya_gui.chart import Frame, Series, legend, line_chart, thinned
from kohya_gui.form.block import html_block
from kohya_gui.form.marks import base_words
from kohya_gui.jobs.monitor import RunView, Sample
from kohya_gui.jobs.prompts import RUN_STEM
from kohya_gui.jobs.runs import CONFIG_FILE
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_parts import loss_words, run_title, trained_words
from kohya_gui.tabs.run_pictures import picture, step_words
from kohya_gui.tabs.shell import state_badge
from kohya_gui.text import count, duration, error_words, number, say
from sd_scripts.errors import TrainingError
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import read_config

MOST = 4
"""Runs on one page: as many as there are colours of lines that can be told apart."""
STYLES = ("rate-3", "rate-0", "rate-1", "rate-2")
LINE_POINTS = 400
Drawn = dict[str, list[Sample]]
PLACES = ("output_dir", "output_name", "logging_dir", "resume")
"""Options that differ between any two runs and say nothing of the result; they come last."""


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    root = desk.options.root_path
    html_block(lambda: _title(root), elem_id="compare-head")
    shown = html_block(elem_id="compare")

    def load(request: gr.Request) -> Any:
        return comparison(desk, str(request.query_params.get("ids", "")).split(","))

    blocks.load(load, None, shown, queue=False, show_progress="hidden", api_visibility="private")


def _title(root_path: str) -> Markup:
    back = tag("a", say("All runs"), href=f"{root_path}/runs", class_="link small back")
    return join(tag("div", back, class_="run-acts"), tag("div", tag("h1", say("Compare")), class_="page-title"))


def comparison(desk: Desk, ids: Sequence[str]) -> Markup:
    """All of the page for the runs of `ids`, or what to do instead."""
    views, missing = [], []
    for name in dict.fromkeys(name for name in ids if name):
        try:
            views.append(desk.views.of(desk.run_folder(name)))
        except TrainingError as failed:
            missing.append(error_words(failed))
    notes = [tag("p", sentence, class_="told bad", role="alert") for sentence in missing]
    if len(views) < 2:
        back = tag("a", say("Choose runs"), href=f"{desk.options.root_path}/runs", class_="button primary")
        words = say("Choose two to four runs in the list, then “Compare”.")
        return join(notes, tag("div", tag("h2", say("Nothing to compare yet")), tag("p", words), back, class_="card empty"))
    if len(views) > MOST:
        notes.append(tag("p", say("The first {most} of {all} runs are shown.", most=MOST, all=len(views)), class_="told warn"))
    views = views[:MOST]
    parts = (_outcomes(desk, views), _losses(views), _settings(desk, views), _samples(desk, views))
    return join(notes, [tag("div", part, class_="card") for part in parts])


def _outcomes(desk: Desk, views: Sequence[RunView]) -> Markup:
    """How each turned out."""
    facts: list[tuple[str, Callable[[RunView], str]]] = [
        (say("Trained"), lambda view: trained_words(str(view.record.get("command", "")))),
        (say("Steps"), lambda view: f"{count(view.step)} / {count(view.total)}" if view.total else "–"),
        (say("Average loss"), lambda view: number(view.avg_loss)),
        (say("Lowest validation loss"), _lowest),
        (say("Time"), _took),
        (say("Pictures and captions"), lambda view: _pictures(view, views[0])),
    ]
    rows = [tag("tr", tag("th", label, scope="row"), [tag("td", fact(view), class_="num") for view in views]) for label, fact in facts]
    heads = [_head(desk, view, style) for view, style in zip(views, STYLES, strict=False)]
    return join(tag("h2", say("How they turned out")), _table(tag("tr", tag("td"), heads), rows, say("How they turned out")))


def _losses(views: Sequence[RunView]) -> Markup:
    lines = [
        Series(run_title(view), thinned([(point.step, point.avg_loss) for point in view.curve.points], LINE_POINTS), style)
        for view, style in zip(views, STYLES, strict=False)
    ]
    measured = [
        Series(say("{run}, validation", run=run_title(view)), [(found.step, found.loss) for found in view.validations], f"{style} dashed", dots=True)
        for view, style in zip(views, STYLES, strict=False)
        if view.validations
    ]
    said = "; ".join(
        say("{run}: {loss} after {steps} steps", run=run_title(view), loss=number(view.avg_loss), steps=count(view.step)) for view in views
    )
    chart = line_chart([*lines, *measured], Frame(width=960, height=280), title=said)
    return join(tag("h2", say("Average loss")), legend([*lines, *measured]), chart, tag("p", said, class_="small soft num"))


def _settings(desk: Desk, views: Sequence[RunView]) -> Markup:
    """Options that are not the same in all runs."""
    configs = [_config(view) for view in views]
    names = dict.fromkeys(name for config in configs if config for name in config.command.by_name)
    rows = []
    for name in sorted(names, key=lambda name: name in PLACES):
        if name == "sample_prompts":
            continue
        values = [_value(config, name) for config in configs]
        if len(set(values)) > 1:
            parameter = next(config.command.by_name[name] for config in configs if config and name in config.command.by_name)
            label = join(desk.words.label(parameter), " ", tag("code", name))
            rows.append(tag("tr", tag("th", label, scope="row"), [tag("td", value) for value in values]))
    prompts = [_prompts(view) for view in views]
    if len(set(prompts)) > 1:
        rows.append(tag("tr", tag("th", say("Sample prompts"), scope="row"), [tag("td", text, class_="lines") for text in prompts]))
    if not rows:
        return join(tag("h2", say("Settings")), tag("p", say("All settings are the same."), class_="soft"))
    heads = [_head(desk, view, style) for view, style in zip(views, STYLES, strict=False)]
    return join(tag("h2", say("Settings that differ")), _table(tag("tr", tag("td"), heads), rows, say("Settings that differ"), class_="compared"))


def _samples(desk: Desk, views: Sequence[RunView]) -> Markup:
    """A row for each prompt, the runs beside each other, at a step that can be chosen."""
    drawn = [_by_prompt(view) for view in views]
    of_runs = [{sample.step for samples in by_prompt.values() for sample in samples} for by_prompt in drawn]
    steps = sorted(set().union(*of_runs), reverse=True)
    if not steps:
        return join(tag("h2", say("Samples")), tag("p", say("None of the runs drew samples."), class_="soft"))
    equal = [step for step in steps if all(step in of_run for of_run in of_runs)]
    chosen = (equal or steps)[0]
    options = [tag("option", _step_choice(step, equal=step in equal), value=step, selected=step == chosen) for step in steps]
    select = tag("label", tag("span", say("At"), class_="small soft"), " ", tag("select", options, id="compare-step"), class_="compare-step")
    heads = tag("tr", tag("th", say("Prompt"), scope="col"), [tag("th", run_title(view), scope="col") for view in views])
    bodies = [tag("tbody", _at_step(desk, views, drawn, step), data_step=step, hidden=step != chosen) for step in steps]
    table = tag("table", tag("thead", heads), bodies, class_="samples num")
    whole = tag("div", table, class_="sideways", tabindex="0", role="region", aria_label=say("Samples"))
    return join(tag("div", tag("h2", say("Samples at equal steps")), select, class_="card-head"), whole)


def _by_prompt(view: RunView) -> Drawn:
    """A run's samples by their prompt, by rising step."""
    found: Drawn = {}
    for sample in sorted(view.samples, key=lambda sample: sample.step):
        found.setdefault(sample.prompt, []).append(sample)
    return found


def _step_choice(step: int, *, equal: bool) -> str:
    return say("step {step}", step=count(step)) if equal else say("step {step}, not drawn by all", step=count(step))


def _at_step(desk: Desk, views: Sequence[RunView], drawn: Sequence[Drawn], step: int) -> list[Markup]:
    """What each run drew at `step`, or the newest before, which is said."""
    rows = []
    for prompt in dict.fromkeys(prompt for by_prompt in drawn for prompt in by_prompt):
        cells = []
        for view, by_prompt in zip(views, drawn, strict=True):
            sample = next((found for found in reversed(by_prompt.get(prompt, ())) if found.step <= step), None)
            other = tag("span", step_words(sample.step), class_="small warn") if sample is not None and sample.step != step else None
            none = tag("div", say("not drawn"), class_="none small") if sample is None else None
            cells.append(tag("td", picture(view, sample, desk.options.root_path), other, none))
        rows.append(tag("tr", tag("th", tag("span", prompt, title=prompt), scope="row"), cells))
    return rows


def _config(view: RunView) -> Config | None:
    try:
        return read_config(view.run / CONFIG_FILE, command(str(view.record.get("command"))))
    except (TrainingError, KeyError):
        return None


def _value(config: Config | None, name: str) -> str:
    if config is None:
        return say("cannot be read")
    return base_words(config.value(name)) if name in config.command.by_name else "–"


def _prompts(view: RunView) -> str:
    """The prompts themselves: each run has a file of its own."""
    path = view.run / f"{RUN_STEM}.txt"
    return path.read_text("utf-8", "replace").strip() if path.is_file() else "–"


def _lowest(view: RunView) -> str:
    if not view.validations:
        return "–"
    best = min(view.validations, key=lambda found: found.loss)
    return say("{loss} at step {step}", loss=loss_words(best.loss), step=count(best.step))


def _took(view: RunView) -> str:
    spent = sum(view.timeline.spent.values())
    return duration(spent) if spent else "–"


def _pictures(view: RunView, first: RunView) -> str:
    """Whether pictures and captions were those of the first run: a folder may have changed between two runs."""
    if view is first:
        return "–"
    return (
        say("as in the first run") if view.record.get("dataset_sha256") == first.record.get("dataset_sha256") else say("others than in the first run")
    )


def _head(desk: Desk, view: RunView, style: str) -> Markup:
    link = tag("a", run_title(view), href=f"{desk.options.root_path}/run?id={view.run.name}")
    return tag("th", tag("i", class_=f"key {style}"), link, tag("div", state_badge(view.status.state), class_="small"), scope="col")


def _table(head: Markup, rows: Sequence[Markup], label: str, *, class_: str = "outcomes") -> Markup:
    table = tag("table", tag("thead", head), tag("tbody", rows), class_=f"rows {class_}")
    return tag("div", table, class_="sideways", tabindex="0", role="region", aria_label=label)
