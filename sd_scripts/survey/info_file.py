"""`cache_info`: sizes and captions of a folder's pictures in one file beside them, so that a later start need not open each.

The file has kohya's name and shape, {path: {"caption": text, "resolution": [width, height]}}, and marks of ours: time and size of picture and
caption file when they were read. An entry counts only while its marks still fit; one without marks, as kohya writes them, is read anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sd_scripts.errors import RunError
from sd_scripts.survey.picture_file import PictureHeader

INFO_FILE = "metadata_cache.json"
Version = tuple[int, int]
"""What changes when a file is written: its time in nanoseconds, and its size."""


@dataclass(frozen=True, slots=True)
class Info:
    """What is known of a picture. `caption_seen` is the version of its caption file, None where there was none."""

    header: PictureHeader
    seen: Version
    caption: str
    caption_seen: Version | None


def read_info(folder: Path) -> dict[str, Info]:
    """Entries of a folder's file, by path, that carry our marks. Nothing for a file that is missing or is no such file."""
    known = {}
    for path, entry in (_stored(folder / INFO_FILE) or {}).items():
        try:
            width, height = map(int, entry["resolution"])
            time, size = map(int, entry["seen"])
            text = entry["caption_seen"]
            header = PictureHeader((width, height), tuple(map(str, entry["oddities"])))
            known[path] = Info(header, (time, size), str(entry["caption"]), None if text is None else (int(text[0]), int(text[1])))
        except (KeyError, TypeError, ValueError, IndexError):
            continue
    return known


def write_info(folder: Path, entries: Iterable[tuple[Path, Info]]) -> None:
    """Write a folder's file whole, or leave it as it is. Entries of pictures that are not among `entries` go.

    Raises:
        RunError: it cannot be written, or a file of that name is something else.
    """
    path = folder / INFO_FILE
    if path.exists() and _stored(path) is None:
        raise RunError(f"{path} is no list of pictures, so it is left alone.", fix="Move it away, or turn cache_info off.")
    content = {
        str(picture): {
            "caption": info.caption,
            "resolution": list(info.header.size),
            "oddities": list(info.header.oddities),
            "seen": list(info.seen),
            "caption_seen": info.caption_seen,
        }
        for picture, info in entries
    }
    part = path.with_name(f".{INFO_FILE}.part")
    try:
        part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {error.strerror}.", fix="Make the folder writable, or turn cache_info off.") from error


def _stored(path: Path) -> Mapping[str, Mapping[str, Any]] | None:
    """The file's content; None for a file that is missing or is something else."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(content, dict) and all(isinstance(entry, dict) and "resolution" in entry for entry in content.values())
    return content if whole else None
