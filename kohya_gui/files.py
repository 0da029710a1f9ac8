"""Which files the page may see, and how they are handed out: under an allowed root, links resolved, with a fixed content type."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sd_scripts.errors import DataError

PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif", ".bmp": "image/bmp"}
TEXTS = (".txt", ".toml", ".json", ".jsonl", ".log", ".caption", ".md")
WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
LONGEST_LISTING = 2000
"""Entries of one folder that are shown; a dataset of 100,000 pictures is not a list to scroll."""


@dataclass(frozen=True, slots=True)
class Roots:
    """The folders that the page may read and write."""

    folders: tuple[Path, ...]

    def resolve(self, text: str | Path) -> Path:
        """`text` as an absolute path with links followed.

        Raises:
            DataError: it lies outside every root, or is no path.
        """
        try:
            path = Path(text).expanduser().resolve()
        except (OSError, ValueError, RuntimeError) as failed:
            raise DataError(f"{str(text)!r} is not a path.", fix="Type or browse to a file or folder.") from failed
        if not any(path == root or root in path.parents for root in self.folders):
            raise DataError(
                "The page may not open this place.",
                fix="Choose a place under an allowed folder, or add it to allowed_roots in config.toml.",
                path=path,
            )
        return path

    def allows(self, text: str | Path) -> bool:
        """Whether `resolve` would return."""
        try:
            self.resolve(text)
        except DataError:
            return False
        return True

    def hides(self, path: Path) -> bool:
        """Whether a resolved path leads through a name with a point in front, below every root that it lies in: programs keep their keys there."""
        inside = [path.relative_to(root).parts for root in self.folders if path == root or root in path.parents]
        return all(any(part.startswith(".") for part in parts) for parts in inside)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a folder: its name, whether it is a folder, and the bytes of a file."""

    name: str
    folder: bool
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder's entries, folders first; `parent` is None at a root; `hidden` counts what was left out for length."""

    path: Path
    parent: Path | None
    entries: tuple[Entry, ...]
    hidden: int


def list_folder(roots: Roots, text: str, *, want: Literal["file", "folder", "any"] = "any") -> Listing:
    """The contents of a folder; of the folder that holds it, if `text` is a file or does not exist.

    Hidden entries and links out of the roots are left out.

    Raises:
        DataError: the place is not allowed, or cannot be read.
    """
    path = roots.resolve(text or roots.folders[0])
    while not path.is_dir() and path != path.parent:
        path = path.parent
    path = roots.resolve(path)
    try:
        with os.scandir(path) as found:
            entries = [entry for item in found if (entry := _entry(roots, item)) is not None]
    except OSError as failed:
        raise DataError(f"The folder cannot be read: {failed.strerror}.", fix="Check its permissions.", path=path) from failed
    entries = [entry for entry in entries if entry.folder or want != "folder"]
    entries.sort(key=lambda entry: (not entry.folder, entry.name.casefold()))
    parent = path.parent if path.parent != path and roots.allows(path.parent) else None
    return Listing(path, parent, tuple(entries[:LONGEST_LISTING]), max(0, len(entries) - LONGEST_LISTING))


def content_type(path: Path) -> tuple[str, bool]:
    """The fixed content type for a file, and whether it is shown in the page (else it is a download). Nothing is ever served as HTML or script.

    Raises:
        DataError: files of this kind are not handed out.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return PICTURES[suffix], True
    if suffix in TEXTS:
        return "text/plain; charset=utf-8", True
    if suffix in WEIGHTS:
        return "application/octet-stream", False
    kind = f"Files of the kind {suffix} are not handed out."
    raise DataError(kind if suffix else "Files without an ending are not handed out.", fix="Pictures, texts and weights are.", path=path)


def _entry(roots: Roots, item: os.DirEntry[str]) -> Entry | None:
    if item.name.startswith("."):
        return None
    try:
        if item.is_symlink() and not roots.allows(item.path):
            return None
        folder = item.is_dir()
        return Entry(item.name, folder, 0 if folder else item.stat().st_size)
    except OSError:
        return None
