"""What a run tells the world: events for those who watch, a progress line on the terminal, curves. Nothing here decides anything."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tqdm import tqdm

from sd_scripts.errors import TrainingError
from sd_scripts.library.training.console import LOG
from sd_scripts.params.events import EVENTS_FILE, NOTE_FILE, Phase, event_line

Axis = Literal["step", "epoch"]


class Curves(Protocol):
    """Where numbers over steps go; see curves.py."""

    def draw(self, points: Mapping[str, float], *, step: int, epoch: int, by: Axis) -> None:
        """One point of each curve, by its tag, at this place; `by` says which of both is its axis."""

    def close(self) -> None:
        """Write what is left."""


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One optimizer step as it is reported. `extra` are further numbers of the method, by TensorBoard tag."""

    step: int
    epoch: int
    loss: float
    lr: Mapping[str, float]
    memory: Mapping[str, int]
    extra: Mapping[str, float]


class LossAverage:
    """Mean over the last epoch's worth of losses: kohya's `avr_loss`."""

    def __init__(self, length: int, losses: Iterable[float] = ()) -> None:
        self.losses: deque[float] = deque(losses, maxlen=max(1, length))
        self._sum = sum(self.losses)

    def add(self, loss: float) -> float:
        """Take in a loss; return the mean."""
        if len(self.losses) == self.losses.maxlen:
            self._sum -= self.losses[0]
        self.losses.append(loss)
        self._sum += loss
        return self._sum / len(self.losses)


