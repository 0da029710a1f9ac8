"""The states of a run, the table of moves between them, and status.json. Who moves when lives in `process`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

State = Literal["queued", "starting", "running", "stopping", "finished", "failed", "stopped", "paused", "interrupted"]

ALLOWED: Mapping[State, tuple[State, ...]] = {
    "queued": ("starting", "stopped", "failed"),
    "starting": ("running", "stopping", "finished", "failed", "stopped", "paused", "interrupted"),
    "running": ("stopping", "finished", "failed", "stopped", "paused", "interrupted"),
    "stopping": ("finished", "failed", "stopped", "paused", "interrupted"),
    "stopped": ("queued",),
    "paused": ("queued",),
    "interrupted": ("queued",),
    "finished": (),
    "failed": (),
}
ACTIVE: tuple[State, ...] = ("starting", "running", "stopping")
"""States in which processes of the run may live."""
RESUMABLE: tuple[State, ...] = ("stopped", "paused", "interrupted")

STATUS_FILE = "status.json"
# Boot time, from which psutil computes start times on Linux, moves by up to a second when the clock is set.
_START_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A process beyond doubt: `pid` with `started` (unix seconds), since pids are given out again."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Mark:
        """The mark of a living process. Raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < _START_TOLERANCE_S and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


@dataclass(frozen=True, slots=True)
class Status:
    """What status.json says. Times are unix seconds; `exit_code` is the outcome's (errors.py), or a process's negative signal number.

    `attempt` counts starts of this run; `events_offset` and `log_offset` are the sizes of events.jsonl and log.txt when the last one began: outcomes
    before them are history. `unsupervised` is never stored: it says that the recorded supervisor is gone while the state still needs one.
    """

    state: State = "queued"
    reason: str = ""
    fix: str = ""
    exit_code: int | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    supervisor: Mark | None = None
    launcher: Mark | None = None
    attempt: int = 0
    events_offset: int = 0
    log_offset: int = 0
    unsupervised: bool = False

    @property
    def is_active(self) -> bool:
        """Whether processes of the run may live."""
        return self.state in ACTIVE

    @property
    def is_resumable(self) -> bool:
        """Whether the run may go on in the same folder."""
        return self.state in RESUMABLE


def move(status: Status, state: State, **facts: Any) -> Status:
    """The one function that changes a run's state; `facts` replace other fields. An illegal move is our bug."""
    assert state in ALLOWED[status.state], f"{status.state} -> {state}"
    return replace(status, state=state, **facts)


def write_status(run: Path, status: Status) -> None:
    """Replace status.json as a whole, so a reader at any moment sees the old one or the new one. Only the holder of the run's lock calls this."""
    record = {name: value for name, value in asdict(status).items() if name != "unsupervised"}
    write_whole(run / STATUS_FILE, json.dumps(record, indent=1, ensure_ascii=False))


def read_recorded(run: Path) -> Status:
    """status.json as it was written, true or not. Raises FileNotFoundError, and ValueError where it is no status."""
    record = json.loads((run / STATUS_FILE).read_text("utf-8"))
    if not isinstance(record, dict) or record.get("state") not in ALLOWED:
        raise ValueError(f"{run / STATUS_FILE} holds no status")
    known = {field.name for field in dataclasses.fields(Status)}
    facts = {name: value for name, value in record.items() if name in known}
    for name in ("supervisor", "launcher"):
        facts[name] = Mark(**facts[name]) if facts.get(name) else None
    return Status(**facts)


def write_whole(path: Path, text: str, *, private: bool = False) -> None:
    """Replace a text file atomically; `private` makes it readable by its owner alone."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666), "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    replace_file(fresh, path)


def replace_file(fresh: Path, path: Path) -> None:
    """Put `fresh` in the place of `path`, at once and as a whole."""
    # Windows refuses while a reader has the target open, for the moment that it reads.
    tries = 50 if sys.platform == "win32" else 1
    for left in reversed(range(tries)):
        try:
            fresh.replace(path)
            return
        except PermissionError:
            if not left:
                raise
            time.sleep(0.02)
