"""The Runs page: one row per run, newest first."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from kohya_gui.chart import thinned
from kohya_gui.form.block import html_block
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.runs import RunSummary, list_runs
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.shell import state_badge
from kohya_gui.text import clock, count, duration, number
from sd_scripts.errors import RunError

POLL_SECONDS = 4.0
SHOWN = 200


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    html_block(tag("div", tag("h1", "Runs"), class_="page-title"))
    table = html_block(elem_id="runs")

    def refresh() -> Any:
        return runs_table(desk)

    blocks.load(refresh, None, table, queue=False, show_progress="hidden", api_visibility="private")
    gr.Timer(POLL_SECONDS).tick(refresh, None, table, queue=False, show_progress="hidden", api_visibility="private")


def runs_table(desk: Desk) -> Markup:
    """All runs, or what will be here."""
    summaries = list_runs(desk.settings.runs_dir)
    if not summaries:
        start = tag("a", "Train a LoRA", href=f"{desk.options.root_path}/", class_="button primary")
        return tag(
            "div",
            tag("h2", "No runs yet"),
            tag("p", "Every training appears here with its state, its curve and its files."),
            start,
            class_="card empty",
        )
    heads = [tag("th", word, scope="col") for word in ("State", "Name", "Steps", "Loss", "Started", "Took")]
    rows = [_row(desk, summary) for summary in summaries[:SHOWN]]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="runs")
    rest = (
        tag("p", f"{count(len(summaries) - SHOWN)} older runs are in {desk.settings.runs_dir}.", class_="soft small")
        if len(summaries) > SHOWN
        else None
    )
    return tag("div", table, rest, class_="card flush")


def _row(desk: Desk, summary: RunSummary) -> Markup:
    status = summary.status
    view = _view(desk, summary)
    started = status.started or status.created
    ended = status.ended or (time.time() if status.is_active else None)
    name = tag("a", summary.name or summary.id, href=f"{desk.options.root_path}/run?id={summary.id}")
    steps = f"{count(view.step)} / {count(view.total)}" if view and view.total else "–"
    cells = [
        tag("td", state_badge(status.state)),
        tag("td", name, tag("div", summary.id, class_="small soft")),
        tag("td", steps, class_="num"),
        tag("td", _spark(view), " ", number(view.avg_loss) if view else "–", class_="num"),
        tag("td", clock(started), class_="num"),
        tag("td", duration(ended - started) if ended and started else "–", class_="num"),
    ]
    return tag("tr", cells)


def _view(desk: Desk, summary: RunSummary) -> RunView | None:
    try:
        return desk.views.of(summary.path)
    except (RunError, OSError):
        return None


def _spark(view: RunView | None) -> Markup | None:
    points = thinned([(point.step, point.avg_loss) for point in view.curve.points], 40) if view else []
    if len(points) < 2:
        return None
    low, high = min(y for _, y in points), max(y for _, y in points)
    first, last = points[0][0], points[-1][0]
    line = " ".join(f"{(x - first) / (last - first or 1) * 88 + 1:.0f},{23 - (y - low) / (high - low or 1) * 22:.1f}" for x, y in points)
    return join(Markup(f'<svg class="spark" viewBox="0 0 90 24" aria-hidden="true"><polyline points="{line}"/></svg>'))
