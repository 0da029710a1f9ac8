"""The list of runs: one row per run, newest first, with what can be done to one of them or to several."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from kohya_gui.chart import thinned
from kohya_gui.form.block import html_block
from kohya_gui.jobs.glance import Glance, glance
from kohya_gui.jobs.notes import Note, read_note
from kohya_gui.jobs.runs import RunSummary, list_runs
from kohya_gui.jobs.states import ALLOWED
from kohya_gui.jobs.trash import Belongings, in_trash, trash_bytes
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_dialogs import dialogs
from kohya_gui.tabs.run_parts import file_address, file_name, trained_words
from kohya_gui.tabs.shell import state_badge
from kohya_gui.text import clock, count, duration, number, say, size

FIRST_SHOWN = 50
NAMED = 6
SPARK_POINTS = 40
ANY = ""
"""No state in particular."""
KEPT = "kept"
"""Not a state: runs with a chosen checkpoint."""


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    html_block(lambda: _page(desk), elem_id="runs-page")


def _page(desk: Desk) -> Markup:
    title = tag("div", tag("h1", say("Runs")), tag("p", id="runs-count", class_="num"), class_="page-title")
    looking = tag("div", tag("p", say("Looking…"), class_="soft"), id="runs")
    return join(title, tag("div", id="outcome"), _tools(), _selection(), looking, tag("div", id="trash"), dialogs())


def _tools() -> Markup:
    find = tag("input", type="search", id="runs-find", placeholder=say("Name, tag or note"), autocomplete="off")
    states = [(ANY, say("any state")), *((state, say(state)) for state in ALLOWED), (KEPT, say("with a kept file"))]
    state = tag("select", [tag("option", words, value=value) for value, words in states], id="runs-state")
    return tag(
        "div",
        tag("label", tag("span", say("Find"), class_="small soft"), find, class_="runs-find"),
        tag("label", tag("span", say("State"), class_="small soft"), state),
        id="runs-tools",
    )


def _selection() -> Markup:
    """What can be done to the chosen runs."""
    return tag(
        "div",
        tag("span", id="chosen-count", class_="num", role="status"),
        tag("button", say("Compare"), type="button", class_="button", id="compare-button"),
        tag("button", say("Delete…"), type="button", class_="button stop", id="delete-button"),
        tag("button", say("Choose none"), type="button", class_="link", id="choose-none"),
        id="chosen",
        role="region",
        aria_label=say("Chosen runs"),
        hidden=True,
    )


def runs_table(desk: Desk, *, words: str = "", state: str = ANY, most: int = FIRST_SHOWN) -> tuple[Markup, int]:
    """The runs that fit, or what will be here; and how many there are in all."""
    summaries = list_runs(desk.settings.runs_dir)
    if not summaries:
        start = tag("a", say("Start a training"), href=f"{desk.options.root_path}/", class_="button primary")
        told = tag("p", say("Every training appears here with its state, its curve and its files."))
        return tag("div", tag("h2", say("No runs yet")), told, start, class_="card empty"), 0
    notes = {summary.id: read_note(summary.path) for summary in summaries}
    found = [summary for summary in summaries if _fits(summary, notes[summary.id], words, state)]
    if not found:
        hidden = say("Not shown: {count}.", count=count(len(summaries)))
        clear = tag("button", say("Show all"), type="button", class_="button", id="runs-clear")
        return tag("div", tag("h2", say("No run fits")), tag("p", hidden), clear, class_="card empty"), len(summaries)
    columns = (say("State"), say("Name"), say("Sample"), say("Steps"), say("Loss"), say("Started"), say("Took"))
    every = tag("input", type="checkbox", class_="choose-all", aria_label=say("Choose all that are shown"))
    heads = [tag("th", every), [tag("th", word, scope="col") for word in columns], tag("th", tag("span", say("More"), class_="visually-hidden"))]
    rows = [_row(desk, summary, notes[summary.id]) for summary in found[:most]]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="runs")
    left = len(found) - most
    older = say("Show 1 older run") if left == 1 else say("Show {count} older runs", count=count(left))
    more = tag("button", older, type="button", class_="button", id="runs-more") if left > 0 else None
    return tag("div", table, tag("p", more, class_="more") if more else None, class_="card flush"), len(summaries)


def trash_list(desk: Desk) -> Markup:
    """Runs that were put away, with the way back and the way out."""
    names = in_trash(desk.settings.runs_dir)
    if not names:
        return Markup()
    rows = [
        tag(
            "li",
            tag("span", name, class_="clip"),
            tag("span", size(trash_bytes(desk.settings.runs_dir, name)), class_="num soft"),
            tag("button", say("Bring back"), type="button", class_="button", data_back=name, aria_label=say("Bring {name} back", name=name)),
            tag("button", say("Delete for good…"), type="button", class_="button stop", data_erase=name),
        )
        for name in names
    ]
    words = say("Trash: 1 run") if len(names) == 1 else say("Trash: {count} runs", count=count(len(names)))
    return tag(
        "details",
        tag("summary", tag("span", words, class_="title")),
        tag("div", tag("ul", rows, class_="trash-list"), class_="section-body"),
        class_="section",
    )


def removal(titles: Sequence[str], made: Sequence[Belongings]) -> Markup:
    """What a deletion moves, said before it is done. `made` is what the runs called `titles` made, run by run."""
    title = say("Delete this run?") if len(titles) == 1 else say("Delete {count} runs?", count=count(len(titles)))
    names = [tag("li", name) for name in titles[:NAMED]]
    if len(titles) > NAMED:
        names.append(tag("li", say("and {count} more", count=count(len(titles) - NAMED)), class_="soft"))
    goes = say("Log, curve and settings go to the trash below the list of runs, and can be brought back from there.")
    parts = [tag("h2", title), tag("ul", names, class_="names"), tag("p", goes), _offer([path for found in made for path in found.paths], made)]
    kept = [path.name for found in made for path in found.kept]
    if kept:
        parts.append(tag("p", say("What you chose to keep stays where it is in any case: {names}", names=", ".join(kept)), class_="small soft"))
    return join(parts)


def _offer(paths: Sequence[Path], made: Sequence[Belongings]) -> Markup:
    """What was trained is moved if somebody says so."""
    if not paths:
        return tag("p", say("Nothing else of what was made is left on the disk."), class_="small soft")
    whole, folders = size(sum(found.bytes for found in made)), sorted({str(path.parent) for path in paths})
    what = say("Also move what was trained and drawn: 1 file, {size}", size=whole)
    if len(paths) > 1:
        what = say("Also move what was trained and drawn: {count} files, {size}", count=count(len(paths)), size=whole)
    where = say("Without this they stay where they are: {folders}", folders=", ".join(folders))
    box = tag("input", type="checkbox", id="remove-files", aria_describedby="remove-where")
    return join(tag("label", box, tag("span", what), class_="tick"), tag("p", where, id="remove-where", class_="small soft"))


def _fits(summary: RunSummary, note: Note, words: str, state: str) -> bool:
    wanted = state in (ANY, summary.status.state) or (state == KEPT and bool(note.kept)) or (state == "running" and summary.status.is_active)
    return wanted and note.matches(words, summary.name, summary.id, summary.command, trained_words(summary.command))


def _row(desk: Desk, summary: RunSummary, note: Note) -> Markup:
    status, seen = summary.status, glance(summary.path)
    started = status.started or status.created
    ended = status.ended or (time.time() if status.is_active else None)
    title = note.title or summary.name or summary.id
    choose = tag("input", type="checkbox", class_="choose", value=summary.id, aria_label=say("Choose {name}", name=title))
    more = tag(
        "button",
        "⋯",
        type="button",
        class_="more-button",
        data_run=summary.id,
        data_title=title,
        aria_haspopup="menu",
        aria_label=say("What can be done with {name}", name=title),
        title=say("More"),
    )
    progress = tag("div", tag("div", style=f"width:{seen.step / seen.total:.1%}"), class_="meter") if status.is_active and seen.total else None
    steps = f"{count(seen.step)} / {count(seen.total)}" if seen.total else "–"
    cells = [
        tag("td", choose, class_="of-choose"),
        tag("td", state_badge(status.state), class_="of-state"),
        tag("td", _name(desk, summary, note, title), class_="of-name"),
        tag("td", _newest(desk, summary, seen), class_="of-sample"),
        tag("td", steps, progress, class_="num of-steps"),
        tag("td", tag("span", _spark(seen), number(seen.avg_loss), class_="loss"), class_="num of-loss"),
        tag("td", clock(started), class_="num of-started"),
        tag("td", duration(ended - started) if ended and started else "–", class_="num of-took"),
        tag("td", more, class_="of-more"),
    ]
    return tag("tr", cells, data_id=summary.id)


def _name(desk: Desk, summary: RunSummary, note: Note, title: str) -> Markup:
    name = tag("a", title, href=f"{desk.options.root_path}/run?id={summary.id}")
    tags = [tag("button", word, type="button", class_="chip", data_tag=word, title=say("Show runs with this tag")) for word in note.tags]
    first = tag("div", note.text.splitlines()[0], class_="small clip") if note.text else None
    kept = tag("div", tag("span", say("kept"), class_="chip good"), " ", file_name(note.kept), class_="small soft clip") if note.kept else None
    what = tag("div", trained_words(summary.command), class_="small soft clip")
    return join(name, tag("span", tags, class_="chips") if tags else None, first, kept, what)


def _newest(desk: Desk, summary: RunSummary, seen: Glance) -> Markup | None:
    """The first prompt's sample of the last step."""
    if not seen.sample:
        return None
    address = file_address(summary.id, seen.sample, desk.options.root_path)
    words = say("{prompt}, step {step}", prompt=seen.sample_words, step=count(seen.sample_step))
    image = tag("img", src=address, alt=words, loading="lazy", width=48, height=48, class_="thumb")
    return tag("a", image, href=address, data_view_picture=True, data_caption=words, target="_blank")


def _spark(seen: Glance) -> Markup | None:
    points = thinned(seen.points, SPARK_POINTS)
    if len(points) < 2:
        return None
    low, high = min(y for _, y in points), max(y for _, y in points)
    first, last = points[0][0], points[-1][0]
    line = " ".join(f"{(x - first) / (last - first or 1) * 88 + 1:.0f},{23 - (y - low) / (high - low or 1) * 22:.1f}" for x, y in points)
    return Markup(f'<svg class="spark" viewBox="0 0 90 24" aria-hidden="true"><polyline points="{line}"/></svg>')
