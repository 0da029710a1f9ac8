"""Pictures that a browser sends: files and zips into a new folder. Names are kept, nothing is overwritten, nothing lands outside of that folder."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kohya_gui.text import say, size
from sd_scripts.errors import DataError, RunError
from sd_scripts.survey.caption_files import OTHER_EXTENSIONS
from sd_scripts.survey.folders import class_tokens_of, repeats_of
from sd_scripts.survey.picture_names import EXTENSIONS, holds_pictures, is_picture

ENDINGS = (*EXTENSIONS, *OTHER_EXTENSIONS, ".json", ".jsonl")
"""What belongs to a dataset: pictures, captions, metadata files."""
ZIP = ".zip"
WORK = ".receiving-"
"""How a folder begins that a file is received in, inside of that which is being filled: hidden, so that no listing takes it for pictures.

Each file has one of its own: nobody takes away what another is about to write into.
"""
CHUNK = 1 << 20
DEEPEST, LONGEST_PART = 8, 200
SPARE_BYTES = 500_000_000
"""What stays free on the disk."""
FORBIDDEN = '<>:"|?*'
"""Letters that a folder's name cannot have everywhere."""
MANY_REPEATS = 1000
REGULARISATION = "reg"
"""A folder of this name holds regularisation pictures, in kohya's layout."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one upload may hold, unpacked."""

    bytes: int = 20_000_000_000
    files: int = 200_000

    def words(self) -> str:
        """The limit for people."""
        return size(self.bytes)


LIMITS = Limits()


@dataclass
class Received:
    """Names of files that were kept, and of those that were left out, each with its reason."""

    kept: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)


class Cancelled(DataError):
    """Whoever sends a file does not want it kept any more."""

    def __init__(self) -> None:
        super().__init__(say("The upload was cancelled."))


def never() -> bool:
    """Nobody cancels."""
    return False


def new_folder(parent: Path, wanted: str) -> Path:
    """A new folder in `parent`, called as wanted, with a number where there is one of that name.

    Raises:
        RunError: it cannot be made.
    """
    name = "".join("_" if letter in FORBIDDEN or letter in "/\\" or ord(letter) < 32 else letter for letter in wanted)
    name = name.strip(" .")[:LONGEST_PART] or "pictures"
    number = 1
    while True:
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
        except OSError as failed:
            raise RunError(f"{path} cannot be made: {failed.strerror}.", fix="Choose another datasets_dir in config.toml.") from failed


def receive(folder: Path, name: str, chunks: Iterable[bytes], *, limits: Limits = LIMITS, cancelled: Callable[[], bool] = never) -> Received:
    """Take one file that was sent as `name` ("10_cat/a.png" keeps its folder); a zip is unpacked where it would lie.

    Raises:
        Cancelled: it is not wanted any more. Nothing is kept then, nor in the next case.
        DataError: the name leads out of the folder, the file is too large, or a zip is damaged or none.
        RunError: the disk is full, or the folder cannot be written.
    """
    parts = safe_parts(name)
    refused = _refusal(parts)
    if refused and not name.lower().endswith(ZIP):
        for _ in chunks:  # the browser shows no answer before it has sent everything
            pass
        return Received(left=[(name, refused)])
    try:
        with tempfile.TemporaryDirectory(prefix=WORK, dir=folder, ignore_cleanup_errors=True) as work:
            part = Path(work) / "part"
            _write(part, _while_wanted(chunks, cancelled), name, limits.bytes)
            if name.lower().endswith(ZIP):
                return unpack(part, folder, below=parts[:-1], limits=limits, cancelled=cancelled)
            return _placed(part, folder, parts)
    except OSError as failed:
        raise RunError(f"{name} cannot be kept in {folder}: {failed.strerror}.", fix="Free space, or look at the folder's permissions.") from failed


def _while_wanted(chunks: Iterable[bytes], cancelled: Callable[[], bool]) -> Iterator[bytes]:
    for chunk in chunks:
        if cancelled():
            raise Cancelled
        yield chunk


def unpack(archive: Path, folder: Path, *, below: tuple[str, ...] = (), limits: Limits = LIMITS, cancelled: Callable[[], bool] = never) -> Received:
    """Unpack the pictures and captions of a zip `below` folders of `folder`: all of it, or nothing where something is wrong with it.

    It is unpacked beside itself first, where whoever calls cleans up.

    Raises:
        Cancelled: it is not wanted any more.
        DataError: it is no zip, damaged, locked with a password, too large, or names places outside of itself.
        RunError: the disk would be full.
    """
    received = Received()
    work = archive.with_name("unpacked")
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = list(_wanted(opened.infolist(), received, below))
            _check_size([entry for entry, _ in wanted], folder, limits)
            left = limits.bytes
            for entry, parts in wanted:
                path = work.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _extract(opened, entry, path, most=left, cancelled=cancelled)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as failed:
        raise DataError(say("The zip is damaged or of a kind that cannot be read: {reason}.", reason=failed), fix=say("Pack it anew.")) from failed
    for _, parts in wanted:
        placed = _placed(work.joinpath(*parts), folder, parts)
        received.kept += placed.kept
        received.left += placed.left
    return received


