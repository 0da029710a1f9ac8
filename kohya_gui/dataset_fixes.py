"""What the Dataset page does to files: pictures set aside and brought back, captions turned into UTF-8. Nothing is deleted, nothing overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.caption_text import ENCODINGS, put, read_bytes, recoded
from kohya_gui.text import say
from sd_scripts.errors import DataError, RunError
from sd_scripts.survey.caption_files import OTHER_EXTENSIONS, meant_text
from sd_scripts.survey.picture_names import is_picture, stem_of

ASIDE = ".set-aside"
"""In the folder of the pictures: hidden, so that no trainer uses what lies in it, and near, so that everybody finds it."""
BEFORE = "before-utf-8"
"""In that: captions as they were before they were written anew."""
ENCODING_NAMES = {
    "cp1252": "Western European (Windows)",
    "shift_jis": "Japanese (Shift JIS)",
    "gb18030": "Chinese (GB 18030)",
    "big5": "Chinese (Big5)",
    "euc_kr": "Korean (EUC-KR)",
    "cp1251": "Cyrillic (Windows)",
    "utf-16-le": "UTF-16 without its mark",
}
LONGEST_READING = 80


@dataclass(frozen=True, slots=True)
class ReadAs:
    """How a caption that is not UTF-8 reads in another encoding."""

    encoding: str
    title: str
    text: str


def set_aside(picture: Path) -> Path:
    """Move a picture, and the captions of its name, out of the dataset; where the picture lies then.

    A caption stays if another picture has the same name with another ending: it is that one's too.

    Raises:
        DataError: the picture is not there.
        RunError: it cannot be moved.
    """
    if not picture.is_file() or not is_picture(picture.name):
        raise DataError(say("The picture is not there any more."), path=picture)
    stem = stem_of(picture.name)
    shared = any(is_picture(name) and stem_of(name) == stem and name != picture.name for name in _names(picture.parent))
    captions = [] if shared else [name for name in _names(picture.parent) if stem_of(name) == stem and name.lower().endswith(OTHER_EXTENSIONS)]
    return _moved_together(picture.parent, picture.parent / ASIDE, [picture.name, *captions])


def bring_back(folder: Path, name: str) -> Path:
    """Move a picture that was set aside, and its captions, back into `folder`; where it lies then.

    Raises:
        DataError: it is not among those, or a file of that name is in the folder.
        RunError: it cannot be moved.
    """
    if name not in aside_in(folder):
        raise DataError(say("{name} is not among the pictures that were set aside.", name=repr(name)))
    stem = stem_of(name)
    captions = [other for other in _names(folder / ASIDE) if stem_of(other) == stem and other.lower().endswith(OTHER_EXTENSIONS)]
    there = next((other for other in (name, *captions) if (folder / other).exists()), None)
    if there is not None:
        raise DataError(say("A file of that name is in the folder."), fix=say("Rename one of them."), path=folder / there)
    back = _moved_together(folder / ASIDE, folder, [name, *captions])
    try:
        (folder / ASIDE).rmdir()
    except OSError:
        return back  # others lie there
    return back


def aside_in(folder: Path) -> list[str]:
    """Names of the pictures of a folder that were set aside."""
    return sorted(name for name in _names(folder / ASIDE) if is_picture(name))


def readings(caption: Path) -> list[ReadAs]:
    """How a caption reads in every encoding that its bytes may be in. Raises DataError if it cannot be read."""
    content = read_bytes(caption) or b""
    found = []
    for encoding in ENCODINGS:
        try:
            text = meant_text(recoded(content, encoding, caption).decode())
        except DataError:
            continue
        found.append(ReadAs(encoding, ENCODING_NAMES.get(encoding, encoding), text.partition("\n")[0][:LONGEST_READING]))
    return found


def convert(caption: Path, encoding: str) -> Path:
    """Write a caption anew in UTF-8, read as `encoding`; its bytes as they were are kept beside it. Returns where.

    Raises:
        DataError: it is none of that encoding.
        RunError: it cannot be written.
    """
    if encoding not in ENCODINGS:
        raise DataError(say("{encoding} is not an encoding that is known here.", encoding=repr(encoding)), fix=", ".join(ENCODINGS))
    content = read_bytes(caption)
    if content is None:
        raise DataError(say("The caption is not there any more."), path=caption)
    made = recoded(content, encoding, caption)
    aside = caption.parent / ASIDE / BEFORE
    try:
        aside.mkdir(parents=True, exist_ok=True)
        kept = _free(aside, caption.name, [caption.name])
        with (aside / kept).open("xb") as file:
            file.write(content)
        put(caption, made)
    except OSError as failed:
        raise RunError(
            say("{name} cannot be written: {reason}.", name=caption, reason=failed.strerror), fix=say("Look at the folder's permissions.")
        ) from failed
    return aside / kept


def unconvert(caption: Path, kept: str, encoding: str) -> None:
    """Give a caption that `convert` wrote anew its bytes back, which lie under the name `kept`.

    Raises:
        DataError: they are gone, or the caption was changed since.
        RunError: it cannot be written.
    """
    before = caption.parent / ASIDE / BEFORE
    if kept not in set(_names(before)) or encoding not in ENCODINGS:
        raise DataError(say("The caption as it was is not there any more."), path=before)
    content = (before / kept).read_bytes()
    if read_bytes(caption) != recoded(content, encoding, caption):
        raise DataError(say("The caption was changed since."), fix=say("Look at the folder anew."), path=caption)
    try:
        put(caption, content)
        (before / kept).unlink()
    except OSError as failed:
        raise RunError(
            say("{name} cannot be written: {reason}.", name=caption, reason=failed.strerror), fix=say("Look at the folder's permissions.")
        ) from failed
    for folder in (before, before.parent):
        with suppress(OSError):  # others lie there
            folder.rmdir()


def _moved_together(source: Path, target: Path, names: list[str]) -> Path:
    """Move files of one stem, all or none; under another stem where one of their names is taken."""
    stem, free = stem_of(names[0]), stem_of(_free(target, names[0], names))
    moved: list[tuple[Path, Path]] = []
    try:
        target.mkdir(exist_ok=True)
        for name in names:
            place = target / f"{free}{name[len(stem) :]}"
            (source / name).rename(place)
            moved.append((source / name, place))
    except OSError as failed:
        for before, place in moved:
            place.rename(before)
        raise RunError(
            say("{name} cannot be moved: {reason}.", name=source / names[0], reason=failed.strerror), fix=say("Look at the folder's permissions.")
        ) from failed
    return moved[0][1]


def _free(folder: Path, name: str, names: list[str]) -> str:
    """`name`, with a number if one of `names` is taken in `folder`."""
    stem = stem_of(name)
    taken = set(_names(folder))
    number = 1
    while True:
        mark = "" if number == 1 else f"-{number}"
        if not any(f"{stem}{mark}{other[len(stem) :]}" in taken for other in names):
            return f"{stem}{mark}{name[len(stem) :]}"
        number += 1


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from [entry.name for entry in entries if entry.is_file(follow_symlinks=False) or entry.is_symlink()]
    except FileNotFoundError:
        return
