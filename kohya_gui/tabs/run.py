"""The page of one run: a timer that reads what is new and sends the pieces that changed. Any number of pages may look at the same run."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from kohya_gui.configs import draft_of
from kohya_gui.form.block import html_block
from kohya_gui.jobs.monitor import RunView, read_log
from kohya_gui.jobs.notes import put_away, read_note, write_note
from kohya_gui.jobs.prompts import has_prompts
from kohya_gui.jobs.runs import CONFIG_FILE, read_run
from kohya_gui.jobs.tail import LOG_FILE
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_parts import charts, curve_table, files, gallery, header, log_text, now_seconds, verdict
from kohya_gui.tabs.training_actions import told
from sd_scripts.errors import TrainingError
from sd_scripts.params.commands import command
from sd_scripts.params.config_file import read_config
from sd_scripts.params.events import Request

FIRST_LOG_BYTES = 48_000
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
BUTTONS: dict[str, tuple[str, Literal["primary", "secondary", "stop"]]] = {
    "save": ("Save now", "secondary"),
    "sample": ("Draw samples now", "secondary"),
    "pause": ("Pause", "secondary"),
    "stop": ("Stop", "secondary"),
    "kill": ("Stop now, without saving", "stop"),
    "resume": ("Resume", "primary"),
}
"""Buttons that a run's state shows and hides: label and look."""
ANSWERS: dict[Request, str] = {
    "save": "A file and a state to resume from are saved after the step in hand.",
    "sample": "Sample pictures are drawn after the step in hand.",
    "pause": "Pausing: the step in hand is finished and saved first. “Resume” goes on from there.",
}
PIECES = ("header", "verdict", "charts", "table", "gallery", "files")


@dataclass(frozen=True)
class Page:
    """Widgets of the page; `pieces` in the order of PIECES, `buttons`, which come and go with the run's state, by what they do."""

    pieces: dict[str, gr.HTML]
    log: gr.HTML
    settings: gr.HTML
    outcome: gr.HTML
    goto: gr.HTML
    buttons: dict[str, gr.Button]
    again: gr.Button
    note: NoteFields


@dataclass(frozen=True)
class NoteFields:
    """What a person says of the run, and the way into the trash."""

    title: gr.Textbox
    tags: gr.Textbox
    text: gr.Textbox
    keep: gr.Button
    sure: gr.Checkbox
    remove: gr.Button


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    page = _widgets(desk)
    run_id = gr.State("")
    seen = gr.State({})
    outputs = [seen, *page.pieces.values(), page.log, *page.buttons.values()]
    watcher = Watcher(desk)
    timer = gr.Timer(desk.settings.poll_seconds)
    opened = blocks.load(_run_id, None, run_id, **QUIET)
    opened.then(watcher.poll, [run_id, seen], outputs, **QUIET).then(watcher.settings, run_id, page.settings, **QUIET)
    timer.tick(watcher.poll, [run_id, seen], outputs, **QUIET)
    for name, button in page.buttons.items():
        button.click(_answered(watcher.actions()[name]), run_id, page.outcome, **QUIET)
    note = page.note
    opened.then(watcher.note, run_id, [note.title, note.tags, note.text], **QUIET)
    note.keep.click(watcher.keep_note, [run_id, note.title, note.tags, note.text], page.outcome, **QUIET)
    note.remove.click(watcher.put_away, [run_id, note.sure], [page.outcome, page.goto], **QUIET)
    page.again.click(watcher.again, run_id, [page.outcome, page.goto], **QUIET)


def _widgets(desk: Desk) -> Page:
    pieces = {"header": html_block(tag("p", "Looking…", class_="soft"), elem_id="run-header")}
    with gr.Row(elem_id="run-buttons"):
        buttons = {name: gr.Button(label, elem_id=name, variant=variant, visible=False, scale=0) for name, (label, variant) in BUTTONS.items()}
        again = gr.Button("Train again with changes", elem_id="again", scale=0)
    outcome = html_block(elem_id="outcome")
    pieces["verdict"] = html_block(elem_id="run-verdict")
    with gr.Row(equal_height=False, elem_id="run-panels"):
        with gr.Column(min_width=0, scale=1):
            pieces["charts"] = html_block(elem_id="run-charts", elem_classes=["card"])
            with gr.Accordion("The curve as numbers", open=False, elem_classes=["section"]):
                pieces["table"] = html_block(elem_id="run-table")
        with gr.Column(min_width=0, scale=1):
            pieces["gallery"] = html_block(elem_id="run-gallery", elem_classes=["card"])
    with gr.Tabs(elem_id="run-tabs"):
        with gr.Tab("Files"):
            pieces["files"] = html_block(elem_id="run-files", elem_classes=["card"])
        with gr.Tab("Log"):
            html_block(_log_box(), elem_id="run-log", elem_classes=["card"])
        with gr.Tab("Settings and command"):
            settings = html_block(elem_id="run-settings", elem_classes=["card"])
        with gr.Tab("Name, note, delete"):
            note = _note_fields()
    log = html_block(elem_id="log-feed", elem_classes=["channel"])
    goto = html_block(elem_id="goto", elem_classes=["channel"])
    return Page({name: pieces[name] for name in PIECES}, log, settings, outcome, goto, buttons, again, note)


