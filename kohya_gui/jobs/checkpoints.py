"""The checkpoints of a run with what is known of each: its files and whether they are still there, samples, validation loss, which one is the best
and which one a person chose. Reads files, writes none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from kohya_gui.jobs.evidence import absolute_path
from kohya_gui.jobs.monitor import Measured, RunView, Sample, SavedFile

Condition = Literal["there", "missing", "changed"]
"""Of a saved file: as it was written, not there any more, or another file under its name."""

_CLOCKS_S = 5.0
"""How much the clock of a disk may be ahead of ours."""
_HASHED_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights after `step` steps. `files` hold the same weights under several names, the finished run's first.

    `samples` are the newest pictures drawn since the checkpoint before, by the prompt's place; `validation` the newest measurement since then.
    `best` has the lowest validation loss of all; `kept` is the one that a person chose.
    """

    step: int
    epoch: int
    files: tuple[SavedFile, ...]
    samples: Mapping[int, Sample]
    validation: Measured | None
    best: bool = False
    kept: bool = False

    @property
    def file(self) -> SavedFile:
        """The file that stands for all of them."""
        return self.files[0]


def checkpoints(view: RunView, kept: str = "") -> tuple[Checkpoint, ...]:
    """All checkpoints that were saved and not pruned, by step. `kept` is the path of the chosen one."""
    by_step: dict[int, list[SavedFile]] = {}
    for save in sorted(view.saves.values(), key=lambda save: (save.step, not save.final, save.path)):
        if save.what == "weights":
            by_step.setdefault(save.step, []).append(save)
    before = (0, *by_step)
    validations = {step: _newest(view.validations, after, step) for after, step in zip(before, by_step, strict=False)}
    measured = [found for found in validations.values() if found is not None]
    lowest = min(measured, key=lambda found: found.loss, default=None)
    return tuple(
        Checkpoint(
            step,
            files[0].epoch,
            tuple(sorted(files, key=lambda file: not _is_kept(view, file, kept))),
            _samples(view.samples, after, step),
            validations[step],
            best=lowest is not None and validations[step] is lowest and len(measured) > 1,
            kept=any(_is_kept(view, file, kept) for file in files),
        )
        for after, (step, files) in zip(before, by_step.items(), strict=False)
    )


def condition(view: RunView, save: SavedFile) -> Condition:
    """Whether a saved file is still what the run wrote.

    A file of the same size that was written later is hashed, unless it is so large that a page would wait for it.
    """
    path = absolute_path(view.record, save.path)
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    if path.is_dir():
        return "there"
    if save.bytes != stat.st_size:
        return "changed"
    if stat.st_mtime <= save.saved_at + _CLOCKS_S:
        return "there"
    same = stat.st_size <= _HASHED_BYTES and _sha256(path, stat.st_size, stat.st_mtime_ns) == save.sha256
    return "there" if same else "changed"


def folder_bytes(path: Path) -> int:
    """The size of a file, or of all files in a folder; 0 for nothing."""
    if path.is_dir():
        return sum(found.stat().st_size for found in path.rglob("*") if found.is_file())
    return path.stat().st_size if path.exists() else 0


def _is_kept(view: RunView, file: SavedFile, kept: str) -> bool:
    return bool(kept) and str(absolute_path(view.record, file.path)) == kept


def _newest(measured: Sequence[Measured], after: int, step: int) -> Measured | None:
    return next((found for found in reversed(measured) if after < found.step <= step), None)


def _samples(samples: Sequence[Sample], after: int, step: int) -> dict[int, Sample]:
    """The newest of each prompt after step `after` and not after `step`: a picture stands for one checkpoint alone."""
    fitting = sorted((sample for sample in samples if after < sample.step <= step), key=lambda sample: sample.step)
    return {sample.index: sample for sample in fitting}


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, changed: int) -> str:
    """Size and time of the last change are there so that a file is hashed anew when it is another one."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
