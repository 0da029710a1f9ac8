"""What is known of a run at this moment, folded from its files as they grow. Reading costs the size of what is new.

`tail` reads the files, `curve` keeps the losses, `usage` measures processes; the page only draws.
"""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_gui.jobs.adoption import adopt
from kohya_gui.jobs.curve import Curve
from kohya_gui.jobs.runs import read_run, read_status
from kohya_gui.jobs.states import Status
from kohya_gui.jobs.tail import EVENTS_FILE, LOG_FILE, read_events, read_log
from kohya_gui.jobs.timeline import Timeline
from kohya_gui.jobs.usage import Usage, UsageMeter
from sd_scripts.errors import RunError

__all__ = ["Measured", "Notice", "RunView", "Sample", "SavedFile", "Views", "read_events", "read_log"]

_PACE_STEPS = 60
_PACE_NEEDED = 5
_WARNINGS = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """One preview picture; `path` as the trainer wrote it, `index` its prompt's place in the prompt file."""

    path: str
    prompt: str
    step: int
    seed: int | None
    index: int


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One checkpoint or state that is there (not removed by pruning); `saved_at` in unix seconds."""

    path: str
    what: str
    step: int
    epoch: int
    bytes: int
    tensors: int | None
    sha256: str | None
    final: bool
    saved_at: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The loss on the pictures that are kept aside, after `step` steps."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the trainer says and goes on."""

    code: str
    text: str
    fix: str


