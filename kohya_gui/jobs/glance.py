"""What the list of runs shows of each: read from a few places of events.jsonl, so that a list of long runs costs no more than one of short ones."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from kohya_gui.jobs.tail import EVENTS_FILE, parse_event

PLACES = 48
"""Where a long file is looked into for the line of its loss."""
_WHOLE_BYTES = 150_000
_LONGEST_LINE = 16_384


@dataclass(frozen=True, slots=True)
class Glance:
    """Where a run is. `points` are (step, average loss) by rising step; `sample` is the path of the newest picture of the first prompt."""

    step: int = 0
    total: int = 0
    avg_loss: float | None = None
    points: tuple[tuple[int, float], ...] = ()
    sample: str = ""
    sample_words: str = ""
    sample_step: int = 0


def glance(run: Path) -> Glance:
    """A look at a run; an empty one before it has written anything."""
    path = run / EVENTS_FILE
    try:
        stat = path.stat()
    except OSError:
        return Glance()
    return _glance(path, stat.st_size, stat.st_mtime_ns) if stat.st_size else Glance()


@lru_cache(maxsize=2048)
def _glance(path: Path, size: int, changed: int) -> Glance:
    """Size and time of the last change are there so that a file that grew is looked at anew."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            last = next(_backwards(data, b'"kind": "step"'), None)
            points = _risen(_points(data))
            sample = _newest_sample(data)
    except (OSError, ValueError):
        return Glance()
    facts: dict[str, Any] = {"points": points}
    if last is not None:
        facts |= {"step": int(last["step"]), "total": int(last["total"]), "avg_loss": last["avg_loss"]}
    if sample is not None:
        facts |= {"sample": str(sample["path"]), "sample_words": str(sample["prompt"]), "sample_step": int(sample["step"])}
    return Glance(**facts)


def _backwards(data: mmap.mmap, mark: bytes) -> Iterator[dict[str, Any]]:
    """Events whose line holds `mark`, the last one first."""
    end = len(data)
    while (at := data.rfind(mark, 0, end)) >= 0:
        start = data.rfind(b"\n", 0, at) + 1
        stop = data.find(b"\n", at)
        event = parse_event(data[start : stop if stop >= 0 else len(data)])
        if event is not None:
            yield event
        end = start


def _newest_sample(data: mmap.mmap) -> dict[str, Any] | None:
    """The first prompt's picture of the last step at which pictures were drawn."""
    found: dict[str, Any] | None = None
    for event in _backwards(data, b'"kind": "sample"'):
        if found is not None and event["step"] != found["step"]:
            break
        found = event
    return found


def _points(data: mmap.mmap) -> list[tuple[int, float]]:
    """Steps with their average loss: all of a short file, the first after each of some places of a long one, and the last."""
    starts = [0] if len(data) <= _WHOLE_BYTES else [len(data) * place // PLACES for place in range(PLACES)]
    points = []
    for start in starts:
        cut = data[start : len(data) if len(starts) == 1 else start + _LONGEST_LINE]
        for line in cut.splitlines()[bool(start) :]:
            event = parse_event(line) if b'"kind": "step"' in line else None
            if event is not None:
                with contextlib.suppress(KeyError, TypeError):
                    points.append((int(event["step"]), float(event["avg_loss"])))
                if len(starts) > 1:
                    break
    return points


def _risen(points: list[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Without what came before a resumption and was done again."""
    kept: list[tuple[int, float]] = []
    for point in reversed(points):
        if not kept or point[0] < kept[-1][0]:
            kept.append(point)
    return tuple(reversed(kept))
