"""A loss curve of bounded size, built point by point. How it is drawn is the page's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LIMIT = 800


@dataclass(frozen=True, slots=True)
class Point:
    """The mean over `count` steps that end with `step`; `loss` and `avg_loss` as the trainer reports them, `lr` by group."""

    step: int
    loss: float
    avg_loss: float
    lr: Mapping[str, float]
    count: int = 1


@dataclass
class Curve:
    """At most `limit` points, whatever the number of steps: a full curve joins neighbours in pairs, and points then cover twice as many steps.

    The result depends on the steps alone, not on when somebody looked.
    """

    limit: int = LIMIT
    stride: int = 1
    _full: list[Point] = field(default_factory=list)
    _open: Point | None = None

    @property
    def points(self) -> list[Point]:
        """The points so far, the last one perhaps over fewer steps."""
        return [*self._full, *([self._open] if self._open is not None else [])]

    def add(self, step: int, loss: float, avg_loss: float, lr: Mapping[str, float]) -> None:
        """Append one step."""
        fresh = Point(step, loss, avg_loss, lr)
        self._open = fresh if self._open is None else _joined(self._open, fresh)
        if self._open.count >= self.stride:
            self._full.append(self._open)
            self._open = None
        if len(self._full) >= self.limit - 1 and len(self._full) % 2 == 0:
            self._full = [_joined(first, second) for first, second in zip(self._full[::2], self._full[1::2], strict=True)]
            self.stride *= 2

    def rewind(self, step: int) -> None:
        """Forget what came after `step`: the run resumed from there and does it again."""
        self._full = [point for point in self._full if point.step <= step]
        self._open = self._open if self._open is not None and self._open.step <= step else None


def _joined(first: Point, second: Point) -> Point:
    count = first.count + second.count
    loss = (first.loss * first.count + second.loss * second.count) / count
    return Point(second.step, loss, second.avg_loss, second.lr, count)
