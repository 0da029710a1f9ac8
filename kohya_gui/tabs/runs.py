"""The Runs page: one row per run, newest first."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from kohya_gui.chart import thinned
from kohya_gui.form.block import html_block
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.notes import bring_back, in_trash, read_note
from kohya_gui.jobs.runs import RunSummary, list_runs
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_parts import file_address
from kohya_gui.tabs.shell import state_badge
from kohya_gui.tabs.training_actions import told
from kohya_gui.text import clock, count, duration, number
from sd_scripts.errors import RunError, TrainingError

POLL_SECONDS = 4.0
SHOWN = 200


STATES = ("any state", "running", "finished", "failed", "stopped")
LIVE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    html_block(tag("div", tag("h1", "Runs"), class_="page-title"))
    outcome = html_block(elem_id="outcome")
    with gr.Row(elem_id="runs-tools", equal_height=False):
        words = gr.Textbox(label="Find", placeholder="name, tag or note", elem_id="runs-find", scale=3, min_width=160)
        state = gr.Dropdown(list(STATES), value=STATES[0], label="State", elem_id="runs-state", scale=1, min_width=130)
        html_block(tag("button", "Compare", type="button", class_="button", id="compare-button", disabled=True), elem_id="compare-holder")
    table = html_block(elem_id="runs")
    with gr.Accordion("Trash", open=False, elem_id="trash", elem_classes=["section"]) as trash:
        put_away = gr.Dropdown([], label="Run that was put away", elem_id="trash-run")
        restore = gr.Button("Bring it back", elem_id="restore", scale=0)

    def refresh(words: str, state: str) -> Any:
        return runs_table(desk, words or "", state)

    def opened(request: gr.Request) -> Any:
        names, gone = in_trash(desk.settings.runs_dir), str(request.query_params.get("gone", ""))
        said = f"{gone} lies in the trash now. What it trained is where it was." if gone in names else ""
        return told("good", said) if said else Markup(), gr.update(choices=list(names), value=gone or None), gr.update(visible=bool(names))

    def restored(name: str) -> Any:
        try:
            bring_back(desk.settings.runs_dir, name or "")
        except TrainingError as failed:
            return told("bad", str(failed)), gr.skip(), gr.skip()
        left = list(in_trash(desk.settings.runs_dir))
        return told("good", f"{name} is in the list again."), gr.update(choices=left, value=None), gr.update(visible=bool(left))

    blocks.load(refresh, [words, state], table, **LIVE)
    blocks.load(opened, None, [outcome, put_away, trash], **LIVE)
    for event in (words.change, state.change, gr.Timer(POLL_SECONDS).tick):
        event(refresh, [words, state], table, **LIVE)
    restore.click(restored, put_away, [outcome, put_away, trash], **LIVE).then(refresh, [words, state], table, **LIVE)


def runs_table(desk: Desk, words: str = "", state: str = STATES[0]) -> Markup:
    """The runs that fit, or what will be here."""
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
    found = [summary for summary in summaries if _fits(summary, words, state)]
    if not found:
        return tag("div", tag("h2", "No run fits"), tag("p", f"{count(len(summaries))} runs are not shown."), class_="card empty")
    heads = [tag("th", word, scope="col") for word in ("", "State", "Name", "Sample", "Steps", "Loss", "Started", "Took")]
    rows = [_row(desk, summary) for summary in found[:SHOWN]]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="runs")
    rest = tag("p", f"{count(len(found) - SHOWN)} older runs are in {desk.settings.runs_dir}.", class_="soft small") if len(found) > SHOWN else None
    return tag("div", table, rest, class_="card flush")


def _fits(summary: RunSummary, words: str, state: str) -> bool:
    wanted = state == STATES[0] or summary.status.state == state or (state == "running" and summary.status.is_active)
    return wanted and read_note(summary.path).matches(words, summary.name, summary.id, summary.command)


def _row(desk: Desk, summary: RunSummary) -> Markup:
    status, note = summary.status, read_note(summary.path)
    view = _view(desk, summary)
    started = status.started or status.created
    ended = status.ended or (time.time() if status.is_active else None)
    title = note.title or summary.name or summary.id
    name = tag("a", title, href=f"{desk.options.root_path}/run?id={summary.id}")
    steps = f"{count(view.step)} / {count(view.total)}" if view and view.total else "–"
    tags = tag("span", [tag("span", word, class_="chip") for word in note.tags], class_="chips") if note.tags else None
    first = note.text.splitlines()[0] if note.text else ""
    choose = tag("input", type="checkbox", class_="choose", value=summary.id, aria_label=f"Choose {title}")
    cells = [
        tag("td", choose),
        tag("td", state_badge(status.state)),
        tag("td", name, tags, tag("div", first or summary.id, class_="small soft clip")),
        tag("td", _newest(desk, view)),
        tag("td", steps, class_="num"),
        tag("td", _spark(view), " ", number(view.avg_loss) if view else "–", class_="num"),
        tag("td", clock(started), class_="num"),
        tag("td", duration(ended - started) if ended and started else "–", class_="num"),
    ]
    return tag("tr", cells)


def _newest(desk: Desk, view: RunView | None) -> Markup | None:
    """The sample of the last step."""
    if view is None or not view.samples:
        return None
    sample = max(view.samples, key=lambda sample: (sample.step, -sample.index))
    address = file_address(view, sample.path, desk.options.root_path)
    return tag("img", src=address, alt=f"{sample.prompt}, step {sample.step:,}", loading="lazy", width=44, height=44, class_="thumb")


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
