"""The two hashes by which the ecosystem names a model file."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

_LEGACY_START, _LEGACY_BYTES = 0x100000, 0x10000
_NO_FILE, _A_FOLDER = "NOFILE", "IsADirectory"


class FileHashes:
    """Both hashes of a file, computed beside other work: a model of several GB takes seconds, and nobody needs them before the first save."""

    def __init__(self, path: Path) -> None:
        self._path, self._result = path, (_NO_FILE, _NO_FILE)
        self._thread = threading.Thread(target=self._compute, daemon=True, name=f"hashes of {path.name}")
        self._thread.start()

    def result(self) -> tuple[str, str]:
        """(legacy hash, SHA-256), as `legacy_hash` and `file_hash` give them; waits until they are there. "NOFILE": it could not be read."""
        self._thread.join()
        return self._result

    def _compute(self) -> None:
        try:
            self._result = legacy_hash(self._path), file_hash(self._path)
        except OSError:
            return


def legacy_hash(path: Path) -> str:
    """Eight hex digits of 64 KiB at 1 MiB: the first web UIs' name of a checkpoint. "NOFILE" and "IsADirectory" stand for what cannot be hashed."""
    if not path.is_file():
        return _A_FOLDER if path.is_dir() else _NO_FILE
    with path.open("rb") as file:
        file.seek(_LEGACY_START)
        return hashlib.sha256(file.read(_LEGACY_BYTES)).hexdigest()[:8]


def file_hash(path: Path) -> str:
    """SHA-256 of the whole file, hex; "NOFILE" and "IsADirectory" as in `legacy_hash`. Reads the file at the disk's speed."""
    if not path.is_file():
        return _A_FOLDER if path.is_dir() else _NO_FILE
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
