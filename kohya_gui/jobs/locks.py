"""Locks that the operating system takes back when their holder dies, however it dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TRAINING_LOCK = ".training.lock"
START_LOCK = ".start.lock"


class Held(Exception):
    """Somebody else holds the lock."""


@contextmanager
def locked(path: Path, *, wait_s: float = 0.0, note: str = "") -> Generator[None, None, None]:
    """Hold the lock file `path` for the length of the block. `note` is written into it, for whoever is refused.

    Raises:
        Held: another process holds it, and still did after `wait_s` seconds.
    """
    with path.open("a+b") as file:
        deadline = time.monotonic() + wait_s
        while not _try_lock(file):
            if time.monotonic() >= deadline:
                raise Held(str(path))
            time.sleep(0.02)
        file.truncate(0)
        file.write(note.encode("utf-8"))
        file.flush()
        yield


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file `path`."""
    if not path.exists():
        return False
    with path.open("a+b") as file:
        return not _try_lock(file)


def _try_lock(file: BinaryIO) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(0, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
