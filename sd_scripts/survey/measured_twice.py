"""Pictures that are trained on and also kept aside: the loss on those says nothing, since the model has seen them.

Within one folder the split keeps the two apart. A folder that two datasets use, or a picture that lies in two folders, can end on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from sd_scripts.params.problem import Problem, warning
from sd_scripts.survey.blueprint import Blueprint
from sd_scripts.survey.findings import names_words
from sd_scripts.survey.picture_folder import Item

_START = 1 << 14
"""Bytes that tell most pictures of the same size apart."""


def measured_twice(train: Sequence[Item], aside: Sequence[Item], blueprint: Blueprint) -> list[Problem]:
    """One warning for all pictures of `aside` that are among `train` too: as the same file, or as a copy of the same bytes."""
    pairs = list(_pairs(train, aside)) if aside else []
    if not pairs:
        return []
    names = [_words(kept, again) for kept, again in pairs]
    count, shown = len(names), names_words(names)
    message = f"{count:,} pictures are both trained on and kept aside, so the validation loss looks better than it is: {shown}."
    if count == 1:
        message = f"A picture is both trained on and kept aside, so the validation loss looks better than it is: {shown}."
    fix = "Keep each picture in one folder only."
    if all(_folder(kept, blueprint) == _folder(again, blueprint) and not again.is_reg for kept, again in pairs):
        fix = "Give these datasets the same validation_split and validation_seed, then they keep the same pictures aside."
    return [warning("validation_split", message, fix)]


def _pairs(train: Sequence[Item], aside: Sequence[Item]) -> Iterator[tuple[Item, Item]]:
    """Each picture of `aside` with the first of `train` that is the same. Bytes are read only of files of one size."""
    trained = [item for item in train if item.repeats]
    by_path = {item.path: item for item in reversed(trained)}
    wanted = set(map(_size, aside))
    alike: dict[bytes, list[Item]] = {}
    for item in trained:
        if _size(item) in wanted and (start := _start(item.path)):
            alike.setdefault(start, []).append(item)
    whole = cache(_whole)
    for kept in aside:
        again = by_path.get(kept.path)
        if again is None:
            copies = (item for item in alike.get(_start(kept.path), ()) if whole(item.path) == whole(kept.path))
            again = next(copies, None)
        if again is not None:
            yield kept, again


def _size(item: Item) -> int:
    """Bytes of the file; -1 for one that has gone meanwhile."""
    try:
        return item.path.stat().st_size
    except OSError:
        return -1


def _start(path: Path) -> bytes:
    """Its first bytes; none of a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_START)
    except OSError:
        return b""


def _whole(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _folder(item: Item, blueprint: Blueprint) -> tuple[Path, Path | None]:
    """Where the split took it from: pictures of the same list are kept aside by the same draw."""
    subset = blueprint.datasets[item.dataset].subsets[item.subset]
    return subset.image_dir, subset.metadata_file


def _words(kept: Item, again: Item) -> str:
    name, other = (f"{item.path.parent.name}/{item.path.name}" for item in (kept, again))
    return name if kept.path == again.path else f"{name} (the same as {other})"
