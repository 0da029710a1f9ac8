"""Metadata files: captions and tags of many pictures in one JSON or JSONL file, as kohya's preparation tools write them.

JSON holds `{key: {"caption", "tags", "image_size"}}`, JSONL one `{"image_path", "caption", "tags", "image_size"}` per line. A key is a picture's
path, absolute or below the folder of pictures; the older tools leave its extension out. `image_size` is not believed: the picture's header says it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sd_scripts.errors import DataError
from sd_scripts.survey.picture_names import is_picture, stem_of

_REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """What a metadata file says about one picture."""

    caption: str = ""
    tags: str = ""

    def text(self, separator: str) -> str:
        """Every line of the caption with the tags behind it, as one text; the tags alone without a caption.

        The tags follow after `separator`, as kohya joins them: `process_caption` splits there again.
        """
        tags = separator.join(_lines(self.tags))
        lines = _lines(self.caption)
        return "\n".join(f"{line}{separator}{tags}" if tags else line for line in lines) if lines else tags


def read_metadata(path: Path) -> Mapping[str, Entry]:
    """The entries of a metadata file by their keys, in the file's order. Remembered while the file stays the same.

    Raises:
        DataError: the file is missing, is no JSON or JSONL of that shape, or names no picture.
    """
    try:
        stat = path.stat()
    except OSError as reason:
        raise DataError(f"The metadata file cannot be read ({reason.strerror}).", fix="Check the path.", path=path) from reason
    return _read(path, stat.st_mtime_ns, stat.st_size)


def pictures_of(entries: Mapping[str, Entry], folder: Path) -> dict[str, Entry]:
    """Entries by picture instead of by key: a path below `folder`, or an absolute one. A key whose picture is missing stays as it is.

    A key without extension means the first picture of that name. A relative key that is no path below `folder` may be one from the folder where the
    program was started, because kohya's tools write what they were given.
    """
    found: dict[str, Entry] = {}
    listed: dict[Path, dict[str, str]] = {}
    for key, entry in entries.items():
        name = _named(key, folder, listed)
        if name is None and not Path(key).is_absolute():
            name = _named(str(Path.cwd() / key), folder, listed)
        found.setdefault(key if name is None else name, entry)
    return found


def _named(key: str, folder: Path, listed: dict[Path, dict[str, str]]) -> str | None:
    """`key` with its extension; None if there is no such picture. `listed` remembers the pictures of each folder by name and by stem."""
    path = folder / key
    names = listed.get(path.parent)
    if names is None:
        names = listed[path.parent] = dict(_names_in(path.parent))
    name = names.get(path.name)
    return None if name is None else str(Path(key).with_name(name))


def _names_in(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries if is_picture(entry.name)), reverse=True)
    except OSError:
        return
    yield from ((stem_of(name), name) for name in names)
    yield from ((name, name) for name in names)


@lru_cache(maxsize=_REMEMBERED)
def _read(path: Path, _changed_ns: int, _size: int) -> Mapping[str, Entry]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise DataError("The metadata file is not UTF-8.", fix="Save it as UTF-8.", path=path) from reason
    pairs = _json_lines(text, path) if path.suffix.lower() == ".jsonl" else _json_table(text, path)
    entries = {key: _entry(key, value, path) for key, value in pairs}
    if not entries:
        raise DataError("The metadata file names no picture.", fix="Write it anew with the captions of your pictures.", path=path)
    return entries


def _json_table(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    table = _parsed(text, path)
    if not isinstance(table, dict):
        raise DataError(
            'The metadata file is no table {"picture": {"caption": "..."}}.', fix="Name the file that a captioning tool wrote.", path=path
        )
    yield from table.items()


def _json_lines(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            table = _parsed(line, path, f"line {number}: ")
            if not isinstance(table, dict) or not isinstance(table.get("image_path"), str):
                raise DataError(
                    f"Line {number} has no image_path.", fix='Each line must be like {"image_path": "a.png", "caption": "..."}.', path=path
                )
            yield table["image_path"], table


def _parsed(text: str, path: Path, where: str = "") -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as reason:
        raise DataError(f"The metadata file is no valid JSON: {where}{reason}.", fix="Correct it, or write it anew.", path=path) from reason


def _entry(key: str, value: object, path: Path) -> Entry:
    if not isinstance(value, dict):
        raise DataError(f"The entry of {key} is {value!r}.", fix='It must be like {"caption": "...", "tags": "..."}.', path=path)
    texts = {name: value.get(name) or "" for name in ("caption", "tags")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"{name} of {key} is {text!r}, not a text.", fix="Write it in quotation marks.", path=path)
    return Entry(**texts)


def _lines(text: str) -> list[str]:
    return [line for line in (line.strip() for line in text.splitlines()) if line]