def _note_fields() -> NoteFields:
    with gr.Column(elem_id="run-note", elem_classes=["card"]):
        title = gr.Textbox(label="Name", info="Shown in the list in the place of the file's name.", elem_id="note-title", elem_classes=["field"])
        tags = gr.Textbox(label="Tags", info="Separated by commas.", elem_id="note-tags", elem_classes=["field"])
        text = gr.Textbox(label="Note", lines=3, max_lines=12, elem_id="note-text", elem_classes=["field", "wide"])
        keep = gr.Button("Keep the note", elem_id="note-keep", scale=0)
        sure = gr.Checkbox(
            label="Put this run into the trash",
            info="Its log, curve and settings leave the list and can be brought back there. What it trained, and its samples, stay where they are.",
            elem_id="remove-sure",
            elem_classes=["field"],
        )
        remove = gr.Button("Put it away", variant="stop", elem_id="remove", scale=0)
    return NoteFields(title, tags, text, keep, sure, remove)


@dataclass(frozen=True)
class Watcher:
    """Handlers of the page."""

    desk: Desk

    def poll(self, run_id: str, seen: dict[str, Any]) -> list[Any]:
        """What changed since `seen`: the pieces, new log text, and which buttons make sense. Cost depends on what is new."""
        try:
            view = self.desk.views.of(self.desk.run_folder(run_id))
        except TrainingError as failed:
            return self._no_run(run_id, seen, failed)
        fresh = dict(seen)
        pieces = [_news(fresh, name, make(view)) for name, make in self._makers().items()]
        return [fresh, *pieces, self._log(view, seen, fresh), *_buttons(view, fresh)]

    def settings(self, run_id: str) -> Markup:
        """The config and the command as they were."""
        try:
            folder = self.desk.run_folder(run_id)
            text = (folder / CONFIG_FILE).read_text("utf-8")
        except (TrainingError, OSError) as failed:
            return tag("p", str(failed), class_="soft")
        argv = self.desk.views.of(folder).record.get("argv", [])
        parts = [("config.toml", text, "run-toml"), ("Command", shlex.join(argv), "run-argv")]
        return join(
            [
                tag(
                    "div",
                    tag("h2", title),
                    tag("pre", body, id=key, tabindex="0"),
                    tag("button", "Copy", class_="button", type="button", data_copy=f"#{key}"),
                )
                for title, body, key in parts
            ]
        )

    def actions(self) -> dict[str, Callable[[str], str]]:
        """What each of the buttons does: it takes the run's id and returns the sentence to show."""
        asked = {name: partial(self.ask, name) for name in ANSWERS}
        return {**asked, "stop": self.stop, "kill": self.kill, "resume": self.resume}

    def ask(self, request: Request, run_id: str) -> str:
        """Ask the trainer for something that it does after the step in hand."""
        self.desk.executor.request(self.desk.run_folder(run_id), request)
        return ANSWERS[request]

    def stop(self, run_id: str) -> str:
        """Soft stop."""
        self.desk.executor.stop(self.desk.run_folder(run_id))
        return "Stopping: the step in hand is finished and saved first."

    def kill(self, run_id: str) -> str:
        """Hard stop."""
        self.desk.executor.stop(self.desk.run_folder(run_id), hard=True)
        return "Ending all processes of this run."

    def resume(self, run_id: str) -> str:
        """Go on where it stopped."""
        self.desk.executor.resume(self.desk.run_folder(run_id))
        return "Going on from the last saved state."

    def note(self, run_id: str) -> tuple[str, str, str]:
        """Name, tags and words of the run's note."""
        try:
            note = read_note(self.desk.run_folder(run_id))
        except TrainingError:
            return "", "", ""
        return note.title, ", ".join(note.tags), note.text

    def keep_note(self, run_id: str, title: str, tags: str, text: str) -> Markup:
        """Write the note."""
        try:
            write_note(self.desk.run_folder(run_id), title=title or "", tags=tags or "", text=text or "")
        except TrainingError as failed:
            return told("bad", str(failed))
        return told("good", "The note is kept.")

    def put_away(self, run_id: str, sure: bool) -> tuple[Markup, Markup]:
        """Move the run into the trash and go to the list."""
        if not sure:
            return told("bad", "Nothing was moved: tick “Put this run into the trash” first."), Markup()
        try:
            put_away(self.desk.run_folder(run_id))
        except TrainingError as failed:
            return told("bad", str(failed)), Markup()
        return Markup(), tag("span", data_href=f"{self.desk.options.root_path}/runs?gone={run_id}", hidden=True)

    def again(self, run_id: str, request: gr.Request) -> tuple[Markup, Markup]:
        """Put this run's settings into the form and go there."""
        folder = self.desk.run_folder(run_id)
        try:
            config = read_config(folder / CONFIG_FILE, command(read_run(folder)["command"]))
        except TrainingError as failed:
            return told("bad", str(failed)), Markup()
        self.desk.drafts.write(self.desk.user_of(request), draft_of(config))
        return Markup(), tag("span", data_href=f"{self.desk.options.root_path}/", hidden=True)

    def _makers(self) -> dict[str, Callable[[RunView], Markup]]:
        root = self.desk.options.root_path
        return {
            "header": lambda view: header(view, now_seconds()),
            "verdict": verdict,
            "charts": charts,
            "table": curve_table,
            "gallery": lambda view: gallery(view, root_path=root),
            "files": lambda view: files(view, root_path=root),
        }

    def _log(self, view: RunView, seen: dict[str, Any], fresh: dict[str, Any]) -> Any:
        path = view.run / LOG_FILE
        offset = seen.get("log")
        if offset is None:
            offset = max(0, _bytes(path) - FIRST_LOG_BYTES)
        text, fresh["log"] = read_log(path, offset)
        if not text and "log" in seen:
            return gr.skip()
        drawn_over = "\r" in text.split("\n", 1)[0].rstrip("\r")
        return tag("span", data_log=json.dumps({"at": fresh["log"], "from": offset, "over": drawn_over, "text": log_text(text)}), hidden=True)

    def _no_run(self, run_id: str, seen: dict[str, Any], failed: TrainingError) -> list[Any]:
        back = tag("a", "All runs", href=f"{self.desk.options.root_path}/runs", class_="button")
        shown = tag("div", tag("h2", "No such run" if run_id else "No run chosen"), tag("p", failed.message), back, class_="card empty")
        return [seen, shown, *[gr.skip()] * (len(PIECES) + len(BUTTONS))]


