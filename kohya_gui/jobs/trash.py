"""Runs put away, with what they trained or without it, brought back, and removed for good. Nothing is overwritten on any way.

A run goes into `.trash` beside it; its files go into a `.trash` in their own folder, so that nothing is copied, and a list in the run says where.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.jobs.checkpoints import condition, folder_bytes
from kohya_gui.jobs.evidence import absolute_path
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.notes import read_note
from kohya_gui.jobs.runs import RUN_FILE, read_status
from kohya_gui.jobs.states import write_whole
from sd_scripts.errors import RunError

TRASH = ".trash"
MOVED_FILE = "moved.json"
OF_FILES = "-files"
"""Ending of the folder of a run's files in the trash: runs and files may lie in one folder, and so in one trash."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a run made and what is still as it made it. `kept` is the chosen checkpoint and its copy, which are never put away with the rest."""

    weights: tuple[Path, ...]
    states: tuple[Path, ...]
    pictures: tuple[Path, ...]
    kept: tuple[Path, ...]
    bytes: int

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that can be put away."""
        return (*self.weights, *self.states, *self.pictures)


def belongings(run: Path) -> Belongings:
    """What lies outside of the run folder and is this run's. Raises RunError if the folder is no run folder."""
    view, note = RunView(run).refresh(), read_note(run)
    saves = [save for save in view.saves.values() if condition(view, save) == "there"]
    files = {absolute_path(view.record, save.path): save.what for save in saves}
    kept = tuple(path for path in map(Path, filter(None, (note.kept, note.copy))) if path.exists())
    weights = tuple(path for path, what in files.items() if what != "state" and path not in kept)
    states = tuple(path for path, what in files.items() if what == "state")
    pictures = tuple(dict.fromkeys(path for sample in view.samples if (path := absolute_path(view.record, sample.path)).is_file()))
    return Belongings(weights, states, pictures, kept, sum(map(folder_bytes, (*weights, *states, *pictures))))


def put_away(run: Path, *, with_files: bool = False) -> Path:
    """Move a run out of the list, into the trash beside it, and with it what it made. Returns where the run lies then.

    Raises:
        RunError: it is still running, or cannot be moved.
    """
    status = read_status(run)
    if status.is_active or status.state == "queued":
        raise RunError(f"The run {run.name} is {status.state}.", fix="Stop it first.")
    moves = [(path, _free(path.parent / TRASH / f"{run.name}{OF_FILES}" / path.name)) for path in belongings(run).paths] if with_files else []
    target = run.parent / TRASH / run.name
    _refuse_taken(target)
    if moves:
        # Written before anything moves: whatever happens then, it says where things are.
        left = [(path, place) for path, place in _moved(run) if place.exists()]
        write_whole(run / MOVED_FILE, json.dumps([[str(path), str(place)] for path, place in [*left, *moves]], ensure_ascii=False))
    _move(run, target)
    for path, place in moves:
        _move(path, place)
    return target


def bring_back(runs_dir: Path, name: str) -> tuple[Path, ...]:
    """Move a run from the trash back into the list, and its files to where they were. Returns those whose place is taken: they stay in the trash.

    Raises:
        RunError: it is not in the trash, or a run of that name is in the list.
    """
    run = _in_trash(runs_dir, name)
    target = runs_dir / name
    _refuse_taken(target)
    blocked = []
    for path, place in _moved(run):
        if place.exists() and path.exists():
            blocked.append(place)
        elif place.exists():
            _move(place, path)
            _drop_empty(place.parent)
    if not blocked:
        (run / MOVED_FILE).unlink(missing_ok=True)
    _move(run, target)
    return tuple(blocked)


def erase(runs_dir: Path, name: str) -> int:
    """Remove a run in the trash for good, with the files that were put away with it. Returns the bytes that are free now.

    Raises:
        RunError: it is not in the trash, or something cannot be removed.
    """
    run = _in_trash(runs_dir, name)
    places = [place for _, place in _moved(run) if place.exists()]
    freed = sum(map(folder_bytes, (*places, run)))
    try:
        for place in places:
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            _drop_empty(place.parent)
        shutil.rmtree(run)
    except OSError as failed:
        raise RunError(
            f"{failed.filename or run} cannot be removed: {failed.strerror}.", fix="Close programs that have it open, then try again."
        ) from failed
    return freed


def trash_bytes(runs_dir: Path, name: str) -> int:
    """What removing a run for good would free. Raises RunError if it is not in the trash."""
    run = _in_trash(runs_dir, name)
    return sum(map(folder_bytes, (*(place for _, place in _moved(run)), run)))


def in_trash(runs_dir: Path) -> Sequence[str]:
    """Names of the runs that were put away, newest first."""
    trash = runs_dir / TRASH
    return sorted((path.name for path in trash.iterdir() if (path / RUN_FILE).is_file()), reverse=True) if trash.is_dir() else ()


def _in_trash(runs_dir: Path, name: str) -> Path:
    if name not in in_trash(runs_dir):
        raise RunError(f"There is no run {name!r} in the trash.")
    return runs_dir / TRASH / name


def _moved(run: Path) -> list[tuple[Path, Path]]:
    """Where files were, and where they are."""
    try:
        return [(Path(path), Path(place)) for path, place in json.loads((run / MOVED_FILE).read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def _free(place: Path) -> Path:
    """`place`, or the first of `name-2`, `name-3`, ... that is free."""
    found, number = place, 2
    while found.exists():
        found, number = place.with_name(f"{place.stem}-{number}{place.suffix}"), number + 1
    return found


def _move(path: Path, place: Path) -> None:
    """Rename, onto nothing: a rename of files replaces in silence what is there."""
    _refuse_taken(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    except OSError as failed:
        raise RunError(f"{path} cannot be moved to {place.parent}: {failed.strerror}.", fix="Close programs that have it open.") from failed


def _refuse_taken(place: Path) -> None:
    if place.exists():
        raise RunError(f"{place} exists already.", fix="Move it away first.")


def _drop_empty(folder: Path) -> None:
    """Remove the trash's own folders where nothing is left in them."""
    for place in (folder, folder.parent):
        if any(place.iterdir()):
            return
        place.rmdir()