class Report:
    """The reporting side of one process. Only the main process speaks; a run folder is there only if somebody watches."""

    def __init__(self, run_dir: Path | None, *, main: bool = True) -> None:
        self.run_dir, self.main = run_dir, main
        if run_dir is not None:
            run_dir.mkdir(parents=True, exist_ok=True)
        self.step = 0
        self._events = (run_dir / EVENTS_FILE).open("a", encoding="utf-8") if run_dir is not None and main else None
        self._bar: tqdm | None = None
        self._average = LossAverage(1)
        self._curves: Curves | None = None
        self._base = (0.0, 0)
        self._start_step = 0
        self._total = self._epochs = 0

    def clear(self, rank: int) -> None:
        """Take away the reason that an earlier attempt at this run left behind."""
        if self.run_dir is not None:
            (self.run_dir / f"error-{rank}.json").unlink(missing_ok=True)

    def event(self, kind: str, **fields: Any) -> None:
        """Append one line to events.jsonl, whole, so that a reader never sees more than one half line."""
        if self._events is not None:
            self._events.write(event_line(kind, **fields))
            self._events.flush()

    def phase(self, phase: Phase, done: int = 0, total: int = 0) -> None:
        """What the run is doing now."""
        self.event("phase", phase=phase, done=done, total=total)

    def say(self, text: str) -> None:
        """A line on the terminal, above the progress line."""
        if self.main:
            LOG.info(text)

    def warn(self, code: str, text: str, fix: str = "") -> None:
        """Something odd that does not stop the run."""
        if self.main:
            LOG.warning(f"warning: {text} {fix}".strip())
        self.event("warning", code=code, text=text, fix=fix)

    def draw_in(self, curves: Curves | None) -> None:
        """Draw numbers there too; it is closed with this report."""
        self._curves = curves

    def begin(self, *, start_step: int, total: int, epochs: int, average: LossAverage) -> None:
        """Show the progress line; losses are averaged by `average` from here on."""
        self.step, self._total, self._epochs = start_step, total, epochs
        self._average = average
        self._base, self._start_step = (time.monotonic(), start_step), start_step
        live = sys.stderr.isatty()
        look = {"smoothing": 0, "desc": "steps", "mininterval": 0.1 if live else 2.0, "dynamic_ncols": live}
        self._bar = tqdm(total=total, initial=start_step, disable=not self.main, **look)

    @property
    def losses(self) -> list[float]:
        """The losses that the average is made of, oldest first."""
        return list(self._average.losses)

    def took_step(self, facts: StepFacts) -> None:
        """One optimizer step is done and its loss is known."""
        average = self._average.add(facts.loss)
        self.step = facts.step
        rate, eta = self._speed(facts.step)
        if self._bar is not None:
            self._bar.set_postfix(refresh=False, avr_loss=average)
            self._bar.update(facts.step - self._bar.n)
        self.event(
            "step",
            step=facts.step,
            total=self._total,
            epoch=facts.epoch,
            epochs=self._epochs,
            loss=facts.loss,
            avg_loss=average,
            lr=dict(facts.lr),
            it_s=rate,
            eta_s=eta,
            memory=dict(facts.memory),
        )
        if self._curves is not None:
            self._draw(self._curves, facts, average)

    def validated(self, step: int, epoch: int, loss: float, *, best: tuple[float, int], by_epoch: bool) -> None:
        """The loss on pictures that are kept aside, with the lowest so far and its step; `by_epoch` for a measurement at an epoch's end."""
        self.event("validation", step=step, epoch=epoch, loss=loss, best_loss=best[0], best_step=best[1])
        self.say(f"validation loss {loss:.4f} at step {step}, lowest {best[0]:.4f} at step {best[1]}")
        if self._curves is not None:
            kind: Axis = "epoch" if by_epoch else "step"
            average = sum(self._average.losses) / max(1, len(self._average.losses))
            points = {f"loss/validation/{kind}_average": loss, f"loss/validation/{kind}_divergence": loss - average}
            self._curves.draw(points, step=step, epoch=epoch, by=kind)

    def kept(self) -> str:
        """The absolute path of the checkpoint that somebody who watches chose to keep; "" without one."""
        if self.run_dir is None:
            return ""
        try:
            note = json.loads((self.run_dir / NOTE_FILE).read_text("utf-8"))
            return str(note["kept"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def ended_epoch(self, epoch: int) -> None:
        """All of an epoch's steps are done."""
        if self._curves is not None and self._average.losses:
            average = sum(self._average.losses) / len(self._average.losses)
            self._curves.draw({"loss/epoch_average": average}, step=self.step, epoch=epoch, by="epoch")

    def failed(self, error: BaseException, *, rank: int, exit_code: int) -> None:
        """Leave the reason behind: the last event of the main process, and a file by every process that fails."""
        code, fix = getattr(error, "code", "error"), getattr(error, "fix", "")
        reason = {"code": code, "text": _text(error), "fix": fix, "exit_code": exit_code, "step": self.step}
        if self.run_dir is not None:
            details = {**reason, "traceback": "" if isinstance(error, TrainingError) else "".join(traceback.format_exception(error))}
            (self.run_dir / f"error-{rank}.json").write_text(json.dumps(details, ensure_ascii=False), encoding="utf-8")
        self.event("error", **reason)

    def close(self) -> None:
        """End the progress line and write what is left."""
        if self._bar is not None:
            self._bar.close()
        if self._curves is not None:
            self._curves.close()
        if self._events is not None:
            self._events.close()
        self._bar = self._curves = self._events = None

    def _speed(self, step: int) -> tuple[float, float]:
        """Steps per second since the first one was done, and seconds to go: the first step holds start-up costs and would spoil both."""
        now, base = time.monotonic(), self._base
        if step == self._start_step + 1:
            self._base = (now, step)
        rate = (step - base[1]) / max(1e-6, now - base[0])
        return rate, (self._total - step) / rate

    def _draw(self, curves: Curves, facts: StepFacts, average: float) -> None:
        points = {"loss/current": facts.loss, "loss/average": average, **{f"lr/{name}": rate for name, rate in facts.lr.items()}, **facts.extra}
        curves.draw(points, step=facts.step, epoch=facts.epoch, by="step")


def _text(error: BaseException) -> str:
    if isinstance(error, TrainingError):
        return str(error).removesuffix(error.fix).strip()
    return f"{type(error).__name__}: {error}"
