"""Whether the files that a run promised and reported are really there, whole and unchanged. Names come from run.json and from `save` events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_ZIP = b"PK\x03\x04"


def broken_promises(record: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each file that should be there and is not, or is not what its `save` event recorded.

    Checked are the promised files of run.json (`record`) and all that the trainer says it saved, less those that it says it removed.
    """
    saved: dict[Path, Mapping[str, Any]] = {}
    removed: set[Path] = set()
    for event in events:
        if event["kind"] == "save":
            saved[absolute_path(record, event["path"])] = event
            removed.discard(absolute_path(record, event["path"]))
        elif event["kind"] == "removed":
            removed.add(absolute_path(record, event["path"]))
    wanted = dict.fromkeys([*(absolute_path(record, file["path"]) for file in record.get("promise", ())), *saved])
    return [problem for path in wanted if path not in removed and (problem := _problem(path, saved.get(path)))]


def absolute_path(record: Mapping[str, Any], path: str) -> Path:
    """A path as a trainer wrote it, made absolute by the working directory in run.json."""
    return Path(record.get("cwd", "."), path)


def header_problem(path: Path) -> str:
    """Why a weights file cannot be read, judged by its first bytes and its size; empty if nothing is wrong with them.

    Format: safetensors, 8 bytes header length (little endian), JSON header, tensor bytes. `.ckpt` and `.pt` are zip archives.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if path.suffix != ".safetensors":
            return "" if first.startswith(_ZIP) else f"{path} is no checkpoint: it does not begin like one."
        length = int.from_bytes(first, "little")
        if len(first) < 8 or length > size - 8:
            return f"{path} is cut off after {size:,} bytes."
        try:
            header = json.loads(file.read(length))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        except (ValueError, AttributeError, KeyError, TypeError):
            return f"{path} has a damaged header."
    whole = 8 + length + end
    return "" if whole == size else f"{path} has {size:,} bytes, but its header says {whole:,}."


def _problem(path: Path, event: Mapping[str, Any] | None) -> str:
    if not path.exists():
        return f"The training ended, but {path} is missing."
    if event is None:
        return f"The training ended, but never said that it wrote {path}."
    if path.is_dir():
        return "" if any(path.iterdir()) else f"The saved folder {path} is empty."
    size = path.stat().st_size
    if event.get("bytes") not in (None, size):
        return f"{path} has {size:,} bytes, but {event['bytes']:,} were written."
    if event.get("finite") is False:
        return f"{path} holds values that are no numbers (NaN or Inf)."
    if damage := header_problem(path):
        return damage
    if event.get("sha256") and _sha256(path) != event["sha256"]:
        return f"{path} is not what the trainer wrote: its hash differs."
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