def _news(fresh: dict[str, Any], name: str, piece: Markup) -> Any:
    digest = hashlib.blake2b(piece.encode(), digest_size=8).hexdigest()
    if fresh.get(name) == digest:
        return gr.skip()
    fresh[name] = digest
    return piece


def _buttons(view: RunView, fresh: dict[str, Any]) -> list[Any]:
    status = view.status
    trains = status.state == "running" and view.step > 0
    shown = {
        "save": trains,
        "sample": trains and has_prompts(view.run),
        "pause": trains,
        "stop": status.state == "queued" or (status.is_active and status.state != "stopping"),
        "kill": status.state == "stopping",
        "resume": status.is_resumable,
    }
    wanted = [shown[name] for name in BUTTONS]
    if fresh.get("buttons") == wanted:
        return [gr.skip()] * len(wanted)
    fresh["buttons"] = wanted
    return [gr.update(visible=visible) for visible in wanted]


def _answered(action: Callable[[str], str]) -> Callable[[str], Markup]:
    def answered(run_id: str) -> Markup:
        try:
            return told("good", action(run_id))
        except TrainingError as failed:
            return told("bad", str(failed))

    return answered


def _run_id(request: gr.Request) -> str:
    return str(request.query_params.get("id", ""))


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _log_box() -> Markup:
    tools = tag(
        "div",
        tag("label", tag("input", type="checkbox", id="log-follow", checked=True), " Follow"),
        tag("input", type="search", id="log-find", placeholder="Find in the log", aria_label="Find in the log"),
        tag("span", id="log-hits", class_="small soft", role="status"),
        tag("button", "Copy", class_="button", type="button", data_copy="#log-text"),
        tag("a", "Download", class_="button", id="log-download", download="log.txt", href="#"),
        tag(
            "a",
            "Report",
            class_="button",
            id="log-report",
            download="report.txt",
            href="#",
            title="Settings, versions and the end of the log in one file, without secrets and personal folders",
        ),
        class_="log-tools",
    )
    return join(tools, tag("pre", id="log-text", tabindex="0", aria_label="Log"))