def subsets_in(folder: Path, *, depth: int = DEEPEST) -> list[dict[str, object]]:
    """A subset for every folder of pictures in `folder`, itself among them; 10_cat means 10 repeats and the class tokens "cat"."""
    found: list[dict[str, object]] = []
    for path in _folders(folder, depth):
        if not holds_pictures(path):
            continue
        tokens, repeats = class_tokens_of(path.name), repeats_of(path.name)
        named = bool(tokens and repeats and repeats < MANY_REPEATS)  # 2024_summer is a year
        subset: dict[str, object] = {"image_dir": str(path), "num_repeats": repeats if named else 1}
        if named:
            subset["class_tokens"] = tokens
        if REGULARISATION in path.relative_to(folder.parent).parts[:-1]:
            subset["is_reg"] = True
        endings = caption_endings(path)
        if endings:
            subset["caption_extension"] = endings[0]
        found.append(subset)
    return found


def caption_endings(folder: Path) -> list[str]:
    """Endings of the caption files that lie beside the pictures of a folder, the most frequent first."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    stems = {name.rpartition(".")[0] for name in names if is_picture(name)}
    counts = {ending: sum(name.lower().endswith(ending) and name[: -len(ending)] in stems for name in names) for ending in OTHER_EXTENSIONS}
    return sorted((ending for ending, number in counts.items() if number), key=lambda ending: -counts[ending])


def safe_parts(name: str) -> tuple[str, ...]:
    """The folders and the file of a name that came from outside. Raises DataError if it leads out of the folder that it is put into."""
    parts = tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
    rooted = name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":")
    if rooted or ".." in parts or not parts or "\0" in name:
        raise DataError(say("{name} leads out of the folder.", name=repr(name)), fix=say("Pack the pictures with plain names."))
    return parts


def _is_odd(part: str) -> bool:
    """Whether the file system may refuse a name; Windows is stricter than all others."""
    strict = os.name == "nt" and (any(letter in FORBIDDEN for letter in part) or part != part.rstrip(" ."))
    return strict or any(ord(letter) < 32 for letter in part) or len(part.encode("utf-8", "replace")) > LONGEST_PART


def _refusal(parts: tuple[str, ...]) -> str:
    """Why a file is left out; "" if it belongs to a dataset."""
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return say("hidden")
    if len(parts) > DEEPEST or any(map(_is_odd, parts)):
        return say("its name is too long, too deep or has letters that a file cannot have")
    return "" if parts[-1].lower().endswith(ENDINGS) else say("no picture and no caption")


def _wanted(entries: Iterable[zipfile.ZipInfo], received: Received, below: tuple[str, ...]) -> Iterator[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    """The entries that are unpacked, with the parts of their names; the others are noted."""
    for entry in entries:
        if entry.is_dir():
            continue
        name = _name_of(entry)
        parts = (*below, *safe_parts(name))
        refused = say("a link") if stat.S_ISLNK(entry.external_attr >> 16) else _refusal(parts)
        if refused:
            received.left.append((name, refused))
        elif entry.flag_bits & 1:
            raise DataError(say("The zip is locked with a password."), fix=say("Pack it without one."))
        else:
            yield entry, parts


def _name_of(entry: zipfile.ZipInfo) -> str:
    """The name as it was meant: many programs write UTF-8 without saying so, which is then read in the letters of old DOS."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return entry.filename


def _check_size(entries: list[zipfile.ZipInfo], folder: Path, limits: Limits) -> None:
    total = sum(entry.file_size for entry in entries)
    if total > limits.bytes or len(entries) > limits.files:
        raise DataError(
            say("The zip holds {files} files of {size} together.", files=f"{len(entries):,}", size=size(total)),
            fix=say("At most {files} files and {size} are taken at once; copy it to this machine and name the folder.", **_limit_words(limits)),
        )
    _check_space(folder, total)


def _limit_words(limits: Limits) -> dict[str, str]:
    return {"files": f"{limits.files:,}", "size": size(limits.bytes)}


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free - SPARE_BYTES:
        raise RunError(
            say("{needed} do not fit: {free} are free on that disk.", needed=size(needed), free=size(free)), fix=say("Free space, or name a folder.")
        )


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, *, most: int, cancelled: Callable[[], bool]) -> int:
    """Unpack one file; the number of its bytes. What a zip says of its sizes is not trusted."""
    written = 0
    try:
        with opened.open(entry) as source, path.open("xb") as target:
            while chunk := source.read(CHUNK):
                if cancelled():
                    raise Cancelled
                written += len(chunk)
                if written > most:
                    raise DataError(say("The zip is larger than it says."), fix=say("Do not use it; it may be made to fill the disk."))
                target.write(chunk)
    except FileExistsError:
        return 0
    return written


def _write(part: Path, chunks: Iterable[bytes], name: str, most: int) -> None:
    written = 0
    with part.open("xb") as file:
        for chunk in chunks:
            written += len(chunk)
            if written > most:
                raise DataError(
                    say("{name} is larger than {size}.", name=name, size=size(most)), fix=say("Copy it to this machine and name the folder.")
                )
            if written % (64 * CHUNK) < len(chunk):
                _check_space(part.parent, len(chunk))
            file.write(chunk)


def _placed(part: Path, folder: Path, parts: tuple[str, ...]) -> Received:
    """Move a file to its place, unless there is one."""
    target, name = folder.joinpath(*parts), "/".join(parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb"):
            pass
    except FileExistsError:
        return Received(left=[(name, say("there is a file of that name already"))])
    part.replace(target)
    return Received(kept=[name])


def remove_empty_folders(folder: Path) -> None:
    """Remove a folder that holds nothing but empty folders; of another one those below it that do."""
    for place, _, _ in os.walk(folder, topdown=False):
        try:
            Path(place).rmdir()
        except OSError:
            continue  # something lies in it


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if not depth:
        return
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False))
    for name in names:
        yield from _folders(folder / name, depth - 1)
