"""Every change of captions, on disk before it is made: what can be taken back, also after a restart, and the texts as they were.

The file is a line of facts and a line of changes by turns. Opening it reads the facts and skips the changes, so a long history costs little.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from kohya_gui.text import say
from sd_scripts.errors import RunError

State = Literal["done", "undone", "dropped", "void"]
"""Done; taken back; taken back and overtaken by another change; never made, since no file could be written."""
DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Change:
    """One file before and after; None where there is no file."""

    path: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One step that can be taken back: when (unix seconds), of what kind and with which words, in which folders, how many files, and where its
    changes stand."""

    id: int
    time: float
    kind: str
    words: str
    folders: frozenset[str]
    count: int
    offset: int
    length: int
    state: State = "done"


@dataclass
class Journal:
    """The changes of one user. Several programs may write to the same file: what others wrote is read before each use."""

    path: Path
    _steps: dict[int, Operation] = field(default_factory=dict)
    _recent: dict[int, frozenset[str]] = field(default_factory=dict)
    _read: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def record(self, kind: str, words: str, changes: Sequence[Change]) -> Operation:
        """Write down a step that is about to be made; `kind` and `words` are what `caption_edits.title` makes a sentence of.

        Raises:
            RunError: it cannot be written, so nothing may be changed.
        """
        with self._lock:
            self._catch_up()
            payload = json.dumps([_packed(change) for change in changes], ensure_ascii=False, separators=(",", ":")).encode()
            number = max(self._steps, default=0) + 1
            folders = sorted({str(Path(change.path).parent) for change in changes})
            facts = {"id": number, "t": time.time(), "kind": kind, "words": words, "folders": folders, "files": len(changes), "bytes": len(payload)}
            self._append(json.dumps(facts, ensure_ascii=False).encode() + b"\n" + payload + b"\n")
            self._catch_up()
            return self._steps[number]

    def mark(self, operation: Operation, state: Literal["done", "undone", "void"]) -> None:
        """Write down that a step was taken back, made again, or came to nothing. Raises RunError."""
        with self._lock:
            self._append(json.dumps({"mark": state, "id": operation.id}).encode() + b"\n")
            self._catch_up()

    def undoable(self, folders: Iterable[str]) -> Operation | None:
        """The last step in these folders that is not taken back."""
        return next((operation for operation in reversed(self._in(folders)) if operation.state == "done"), None)

    def redoable(self, folders: Iterable[str]) -> Operation | None:
        """The first step in these folders that was taken back and can be made again."""
        return next((operation for operation in self._in(folders) if operation.state == "undone"), None)

    def changes(self, operation: Operation) -> list[Change]:
        """The files of a step.

        Raises:
            RunError: the journal is damaged.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(operation.offset)
                return [_unpacked(record) for record in json.loads(file.read(operation.length))]
        except (OSError, ValueError, KeyError, TypeError) as reason:
            raise RunError(say("The journal of captions cannot be read: {path}.", path=self.path), fix=say("Nothing was changed.")) from reason

    def edited(self, *, now: float | None = None) -> frozenset[str]:
        """Files that steps of the last 24 hours changed, without what was taken back."""
        since = (time.time() if now is None else now) - DAY_SECONDS
        with self._lock:
            self._catch_up()
            recent = [operation for operation in self._steps.values() if operation.state == "done" and operation.time >= since]
            for operation in recent:
                if operation.id not in self._recent:
                    self._recent[operation.id] = frozenset(change.path for change in self.changes(operation))
            return frozenset().union(*(self._recent[operation.id] for operation in recent))

    def _in(self, folders: Iterable[str]) -> list[Operation]:
        with self._lock:
            self._catch_up()
            wanted = frozenset(folders)
            return [operation for operation in self._steps.values() if operation.folders & wanted]

    def _append(self, lines: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as file:
                end = file.seek(0, 2)
                # A crash may have left half a line; what follows must not be read as the rest of it.
                if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
                    lines = b"\n" + lines
                file.seek(0, 2)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as reason:
            message = say(
                "The change cannot be written down in {path}: {reason}. No caption was changed.", path=self.path, reason=reason.strerror or reason
            )
            raise RunError(message, fix=say("Free space on that disk.")) from reason

    def _catch_up(self) -> None:
        """Read what was written since the last time."""
        try:
            if self.path.stat().st_size <= self._read:
                return
            with self.path.open("rb") as file:
                file.seek(self._read)
                while line := file.readline():
                    if not line.endswith(b"\n"):
                        break
                    self._take(_facts(line), file)
                    self._read = max(self._read, file.tell())
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as reason:
            raise RunError(say("The journal of captions cannot be read: {path}.", path=self.path), fix=say("Check its permissions.")) from reason

    def _take(self, facts: dict[str, Any], file: Any) -> None:
        """One line of facts; the file stands behind it."""
        if "mark" in facts:
            if facts.get("id") in self._steps:
                self._steps[facts["id"]] = replace(self._steps[facts["id"]], state=facts["mark"])
            return
        if "bytes" not in facts:
            return
        offset, length = file.tell(), int(facts["bytes"])
        first = file.read(1)
        file.seek(offset + length - 1)
        if (first, file.read(2)) != (b"[", b"]\n"):
            # The changes break off: the program ended before it made any of them.
            file.seek(offset)
            return
        named, folders = (str(facts["kind"]), str(facts["words"])), frozenset(facts["folders"])
        step = Operation(int(facts["id"]), float(facts["t"]), *named, folders, int(facts["files"]), offset, length)
        for other in list(self._steps.values()):
            if other.state == "undone" and other.folders & step.folders:
                self._steps[other.id] = replace(other, state="dropped")
        self._steps[step.id] = step


def _facts(line: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(line)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _packed(change: Change) -> dict[str, Any]:
    return {"path": change.path, **_named("before", change.before), **_named("after", change.after)}


def _named(name: str, content: bytes | None) -> dict[str, str]:
    """Bytes as a person can read them where they are UTF-8; nothing where there is no file."""
    if content is None:
        return {}
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}


def _unpacked(record: dict[str, Any]) -> Change:
    return Change(record["path"], _bytes(record, "before"), _bytes(record, "after"))


def _bytes(record: dict[str, Any], name: str) -> bytes | None:
    if f"{name}_base64" in record:
        return base64.b64decode(record[f"{name}_base64"])
    return record[name].encode() if name in record else None
