"""What the page of a run is told, and what its buttons do. `/run/...` of `run_routes` brings the questions."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kohya_gui.jobs.keeping import copy_kept, keep, release
from kohya_gui.jobs.monitor import RunView, read_log
from kohya_gui.jobs.notes import read_note
from kohya_gui.jobs.prompts import has_prompts
from kohya_gui.jobs.runs import CONFIG_FILE
from kohya_gui.jobs.tail import LOG_FILE
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_charts import charts, curve_table
from kohya_gui.tabs.run_files import files, result
from kohya_gui.tabs.run_parts import file_name, header, log_text, now_seconds, verdict
from kohya_gui.tabs.run_pictures import gallery, grid
from kohya_gui.tabs.run_timeline import timeline
from kohya_gui.tabs.training_actions import told
from kohya_gui.text import retell, say
from sd_scripts.errors import RunError, TrainingError
from sd_scripts.params.events import Request

FIRST_LOG_BYTES = 48_000
PIECES = ("header", "verdict", "result", "charts", "table", "gallery", "files", "checkpoints", "timeline", "settings")
REQUESTS: tuple[Request, ...] = ("save", "sample", "pause")
Answer = dict[str, Any]


@dataclass(frozen=True)
class RunActions:
    """Answers to one page. An answer to `look` may hold:

    `pieces`: [digest, HTML] by the name of a part that changed; `log`: new text of the log; `buttons`: keys of those that make sense; `state`: the
    run's state; `title`: what the run is called; `none`: what to show instead, where there is no such run.
    """

    desk: Desk

    def look(self, asked: Mapping[str, Any]) -> Answer:
        """What is new for a page that has `seen` digests of pieces and the log up to byte `log` (None: nothing), and wants the `wanted` pieces."""
        run_id, seen = str(asked.get("id", "")), asked.get("seen")
        known: Mapping[str, Any] = seen if isinstance(seen, dict) else {}
        try:
            view = self._view(run_id)
        except TrainingError as failed:
            return {"none": self._none(run_id, failed)}
        wanted = asked.get("wanted")
        makers = self._makers()
        pieces: dict[str, list[str]] = {}
        for name in PIECES if not isinstance(wanted, list) else [name for name in wanted if name in makers]:
            made = makers[name](view)
            digest = hashlib.blake2b(made.encode(), digest_size=8).hexdigest()
            if known.get(name) != digest:
                pieces[name] = [digest, made]
        note = read_note(view.run)
        shown: Answer = {"pieces": pieces, "buttons": _buttons(view), "state": view.status.state, "active": view.status.is_active}
        shown |= {"title": note.title or view.name, "note": {"title": note.title, "tags": ", ".join(note.tags), "text": note.text}}
        return shown | self._log(view, asked.get("log"))

    def act(self, run_id: str, key: str) -> Answer:
        """Press one of the buttons. Raises RunError."""
        run = self.desk.run_folder(run_id)
        acts: dict[str, Callable[[Path], str]] = {request: partial(self._ask, request) for request in REQUESTS}
        acts |= {"stop": self._stop, "kill": self._kill, "resume": self._resume}
        if key not in acts:
            raise RunError(f"There is no button {key!r}.")
        return {"told": told("good", acts[key](run))}

    def keep(self, run_id: str, path: str) -> Answer:
        """Choose a checkpoint; the chosen one is let go. Raises RunError."""
        view = self._view(run_id)
        if view.saves.get(path) is not None and str(Path(view.record.get("cwd", "."), path)) == read_note(view.run).kept:
            release(view)
            return {"told": told("good", say("{name} is no longer marked. The file stays where it is.", name=file_name(path)))}
        keep(view, path)
        return {"told": told("good", say("{name} is kept: it comes first, and the trainer does not delete it.", name=file_name(path)))}

    def copy_kept(self, run_id: str) -> Answer:
        """Copy the chosen file under a name of its own. Raises RunError."""
        return {"told": told("good", say("Copied to {path}.", path=copy_kept(self._view(run_id))))}

    def _view(self, run_id: str) -> RunView:
        return self.desk.views.of(self.desk.run_folder(run_id))

    def _makers(self) -> dict[str, Callable[[RunView], Markup]]:
        root = self.desk.options.root_path
        return {
            "header": lambda view: header(view, now_seconds()),
            "verdict": lambda view: verdict(view, root_path=root),
            "result": lambda view: result(view, root_path=root),
            "charts": charts,
            "table": curve_table,
            "gallery": lambda view: gallery(view, root_path=root),
            "files": lambda view: files(view, root_path=root),
            "checkpoints": lambda view: grid(view, root_path=root),
            "timeline": lambda view: timeline(view, now_seconds()),
            "settings": settings,
        }

    def _log(self, view: RunView, offset: object) -> Answer:
        """New text of the log; a page that has none gets its end. `over`: the first line replaces the one before, as a progress line does."""
        path = view.run / LOG_FILE
        size = path.stat().st_size if path.exists() else 0
        start = offset if isinstance(offset, int) and 0 <= offset <= size else max(0, size - FIRST_LOG_BYTES)
        text, at = read_log(path, start)
        if not text and isinstance(offset, int):
            return {}
        over = start > 0 and "\r" in text.split("\n", 1)[0].rstrip("\r")
        return {"log": {"at": at, "from": start, "over": over, "fresh": start != offset, "text": log_text(text)}}

    def _none(self, run_id: str, failed: TrainingError) -> Markup:
        back = tag("a", say("All runs"), href=f"{self.desk.options.root_path}/runs", class_="button")
        title = say("No such run") if run_id else say("No run chosen")
        return tag("div", tag("h2", title), tag("p", retell(failed.message)), back, class_="card empty")

    def _ask(self, request: Request, run: Path) -> str:
        self.desk.executor.request(run, request)
        answers: dict[Request, str] = {
            "save": say("A file and a state to resume from are saved after the step in hand."),
            "sample": say("Sample pictures are drawn after the step in hand."),
            "pause": say("Pausing: the step in hand is finished and saved first. “Resume” goes on from there."),
        }
        return answers[request]

    def _stop(self, run: Path) -> str:
        self.desk.executor.stop(run)
        return say("Stopping: the step in hand is finished and saved first.")

    def _kill(self, run: Path) -> str:
        self.desk.executor.stop(run, hard=True)
        return say("Ending all processes of this run.")

    def _resume(self, run: Path) -> str:
        self.desk.executor.resume(run)
        return say("Going on from the last saved state.")


def settings(view: RunView) -> Markup:
    """The config and the command as they were."""
    try:
        text = (view.run / CONFIG_FILE).read_text("utf-8")
    except OSError as failed:
        return tag("p", say("The config cannot be read: {reason}.", reason=failed.strerror), class_="soft")
    parts = [("config.toml", text, "run-toml"), (say("Command"), shlex.join(view.record.get("argv", [])), "run-argv")]
    copy = say("Copy")
    return join(
        [
            tag(
                "div",
                tag("h2", title),
                tag("pre", body, id=key, tabindex="0"),
                tag("button", copy, class_="button", type="button", data_copy=f"#{key}"),
                class_="run-text",
            )
            for title, body, key in parts
        ]
    )


def _buttons(view: RunView) -> list[str]:
    """Keys of the buttons that make sense now."""
    status = view.status
    trains = status.state == "running" and view.step > 0
    shown = {
        "save": trains,
        "sample": trains and has_prompts(view.run),
        "pause": trains,
        "stop": status.state == "queued" or (status.is_active and status.state != "stopping"),
        "kill": status.state == "stopping",
        "resume": status.is_resumable and any(save.what == "state" for save in view.saves.values()),
        "remove": not status.is_active and status.state != "queued",
    }
    return [key for key, makes_sense in shown.items() if makes_sense]
