"""One subset's folder: its pictures and captions, listed and looked at one by one. What is wrong with them is put into words in `findings`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from sd_scripts.errors import DataError
from sd_scripts.survey.caption_files import CaptionNames, read_caption
from sd_scripts.survey.datasets import Size, Subset
from sd_scripts.survey.info_file import Info, read_info
from sd_scripts.survey.metadata_file import pictures_of, read_metadata
from sd_scripts.survey.picture_file import PictureHeader, read_picture
from sd_scripts.survey.picture_names import holds_pictures, is_picture, stem_of

_REMEMBERED = 1 << 18
_SAME_SHAPE = 0.02
"""Difference of aspect ratios, as a share, that rounding makes when a small mask is drawn for a large picture."""


@dataclass(frozen=True, slots=True)
class Item:
    """One picture. `size` is (width, height) after EXIF rotation, `caption` all lines of its caption file (the subset's class tokens without one).

    `dataset` indexes `blueprint.datasets`, `subset` that dataset's subsets. `repeats` is how often the picture comes in an epoch; regularisation
    pictures are already balanced, so some have 0. `mask` is the file of its mask.
    """

    path: Path
    size: Size
    caption: str
    subset: int
    dataset: int
    repeats: int
    is_reg: bool
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A subset's folder as listed: names of pictures in order, caption files, how many other files of each extension, sub-folders with pictures.

    With a metadata file the names are those of the file, below the folder or absolute; `texts` holds their captions, and `unlisted` names pictures
    of the folder that are not in it. `masks` has files by the pictures' names without ending, `known` what `cache_info` remembers, by path.
    """

    dataset: int
    index: int
    subset: Subset
    pictures: tuple[str, ...]
    captions: CaptionNames
    others: Mapping[str, int]
    nested: tuple[str, ...]
    texts: Mapping[str, str] | None = None
    unlisted: tuple[str, ...] = ()
    masks: Mapping[str, Path] = field(default_factory=dict)
    known: Mapping[str, Info] = field(default_factory=dict)


CaptionState = Literal["text", "blank", "missing", "broken"]


@dataclass(frozen=True, slots=True)
class Look:
    """What looking at one picture gave: an item, or none because of the first of `errors`. `oddities` are keys of `picture_file.ODD_KINDS`,
    or "mask size"."""

    name: str
    item: Item | None = None
    caption: CaptionState = "missing"
    errors: tuple[DataError, ...] = ()
    oddities: tuple[str, ...] = ()


def list_folder(dataset: int, index: int, subset: Subset) -> Listing:
    """List the folder of a subset; hidden files are skipped, links to files count. Raises OSError, and DataError for a bad metadata file."""
    pictures: list[str] = []
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(subset.image_dir) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif is_picture(entry.name):
                pictures.append(entry.name)
            else:
                files.append(entry.name)
    if subset.metadata_file is not None:
        return _of_metadata(dataset, index, subset, pictures)
    extension = subset.caption_extension
    others = Counter(name[len(stem_of(name)) :].lower() for name in files if not name.lower().endswith(extension.lower()))
    nested = tuple(name for name in sorted(folders) if holds_pictures(subset.image_dir / name))
    captions = CaptionNames.of(files, extension)
    known = read_info(subset.image_dir) if subset.cache_info else {}
    return Listing(dataset, index, subset, tuple(sorted(pictures)), captions, dict(others), nested, masks=_masks(subset), known=known)


def _of_metadata(dataset: int, index: int, subset: Subset, pictures: list[str]) -> Listing:
    entries = pictures_of(read_metadata(subset.metadata_file or Path()), subset.image_dir)
    texts = {name: entry.text(subset.captions.caption_separator) for name, entry in entries.items()}
    unlisted = tuple(sorted(name for name in pictures if name not in texts and str(subset.image_dir / name) not in texts))
    return Listing(dataset, index, subset, tuple(texts), CaptionNames(), {}, (), texts, unlisted, masks=_masks(subset))


def _masks(subset: Subset) -> dict[str, Path]:
    """The subset's masks by the names, without ending, of the pictures that they belong to."""
    folder = subset.conditioning_data_dir
    if folder is None:
        return {}
    with os.scandir(folder) as entries:
        names = sorted((entry.name for entry in entries if is_picture(entry.name)), reverse=True)
    return {stem_of(name): folder / name for name in names}


def look(listing: Listing, name: str) -> Look:
    """Read the header and the caption of the picture called `name`. Never raises for a bad file."""
    subset = listing.subset
    path = subset.image_dir / name
    version, known = _version(path), listing.known.get(str(path))
    try:
        header = known.header if known is not None and known.seen == version else _header(str(path), *version)
    except DataError as reason:
        return Look(name, errors=(_no_picture(listing, path) or reason,))
    text, state, errors = _text(listing, name)
    caption, mask = text or subset.class_tokens or "", listing.masks.get(stem_of(path.name))
    item = Item(path, header.size, caption, listing.index, listing.dataset, subset.num_repeats, subset.is_reg, mask)
    oddities, wrong = _mask_size(item)
    return Look(name, item, state, errors + wrong, header.oddities + oddities)


def info_of(item: Item, listing: Listing) -> Info:
    """What `cache_info` is to remember of a picture that was looked at. Raises DataError if it has gone bad since."""
    version, name = _version(item.path), listing.captions.find(stem_of(item.path.name))
    text = None if name is None else _version(listing.subset.image_dir / name)
    return Info(_header(str(item.path), *version), version, item.caption, text)


def _mask_size(item: Item) -> tuple[tuple[str, ...], tuple[DataError, ...]]:
    """What is odd or wrong with the size of a picture's mask: it may be larger or smaller than the picture, but not of another shape."""
    if item.mask is None:
        return (), ()
    try:
        width, height = _header(str(item.mask), *_version(item.mask)).size
    except DataError as reason:
        return (), (reason,)
    if (width, height) == item.size:
        return (), ()
    if abs(width / height * item.size[1] / item.size[0] - 1) <= _SAME_SHAPE:
        return ("mask size",), ()
    message = f"The mask is {width}×{height}, but its picture {item.path.name} is {item.size[0]}×{item.size[1]}: another shape."
    return (), (DataError(message, fix="Make the mask as large as its picture.", path=item.mask),)


def _no_picture(listing: Listing, path: Path) -> DataError | None:
    """The error for a picture that a metadata file names and nobody finds; None for any other."""
    if listing.texts is None or path.exists():
        return None
    fix = "Name the folder of the pictures as image_dir or train_data_dir, or take the entry out."
    return DataError(f"{listing.subset.name} names this picture, but it is not there.", fix=fix, path=path)


def _text(listing: Listing, name: str) -> tuple[str, CaptionState, tuple[DataError, ...]]:
    """The caption of a picture, what became of it, and what is wrong with its file."""
    if listing.texts is not None:
        text = listing.texts[name]
        return text, "text" if text else "missing", ()
    caption_name = listing.captions.find(stem_of(name))
    if caption_name is None:
        return "", "missing", ()
    path = listing.subset.image_dir / caption_name
    version, known = _version(path), listing.known.get(str(listing.subset.image_dir / name))
    try:
        text = known.caption if known is not None and known.caption_seen == version else _caption(str(path), *version)
    except DataError as reason:
        return "", "broken", (reason,)
    return text, "text" if text else "blank", ()


def _version(path: Path) -> tuple[int, int]:
    """What changes when a file is written: its time and size. Zeros for one that is not there."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


# A form surveys the same folder after every change of any option, so what unchanged files say is remembered.
@lru_cache(maxsize=_REMEMBERED)
def _header(path: str, _changed_ns: int, _size: int) -> PictureHeader:
    return read_picture(Path(path))


@lru_cache(maxsize=_REMEMBERED)
def _caption(path: str, _changed_ns: int, _size: int) -> str:
    return read_caption(Path(path))
