"""Uploads that are under way: which folder each goes into, what has arrived of it, and how it is cancelled."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kohya_gui.dataset_upload import Cancelled, new_folder, remove_empty_folders
from kohya_gui.text import say
from sd_scripts.errors import DataError, RunError

LONGEST_WAIT_S = 30.0
"""Files that are being written when an upload is cancelled end within this."""


@dataclass
class Transfer:
    """One upload. `kept` are the names of files that have arrived, below `folder`; `at_work` how many are being written just now."""

    folder: Path
    kept: list[str] = field(default_factory=list)
    at_work: int = 0
    cancelled: bool = False


@dataclass
class Transfers:
    """The uploads of a server. A folder whose upload has ended is not touched any more."""

    _open: dict[Path, Transfer] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, parent: Path, wanted: str) -> Path:
        """A new folder for an upload, see `new_folder`. Raises RunError."""
        folder = new_folder(parent, wanted)
        with self._changed:
            self._open[folder] = Transfer(folder)
        return folder

    @contextmanager
    def receiving(self, folder: Path) -> Generator[Transfer]:
        """While a file is being written into a folder. Raises Cancelled."""
        with self._changed:
            transfer = self._open.get(folder) or Transfer(folder)
            if transfer.cancelled:
                raise Cancelled
            transfer.at_work += 1
        try:
            yield transfer
        finally:
            with self._changed:
                transfer.at_work -= 1
                self._changed.notify_all()

    def end(self, folder: Path) -> None:
        """All has arrived: from now on it cannot be cancelled."""
        with self._changed:
            self._open.pop(folder, None)

    def cancel(self, folder: Path) -> int:
        """Stop an upload and remove what has arrived of it; how many files that were.

        Raises:
            DataError: no upload into that folder is under way.
            RunError: a file of it is still being written, or cannot be removed.
        """
        with self._changed:
            transfer = self._open.get(folder)
            if transfer is None:
                raise DataError(say("This upload is not under way any more."), fix=say("Take its folder out of the dataset if you do not want it."))
            transfer.cancelled = True
            if not self._changed.wait_for(lambda: not transfer.at_work, LONGEST_WAIT_S):
                raise RunError(say("A file is still being written."), fix=say("Try again in a moment."))
            self._open.pop(folder, None)
        try:
            for name in transfer.kept:
                (folder / name).unlink(missing_ok=True)
        except OSError as failed:
            raise RunError(say("{path} cannot be removed: {reason}.", path=failed.filename, reason=failed.strerror)) from failed
        remove_empty_folders(folder)
        return len(transfer.kept)