@dataclass
class RunView:
    """The summary of one run. `refresh` reads what is new; all other members are facts, in units that their names say.

    `eta_s` is None until enough steps were timed ("measuring"). `heard` is when the run last wrote anything (unix seconds).
    Many pages may share a view: `refresh` is serialised.
    """

    run: Path
    record: dict[str, Any] = field(default_factory=dict)
    status: Status = field(default_factory=Status)
    phase: str = ""
    phase_done: int = 0
    phase_total: int = 0
    plan: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    total: int = 0
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    avg_loss: float | None = None
    lr: Mapping[str, float] = field(default_factory=dict)
    it_s: float | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    curve: Curve = field(default_factory=Curve)
    samples: list[Sample] = field(default_factory=list)
    saves: dict[str, SavedFile] = field(default_factory=dict)
    validations: list[Measured] = field(default_factory=list)
    timeline: Timeline = field(default_factory=Timeline)
    warnings: deque[Notice] = field(default_factory=lambda: deque(maxlen=_WARNINGS))
    resumed_at: list[int] = field(default_factory=list)
    heard: float | None = None
    usage: Usage = field(default_factory=Usage)
    offset: int = 0

    def __post_init__(self) -> None:
        self.run = Path(self.run)
        self.record = read_run(self.run)
        self._pace: deque[float] = deque(maxlen=_PACE_STEPS)
        self._last_step: tuple[float, int] | None = None
        self._lock = threading.Lock()
        self._meter = UsageMeter()

    @property
    def name(self) -> str:
        """What the run is called, the file name of what it makes."""
        return str(self.record.get("name", ""))

    @property
    def fraction(self) -> float:
        """How much of the run is done, 0 to 1."""
        return min(1.0, self.step / self.total) if self.total else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds of training left, from the median pace of the last steps; None while it is being measured or nothing runs."""
        if not self.status.is_active or len(self._pace) < _PACE_NEEDED or not self.total:
            return None
        return statistics.median(self._pace) * max(0, self.total - self.step)

    def refresh(self) -> RunView:
        """Read what is new since the last call, and return the view itself."""
        with self._lock:
            self.status = read_status(self.run)
            events, self.offset = read_events(self.run / EVENTS_FILE, self.offset)
            for event in events:
                self._fold(event)
            self.heard = max(filter(None, (self.heard, _changed(self.run / LOG_FILE))), default=None)
            self.usage = self._meter.measure(self.status.launcher) if self.status.is_active else Usage()
        return self

    def _fold(self, event: dict[str, Any]) -> None:
        if isinstance(event.get("t"), (int, float)):
            self.heard = event["t"]
        fold = _FOLDS.get(event["kind"])
        try:
            if fold is not None:
                fold(self, event)
            if isinstance(event.get("t"), (int, float)):
                self.timeline.add(event)
        except (KeyError, TypeError, ValueError):
            self.warnings.append(Notice("event", f"The trainer wrote a {event['kind']} event that cannot be read.", ""))

    def _phase(self, event: dict[str, Any]) -> None:
        if event["phase"] != "training":
            self._last_step = None
        self.phase, self.phase_done, self.phase_total = event["phase"], event["done"] or 0, event["total"] or 0

    def _plan(self, event: dict[str, Any]) -> None:
        self.plan = event["plan"]
        self.total = int(self.plan.get("total_steps") or self.total)
        self.epochs = int(self.plan.get("epochs") or self.epochs)

    def _step(self, event: dict[str, Any]) -> None:
        self._time_step(float(event["t"]), int(event["step"]))
        self.phase = "training"
        self.step, self.total = int(event["step"]), int(event["total"])
        self.phase_done, self.phase_total = self.step, self.total
        self.epoch, self.epochs = int(event["epoch"]), int(event["epochs"])
        self.loss, self.avg_loss = event["loss"], event["avg_loss"]
        self.lr, self.it_s, self.memory = event["lr"] or {}, event["it_s"], event["memory"] or {}
        if self.loss is not None and self.avg_loss is not None:
            self.curve.add(self.step, float(self.loss), float(self.avg_loss), self.lr)

    def _time_step(self, t: float, step: int) -> None:
        """Steps with a save or a picture between them do not count for the pace."""
        if self._last_step is not None and step > self._last_step[1]:
            self._pace.append((t - self._last_step[0]) / (step - self._last_step[1]))
        self._last_step = (t, step)

    def _sample(self, event: dict[str, Any]) -> None:
        self._last_step = None
        self.samples.append(Sample(event["path"], event["prompt"], int(event["step"]), event["seed"], int(event["index"] or 0)))

    def _save(self, event: dict[str, Any]) -> None:
        self._last_step = None
        names = ("path", "what", "step", "epoch", "bytes", "tensors", "sha256")
        self.saves[event["path"]] = SavedFile(**{name: event[name] for name in names}, final=bool(event["final"]), saved_at=float(event["t"]))

    def _validation(self, event: dict[str, Any]) -> None:
        self._last_step = None
        self.validations.append(Measured(int(event["step"]), float(event["loss"])))

    def _removed(self, event: dict[str, Any]) -> None:
        self.saves.pop(event["path"], None)

    def _resume(self, event: dict[str, Any]) -> None:
        self._last_step = None
        self._pace.clear()
        self.step = int(event["step"])
        self.resumed_at.append(self.step)
        self.curve.rewind(self.step)
        self.samples = [sample for sample in self.samples if sample.step <= self.step]
        self.validations = [found for found in self.validations if found.step <= self.step]

    def _warning(self, event: dict[str, Any]) -> None:
        self.warnings.append(Notice(event["code"], event["text"], event["fix"] or ""))

    def _end(self, event: dict[str, Any]) -> None:
        self._last_step = None
        self.phase = ""


_FOLDS: Mapping[str, Callable[[RunView, dict[str, Any]], None]] = {
    "phase": RunView._phase,
    "plan": RunView._plan,
    "step": RunView._step,
    "sample": RunView._sample,
    "save": RunView._save,
    "removed": RunView._removed,
    "validation": RunView._validation,
    "resume": RunView._resume,
    "warning": RunView._warning,
    "done": RunView._end,
    "error": RunView._end,
}


class Views:
    """Views by run, shared by all who look, each read again at most every `fresh_s` seconds.

    Looking is also how a run that lost its supervisor gets another one: it is adopted beside, so that no page waits for it.
    """

    def __init__(self, *, fresh_s: float = 0.5, limit: int = 32) -> None:
        self._fresh_s, self._limit = fresh_s, limit
        self._adopting = threading.Lock()
        self._views: dict[Path, tuple[float, RunView]] = {}
        self._lock = threading.Lock()

    def of(self, run: Path) -> RunView:
        """The current view of a run. Raises RunError if the folder is no run folder."""
        with self._lock:
            read_at, view = self._views.pop(run, (0.0, None))
            view = view or RunView(run)
            stale = time.monotonic() - read_at >= self._fresh_s
            self._views[run] = (time.monotonic() if stale else read_at, view)
            while len(self._views) > self._limit:
                self._views.pop(next(iter(self._views)))
        if stale and view.refresh().status.unsupervised and self._adopting.acquire(blocking=False):
            threading.Thread(target=self._adopt, args=(run,), daemon=True, name=f"adoption of {run.name}").start()
        return view

    def _adopt(self, run: Path) -> None:
        try:
            adopt(run)
        except RunError as failed:
            logging.getLogger(__name__).warning("%s", failed)
        finally:
            self._adopting.release()


def _changed(path: Path) -> float | None:
    return path.stat().st_mtime if path.exists() else None
