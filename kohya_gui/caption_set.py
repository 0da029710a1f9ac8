"""Pictures and captions of a place, as they are on disk: listed, read once, and looked at again only where something changed."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from kohya_gui.caption_edits import Around
from kohya_gui.caption_place import CaptionFolder, Place
from kohya_gui.caption_tags import key, read_lines, tags_of
from kohya_gui.caption_text import caption_of, read_bytes, version
from kohya_gui.files import Roots
from kohya_gui.text import say
from sd_scripts.errors import DataError
from sd_scripts.survey.caption_files import OTHER_EXTENSIONS, CaptionNames
from sd_scripts.survey.picture_names import is_picture, stem_of

THREADS = 8
CHUNK = 64
_NUMBERS = re.compile(r"(\d+)")
Seen = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture. `name` is its path below the place's root, `file` its caption's, whether it is there or not.

    `body` is the caption's text as an editor shows it, None where it cannot be read, which `problem` explains. `tags` are those of the lines that
    training reads, `keys` the same without case. `shared` is how many further pictures have the same caption file.
    """

    name: str
    picture: str
    file: str
    folder: int
    content: bytes | None
    seen: Seen | None
    body: str | None = ""
    problem: str = ""
    tags: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """What tells this content from another, see `caption_text.version`."""
        return version(self.content)


@dataclass
class CaptionSet:
    """What a place holds. Not to be used by two threads at once without `lock`."""

    place: Place
    roots: Roots
    entries: dict[str, Entry] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    sharers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def refresh(self) -> None:
        """Look at the folders again. What did not change by time and size is not read again."""
        with self.lock:
            before, self.entries = self.entries, {}
            others: Counter[str] = Counter()
            with ThreadPoolExecutor(THREADS) as pool:
                for index, folder in enumerate(self.place.folders):
                    base = _prefix(folder.path, self.place.root)
                    wanted = [self._entry(before, index, base + name, row) for name, row in _listed(folder, others)]
                    fresh = [entry for entry in wanted if entry.body is None and not entry.problem]
                    read = [entry for part in pool.map(self._read_some, _chunks(fresh)) for entry in part]
                    self.entries |= {entry.name: entry for entry in wanted} | {entry.name: entry for entry in read}
            self.others = others
            by_file: dict[str, list[str]] = {}
            for entry in self.entries.values():
                by_file.setdefault(entry.file, []).append(entry.name)
            self.sharers = {file: tuple(names) for file, names in by_file.items() if len(names) > 1}

    def renew(self, names: Iterable[str], *, written: bool = False) -> list[Entry]:
        """The entries of these pictures as they are now; those that are gone are left out.

        `written`: the files were written just now, so that a clock too coarse to tell must not hide it.
        """
        with self.lock:
            made = []
            for name in names:
                entry = self.entries.get(name)
                if entry is None:
                    continue
                seen = _seen(entry.file)
                if written or seen != entry.seen:
                    entry = self._read(replace(entry, seen=seen))
                    self.entries[name] = entry
                made.append(entry)
            return made

    def same_file(self, entry: Entry) -> tuple[str, ...]:
        """Names of all pictures that have this picture's caption file."""
        return self.sharers.get(entry.file, (entry.name,))

    def around(self, entry: Entry, trigger: str, counts: Mapping[str, int] | None = None) -> Around:
        """What an edit has to know of a picture. Without a typed trigger its folder's class tokens are it."""
        folder = self.place.folders[entry.folder]
        return Around(folder.rules, folder.class_tokens, trigger or folder.class_tokens or "", counts)

    def folder_of(self, entry: Entry) -> CaptionFolder:
        """The folder that a picture lies in."""
        return self.place.folders[entry.folder]

    def _entry(self, before: Mapping[str, Entry], index: int, name: str, row: tuple[str, str, Seen | None]) -> Entry:
        picture, file, seen = row
        known = before.get(name)
        if known is not None and known.file == file and known.seen == seen:
            return known
        return Entry(name, picture, file, index, None, seen, None if seen is not None else "")

    def _read_some(self, entries: Sequence[Entry]) -> list[Entry]:
        return [self._read(entry) for entry in entries]

    def _read(self, entry: Entry) -> Entry:
        """The entry with what its caption file says."""
        path, rules = Path(entry.file), self.place.folders[entry.folder].rules
        content: bytes | None = None
        try:
            if path.is_symlink() and not self.roots.allows(path):
                raise DataError(say("The caption is a link out of the folders that the page may open."))
            content = read_bytes(path)
            body = caption_of(content, path).body
        except DataError as reason:
            return replace(entry, content=content, body=None, problem=f"{reason.message} {reason.fix}".strip())
        tags = tuple(tag for line in read_lines(body, rules) for tag in tags_of(line, rules))
        return replace(entry, content=content, body=body, tags=tags, keys=frozenset(key(tag) for tag in tags))


def _listed(folder: CaptionFolder, others: Counter[str]) -> list[tuple[str, tuple[str, str, Seen | None]]]:
    """Pictures of a folder in the order of their names, numbers by value, each with its path, its caption's, and what the disk says of that file."""
    pictures: list[str] = []
    seen: dict[str, Seen] = {}
    endings = (folder.extension.lower(), *OTHER_EXTENSIONS)
    try:
        with os.scandir(folder.path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if is_picture(entry.name):
                    pictures.append(entry.name)
                elif entry.name.lower().endswith(endings) and entry.is_file():
                    stat = entry.stat()
                    seen[entry.name] = (stat.st_mtime_ns, stat.st_size)
    except OSError as reason:
        message = say("The folder cannot be read ({reason}).", reason=reason.strerror or reason)
        raise DataError(message, fix=say("Choose another folder."), path=folder.path) from reason
    others.update(name[len(stem_of(name)) :].lower() for name in seen)
    captions = CaptionNames.of(seen, folder.extension)
    base = f"{folder.path}{os.sep}"
    rows = []
    for name in sorted(pictures, key=_natural):
        caption = captions.find(stem_of(name))
        file = caption if caption is not None else stem_of(name) + folder.extension
        rows.append((name, (base + name, base + file, seen.get(file))))
    return rows


def _prefix(folder: Path, root: Path) -> str:
    """What the names of a folder's pictures begin with, as seen from the root; all of its path where it lies elsewhere (drives of Windows)."""
    if folder == root:
        return ""
    return f"{folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.as_posix()}/"


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in _NUMBERS.split(name.casefold())]


def _seen(file: str) -> Seen | None:
    try:
        stat = os.stat(file)  # noqa: PTH116 - strings, as in the listing
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _chunks(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    return [entries[at : at + CHUNK] for at in range(0, len(entries), CHUNK)]
