"""The page that holds runs side by side: what was set differently, their losses in one picture, their samples at equal steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from kohya_gui.chart import Frame, Series, legend, line_chart, thinned
from kohya_gui.form.block import html_block
from kohya_gui.form.marks import base_words
from kohya_gui.jobs.monitor import RunView, Sample
from kohya_gui.jobs.runs import CONFIG_FILE
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_parts import file_address, run_title
from kohya_gui.tabs.shell import state_badge
from kohya_gui.text import number
from sd_scripts.errors import TrainingError
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import read_config

MOST = 4
"""Runs on one page: as many as there are colours of lines that can be told apart."""
STYLES = ("rate-3", "rate-0", "rate-1", "rate-2")
LINE_POINTS = 400
MOST_STEPS = 12


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    html_block(tag("div", tag("h1", "Compare"), tag("a", "All runs", href=f"{desk.options.root_path}/runs", class_="link"), class_="page-title"))
    shown = html_block(elem_id="compare")

    def load(request: gr.Request) -> Any:
        return comparison(desk, str(request.query_params.get("ids", "")).split(","))

    blocks.load(load, None, shown, queue=False, show_progress="hidden", api_visibility="private")


def comparison(desk: Desk, ids: Sequence[str]) -> Markup:
    """All of the page for the runs of `ids`, or what to do instead."""
    views, missing = [], []
    for name in dict.fromkeys(name for name in ids if name):
        try:
            views.append(desk.views.of(desk.run_folder(name)))
        except TrainingError as failed:
            missing.append(str(failed))
    notes = [tag("p", sentence, class_="told bad", role="alert") for sentence in missing]
    if len(views) < 2:
        back = tag("a", "Choose runs", href=f"{desk.options.root_path}/runs", class_="button primary")
        words = "Choose two to four runs in the list, then “Compare”."
        return join(notes, tag("div", tag("h2", "Nothing to compare yet"), tag("p", words), back, class_="card empty"))
    if len(views) > MOST:
        notes.append(tag("p", f"The first {MOST} of {len(views)} runs are shown.", class_="told warn"))
    views = views[:MOST]
    parts = (_losses(views), _settings(desk, views), _samples(desk, views))
    return join(notes, [tag("div", part, class_="card") for part in parts])


def _losses(views: Sequence[RunView]) -> Markup:
    lines = [
        Series(f"{run_title(view)} ({view.run.name})", thinned([(point.step, point.avg_loss) for point in view.curve.points], LINE_POINTS), style)
        for view, style in zip(views, STYLES, strict=False)
    ]
    said = "; ".join(f"{run_title(view)}: {number(view.avg_loss)} after {view.step:,} steps" for view in views)
    return join(
        tag("h2", "Average loss"), legend(lines), line_chart(lines, Frame(width=960, height=280), title=said), tag("p", said, class_="small soft")
    )


def _settings(desk: Desk, views: Sequence[RunView]) -> Markup:
    """Options that are not the same in all runs."""
    configs = [_config(view) for view in views]
    names = dict.fromkeys(name for config in configs if config for name in config.command.by_name)
    rows = []
    for name in names:
        values = [_value(config, name) for config in configs]
        if len(set(values)) > 1:
            parameter = next(config.command.by_name[name] for config in configs if config and name in config.command.by_name)
            label = join(desk.words.label(parameter), " ", tag("code", name))
            rows.append(tag("tr", tag("th", label, scope="row"), [tag("td", value) for value in values]))
    heads = [_head(desk, view) for view in views]
    if not rows:
        return join(tag("h2", "Settings"), tag("p", "All settings are the same.", class_="soft"))
    table = tag("table", tag("thead", tag("tr", tag("th", "Setting", scope="col"), heads)), tag("tbody", rows), class_="rows compared")
    return join(
        tag("h2", "Settings that differ"), tag("div", table, class_="sideways", tabindex="0", role="region", aria_label="Settings that differ")
    )


def _config(view: RunView) -> Config | None:
    try:
        return read_config(view.run / CONFIG_FILE, command(str(view.record.get("command"))))
    except (TrainingError, KeyError):
        return None


def _value(config: Config | None, name: str) -> str:
    if config is None:
        return "cannot be read"
    return base_words(config.value(name)) if name in config.command.by_name else "–"


def _head(desk: Desk, view: RunView) -> Markup:
    link = tag("a", run_title(view), href=f"{desk.options.root_path}/run?id={view.run.name}")
    return tag("th", link, tag("div", state_badge(view.status.state), class_="small"), scope="col")


def _samples(desk: Desk, views: Sequence[RunView]) -> Markup:
    """A row for each step and prompt that several runs drew, the runs beside each other."""
    drawn = [{(sample.step, sample.prompt): sample for sample in view.samples} for view in views]
    places = sorted({place for samples in drawn for place in samples}, reverse=True)
    shared = [place for place in places if sum(place in samples for samples in drawn) > 1]
    chosen = shared or places
    if not chosen:
        return join(tag("h2", "Samples"), tag("p", "None of the runs drew samples.", class_="soft"))
    steps = sorted({step for step, _ in chosen}, reverse=True)[:MOST_STEPS]
    rows = [
        tag(
            "tr",
            tag("th", f"step {step:,}", tag("span", prompt), scope="row"),
            [tag("td", _picture(desk, view, samples.get((step, prompt)))) for view, samples in zip(views, drawn, strict=True)],
        )
        for step, prompt in chosen
        if step in steps
    ]
    heads = [tag("th", run_title(view), scope="col") for view in views]
    table = tag("table", tag("thead", tag("tr", tag("td"), heads)), tag("tbody", rows), class_="samples")
    words = "Samples at equal steps" if shared else "Samples (no step and prompt was drawn by two runs)"
    return join(tag("h2", words), tag("div", table, class_="sideways", tabindex="0", role="region", aria_label="Samples"))


def _picture(desk: Desk, view: RunView, sample: Sample | None) -> Markup | None:
    if sample is None:
        return None
    address = file_address(view, sample.path, desk.options.root_path)
    words = f"{run_title(view)}: {sample.prompt}, step {sample.step:,}"
    picture = tag("img", src=address, alt=words, loading="lazy", width=168, height=168)
    return tag("a", picture, href=address, data_view_picture=True, data_caption=words, target="_blank")
