"""The TensorBoard page: chooses a log folder, starts and stops TensorBoard, and shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from kohya_gui.board_routes import PLACE
from kohya_gui.form.block import html_block
from kohya_gui.jobs.tensorboard import BoardView, has_logs, log_folders
from kohya_gui.markup import Markup, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import told
from kohya_gui.text import error_words, retell, say
from sd_scripts.errors import ConfigError, TrainingError

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
POLL_S = 1.0
LOOK_AGAIN_S = 10.0
MOST_PLACES = 6


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    html_block(_title, elem_id="board-title")
    with gr.Row(elem_id="board-bar", elem_classes=["card"], equal_height=False):
        folder = gr.Textbox(
            label="Log folder",
            info="Curves in this folder and below it are shown.",
            elem_id="board-folder",
            elem_classes=["field", "path-folder", "wide"],
            scale=5,
            min_width=240,
        )
        start = gr.Button("Start TensorBoard", variant="primary", elem_id="board-start", scale=0, min_width=160)
        stop = gr.Button("Stop", elem_id="board-stop", scale=0, min_width=80, visible=False)
        places = html_block(elem_id="board-places")
    outcome = html_block(elem_id="outcome")
    state = html_block(tag("p", "Looking…", class_="soft"), elem_id="board-state")
    frame = html_block(elem_id="board-frame")
    seen = gr.State({})
    watcher = BoardWatcher(desk)
    shown = [seen, state, frame, start, stop]
    blocks.load(watcher.load, None, [folder, places], **QUIET).then(watcher.poll, [seen, folder], shown, **QUIET)
    gr.Timer(POLL_S).tick(watcher.poll, [seen, folder], shown, **QUIET)
    start.click(watcher.start, folder, outcome, **QUIET).then(watcher.poll, [seen, folder], shown, **QUIET)
    stop.click(watcher.stop, None, outcome, **QUIET).then(watcher.poll, [seen, folder], shown, **QUIET)


@dataclass
class BoardWatcher:
    """Handlers of the page. TensorBoard is one for the whole server: whoever starts or stops it does so for all pages."""

    desk: Desk
    _looked: dict[Path, tuple[float, bool]] = field(default_factory=dict)

    def load(self, request: gr.Request) -> tuple[str, Markup]:
        """The folder that is shown or likeliest to be wanted, and others to choose from."""
        found = self._places(request)
        shown = self.desk.board.view().folder or next(iter(found), None)
        chips = [tag("button", str(folder), type="button", class_="chip", data_put=str(folder)) for folder in found[:MOST_PLACES]]
        line = tag("p", tag("span", say("Folders with curves:"), class_="small soft"), " ", chips, class_="places") if chips else Markup()
        return str(shown or ""), line

    def poll(self, seen: dict[str, Any], folder: str) -> tuple[Any, ...]:
        """What changed since `seen`."""
        board = self.desk.board
        view = board.view()
        place = view.folder or self._allowed(folder)
        words = _state(view, place, empty=place is not None and not self._has_logs(place), root=self.desk.options.root_path)
        started = board.starts if view.state == "running" else 0
        now = {"state": str(words), "frame": started, "view": view.state}
        if now == seen:
            return (gr.skip(),) * 5
        frame = gr.skip() if seen.get("frame") == started else _frame(started, self.desk.options.root_path)
        on, busy = view.state in ("starting", "running"), view.state == "starting"
        label = say("Show this folder") if on else say("Start TensorBoard")
        return now, words, frame, gr.update(value=label, interactive=not busy and view.state != "absent"), gr.update(visible=on)

    def start(self, folder: str) -> Markup:
        """Start it, or show another folder."""
        try:
            if not folder.strip():
                raise ConfigError("", say("No folder is named."), fix=say("Write or browse to the folder that a training writes its logs to."))
            self.desk.board.start(self.desk.roots.resolve(folder.strip()))
        except TrainingError as failed:
            return told("bad", error_words(failed))
        return Markup()

    def stop(self) -> Markup:
        """Stop it."""
        self.desk.board.stop()
        return Markup()

    def _places(self, request: gr.Request) -> list[Path]:
        draft = self.desk.drafts.read(self.desk.user_of(request))
        given = str(draft.given.get("logging_dir") or "")
        first = [(self.desk.executor.cwd / Path(given).expanduser()).absolute()] if given else []
        return [place for place in log_folders(self.desk.settings.runs_dir, first) if self.desk.roots.allows(place)]

    def _allowed(self, folder: str) -> Path | None:
        return self.desk.roots.resolve(folder.strip()) if folder.strip() and self.desk.roots.allows(folder.strip()) else None

    def _has_logs(self, folder: Path) -> bool:
        """Looked up again only after a while, since every open page asks."""
        moment, found = self._looked.get(folder, (float("-inf"), False))
        if not found and time.monotonic() - moment > LOOK_AGAIN_S:
            found = has_logs(folder)
            self._looked[folder] = time.monotonic(), found
        return found


def _title() -> Markup:
    return tag(
        "div", tag("h1", "TensorBoard"), tag("p", say("Curves, samples and texts that trainings wrote into a log folder.")), class_="page-title"
    )


def _state(view: BoardView, place: Path | None, *, empty: bool, root: str) -> Markup:
    """What stands above the frame: why there is nothing to see, or what is seen."""
    if view.state == "absent":
        command = tag("pre", "python setup.py", tabindex="0")
        return _card(
            say("TensorBoard is not installed"), say("The set-up installs it. Run this in the program's folder, then start the page again:"), command
        )
    if view.state == "failed":
        return tag("div", _card(say("TensorBoard ended"), say("Its last words:"), tag("pre", retell(view.reason), tabindex="0")), role="alert")
    if view.state == "starting":
        return tag("p", say("Starting TensorBoard…"), class_="waiting", role="status")
    if empty:
        link = tag("a", say("Open the Train page"), href=f"{root}/?find=logging_dir", class_="button")
        advice = say("Give a training a log folder (Logging, Log folder): its curves appear here while it runs.")
        return _card(say("No curves here yet"), say("There are no logs in {folder}.", folder=place or ""), tag("p", advice), link)
    if view.state == "running":
        own = tag("a", say("Open in a tab of its own"), href=f"{root}{PLACE}", target="_blank", rel="noopener", class_="link")
        return tag("p", say("Showing {folder}.", folder=view.folder or ""), " ", own, class_="soft")
    if place is None:
        return _card(say("No log folder yet"), say("Choose a folder above, or give a training one (Train, Logging, Log folder)."))
    return _card(say("TensorBoard is not running"), say("It runs on this machine alone, is shown here, and stops with this program."))


def _card(title: str, sentence: str, *further: Markup) -> Markup:
    return tag("div", tag("h2", title), tag("p", sentence), *further, class_="card empty")


def _frame(started: int, root: str) -> Markup:
    if not started:
        return Markup()
    return tag("iframe", title="TensorBoard", data_source=f"{root}{PLACE}", data_start=started)
