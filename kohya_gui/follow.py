"""Following a run in a terminal until it ends: one line that changes, or JSON lines for machines. The page has its own view."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TextIO

from kohya_gui.jobs.adoption import adopt
from kohya_gui.jobs.evidence import absolute_path
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.states import Status
from kohya_gui.jobs.tail import EVENTS_FILE, LOG_FILE, read_events

_TICK_S = 0.5
_PLAIN_EVERY = 0.1


class Show(Protocol):
    """What is told to whoever started the run."""

    def update(self, view: RunView) -> None:
        """Something may be new."""

    def end(self, view: RunView) -> None:
        """The run is over."""


def follow(run: Path, show: Show, *, interrupted: Callable[[], bool] = lambda: False) -> RunView:
    """Look at a run until it has ended, and return the last view. A run that lost its supervisor on the way gets another one.

    `interrupted` is asked at every look; True means that nobody wants to know any more.
    """
    view = RunView(run).refresh()
    pause = threading.Event()
    while not interrupted():
        if view.status.is_active:
            show.update(view)
        if view.status.unsupervised:
            adopt(run)
        elif not view.status.is_active and view.status.state != "queued":
            show.end(view)
            break
        pause.wait(_TICK_S)
        view.refresh()
    return view


def exit_code(status: Status) -> int:
    """What a program that ran this training ends with; see `sd_scripts.errors`. A process killed by a signal counts as 1."""
    if status.state == "finished":
        return 0
    if status.state in ("stopped", "paused"):
        return 3
    return status.exit_code if status.exit_code in (2, 3, 4, 5) else 1


class Terminal:
    """For people: on a terminal one line that is written over, elsewhere a line per phase and per tenth of the run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._width, self._told, self._warned = 0, "", 0

    def update(self, view: RunView) -> None:
        """Show where the run is, and warnings that are new."""
        self._tell_warnings(view)
        text = progress_line(view)
        if self._live:
            self._stream.write(f"\r{text.ljust(self._width)}")
            self._stream.flush()
            self._width = len(text)
        elif (mark := f"{view.status.state} {view.phase} {int(view.fraction / _PLAIN_EVERY)}") != self._told:
            self._told = mark
            print(text, file=self._stream, flush=True)

    def end(self, view: RunView) -> None:
        """Say what became of it."""
        self._tell_warnings(view)
        status = view.status
        self._line(f"{status.state}: {status.reason} {status.fix}".strip().rstrip(":"))
        if status.state == "failed":
            self._line(f"log: {view.run / LOG_FILE}")

    def _tell_warnings(self, view: RunView) -> None:
        for notice in list(view.warnings)[self._warned :]:
            self._line(f"warning: {notice.text} {notice.fix}".strip())
        self._warned = len(view.warnings)

    def _line(self, text: str) -> None:
        start = f"\r{' ' * self._width}\r" if self._live and self._width else ""
        self._width = 0
        print(f"{start}{text}", file=self._stream, flush=True)


class JsonLines:
    """For machines: every event of the run as it comes, then one object with the outcome, all on standard output."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream, self._offset = stream or sys.stdout, 0

    def update(self, view: RunView) -> None:
        """Pass on the events that are new."""
        events, self._offset = read_events(view.run / EVENTS_FILE, self._offset)
        for event in events:
            print(json.dumps(event, ensure_ascii=False), file=self._stream, flush=True)

    def end(self, view: RunView) -> None:
        """The last events, and the outcome."""
        self.update(view)
        status = view.status
        answer: dict[str, object] = {"run": view.run.name, "path": str(view.run), "state": status.state, "reason": status.reason, "fix": status.fix}
        answer |= {"exit_code": exit_code(status), "files": final_files(view)}
        print(json.dumps(answer, ensure_ascii=False), file=self._stream, flush=True)


def progress_line(view: RunView) -> str:
    """Where a run is, in one line: state and phase, step of total, loss, speed, time left."""
    words = [view.phase or view.status.state]
    if view.phase == "training" and view.total:
        words[0] += f" {view.step:,}/{view.total:,} ({view.fraction:.0%})"
        words += [f"epoch {view.epoch}/{view.epochs}"] if view.epochs else []
    elif view.phase_total:
        words[0] += f" {view.phase_done:,}/{view.phase_total:,}"
    words += [f"loss {view.avg_loss:.4f}"] if view.avg_loss is not None else []
    words += [f"{view.it_s:.2f} it/s"] if view.it_s else []
    if view.phase == "training":
        words.append("measuring…" if view.eta_s is None else f"{duration(view.eta_s)} left")
    return " · ".join(words)


def duration(seconds: float) -> str:
    """A length of time in the two units that matter: "42 s", "9 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def final_files(view: RunView) -> list[str]:
    """Absolute paths of the weights that a run made, the final one last."""
    weights = [saved for saved in view.saves.values() if saved.what == "weights"]
    return [str(absolute_path(view.record, saved.path)) for saved in sorted(weights, key=lambda saved: (saved.final, saved.step))]
