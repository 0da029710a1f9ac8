"""“Keep this one”: one checkpoint of a run is the chosen one. The trainer does not replace it by newer ones, and it can have a name of its own."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from kohya_gui.jobs.checkpoints import condition
from kohya_gui.jobs.evidence import absolute_path
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.notes import Note, choose, note_copy, read_note
from sd_scripts.errors import RunError

SUFFIX = "-kept"


def keep(view: RunView, path: str) -> Note:
    """Make the weight file at `path`, as the run recorded it, the chosen one.

    Raises:
        RunError: the run saved no such file, it is not there any more, or the note cannot be written.
    """
    save = view.saves.get(path)
    if save is None or save.what != "weights":
        raise RunError(f"The run {view.run.name} has no such file.", fix="Choose one of the list.")
    if condition(view, save) != "there":
        raise RunError(f"{path} is not what this run saved any more.", fix="Choose another one.")
    return choose(view.run, str(absolute_path(view.record, path)))


def release(view: RunView) -> Note:
    """No checkpoint is the chosen one any more; files stay as they are. Raises RunError."""
    return choose(view.run, "")


def copy_kept(view: RunView) -> Path:
    """Copy the chosen file beside itself as `<output name>-kept` with its ending, or the next free name, and return the copy.

    A file of that name with the same content is the copy already.

    Raises:
        RunError: there is none, it is a folder, or it cannot be copied.
    """
    kept = Path(read_note(view.run).kept)
    if not kept.is_file():
        raise RunError("There is no chosen file to copy.", fix="Choose one with “Keep this one”.")
    stem, number = f"{view.name}{SUFFIX}", 1
    while True:
        target = kept.with_name(f"{stem if number == 1 else f'{stem}-{number}'}{kept.suffix}")
        if not target.exists():
            break
        if filecmp.cmp(kept, target, shallow=False):
            note_copy(view.run, target)
            return target
        number += 1
    _copy(kept, target)
    note_copy(view.run, target)
    return target


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all, and in the place of nothing: a link fails where a file is, on every system that has links."""
    part = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(source, part)
        try:
            os.link(part, target)
        except (OSError, NotImplementedError):
            if target.exists():
                raise
            part.rename(target)
    except OSError as failed:
        raise RunError(f"{target} cannot be written: {failed.strerror}.", fix="Free space, or download the file instead.") from failed
    finally:
        part.unlink(missing_ok=True)
