"""Reading the files that a trainer appends to, by byte offset: the cost depends on what is new, not on the run's length."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from sd_scripts.params.events import EVENTS_FILE

__all__ = ["EVENTS_FILE", "LOG_FILE", "parse_event", "read_all_events", "read_events", "read_log", "read_tail"]

LOG_FILE = "log.txt"
_TAIL_BYTES = 65_536


def read_events(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Events after byte `offset`, and the offset to ask from next time.

    A last line without a newline is left for the next call: the trainer is writing it. A line that is no event is passed over: a killed writer leaves
    halves. A file that does not exist yet has no events; after one shrank, the next call reads from its start.
    """
    data = _read_from(path, offset)
    if data is None:
        return [], 0
    whole, newline, _ = data.rpartition(b"\n")
    events = [event for line in whole.splitlines() if (event := parse_event(line)) is not None]
    return events, offset + len(whole) + len(newline)


def read_all_events(path: Path, *, offset: int = 0) -> list[dict[str, Any]]:
    """Every whole event line of a file from byte `offset` on."""
    return read_events(path, offset)[0]


def read_log(path: Path, offset: int, *, limit: int = 262_144) -> tuple[str, int]:
    """At most `limit` bytes of text after byte `offset`, and the offset to ask from next time.

    A multi-byte character at the cut is left for the next call; bytes that are no UTF-8 become U+FFFD.
    """
    data = _read_from(path, offset, limit)
    if data is None:
        return "", 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    pending = len(decoder.getstate()[0])
    return text, offset + len(data) - pending


def read_tail(path: Path, *, offset: int = 0, size: int = _TAIL_BYTES) -> bytes:
    """The last `size` bytes of a file, none of them before `offset`; empty if there is no such file."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(offset, path.stat().st_size - size))
        return file.read()


def parse_event(line: bytes, *, kind: str = "") -> dict[str, Any] | None:
    """One event, or None if the line is none. `kind` is for records that do not carry it themselves."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict):
        return None
    event.setdefault("kind", kind)
    return event if event["kind"] and isinstance(event["kind"], str) else None


def _read_from(path: Path, offset: int, limit: int = -1) -> bytes | None:
    """Bytes from `offset`; None if there is no file, or it ends before `offset` (the next read then starts anew)."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < offset:
                return None
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return None
