"""What happened in a run, in order, and where its time went: folded from its events one by one. How it is told is the page's business."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["begun", "trains", "resumed", "saved", "state", "removed", "drawn", "validated", "warning", "failed", "ended"]

LIMIT = 1000
"""Moments that are kept, the latest."""
_WITH_STEP: Mapping[str, Kind] = {"sample": "drawn", "validation": "validated", "resume": "resumed", "error": "failed", "done": "ended"}


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at `t` (unix seconds), after `step` steps; `count` times in a row. `text` is a path or a sentence of the trainer's."""

    t: float
    kind: Kind
    step: int
    text: str = ""
    count: int = 1


@dataclass
class Timeline:
    """`spent` has seconds by phase ("loading", "training", ...). Time between two attempts at a run counts for none."""

    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=LIMIT))
    spent: dict[str, float] = field(default_factory=dict)
    _phase: str = ""
    _at: float = 0.0
    _step: int = 0
    _begun: bool = False

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one event. Raises KeyError, TypeError or ValueError if it lacks what its kind has."""
        t, kind = float(event["t"]), str(event["kind"])
        phase = str(event["phase"]) if kind == "phase" else "training" if kind == "step" else self._phase
        begins = kind == "phase" and phase == "loading"
        self._spend(t, phase, begins=begins)
        if begins:
            self._note(Moment(t, "begun", self._step))
            self._begun = True
        elif kind == "step":
            self._step = int(event["step"])
            if self._begun:
                self._note(Moment(t, "trains", self._step))
            self._begun = False
        elif kind == "save":
            self._note(Moment(t, "state" if event["what"] == "state" else "saved", int(event["step"]), str(event["path"])))
        elif kind == "removed":
            self._note(Moment(t, "removed", self._step, str(event["path"])))
        elif kind == "warning":
            self._note(Moment(t, "warning", self._step, str(event["text"])))
        elif kind in _WITH_STEP:
            self._note(Moment(t, _WITH_STEP[kind], int(event["step"]), _words(event)))
            self._phase, self._begun = ("", False) if kind in ("error", "done") else (self._phase, self._begun)
        if kind == "resume":
            self._step = int(event["step"])

    def _spend(self, t: float, phase: str, *, begins: bool) -> None:
        """The time since the last event belongs to the phase of then, unless a new attempt begins: each begins with loading, once."""
        if self._phase and not begins:
            self.spent[self._phase] = self.spent.get(self._phase, 0.0) + max(0.0, t - self._at)
        self._phase, self._at = phase, t

    def _note(self, moment: Moment) -> None:
        last = self.moments[-1] if self.moments else None
        if last is not None and (last.kind, last.step) == (moment.kind, moment.step) and moment.kind == "drawn":
            self.moments[-1] = replace(last, t=moment.t, count=last.count + 1)
        else:
            self.moments.append(moment)


def _words(event: Mapping[str, Any]) -> str:
    if event["kind"] == "validation":
        return f"{float(event['loss']):.4f}"
    return str(event.get("text") or event.get("reason") or "")
