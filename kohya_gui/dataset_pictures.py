"""Every picture of a dataset config as the page shows it: where it is cut, what its caption says, and what is wrong with it. Plain data, no words."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from sd_scripts.survey.buckets import BucketChoice, choose
from sd_scripts.survey.checks import is_enlarged
from sd_scripts.survey.datasets import Dataset, Size, Subset
from sd_scripts.survey.picture_folder import CaptionState, Listing, Look
from sd_scripts.survey.picture_names import stem_of

LONG_SHAPE = 3.0
"""Longer to shorter side from which on a picture is a strip."""
MUCH_CUT = 0.25
"""Share of a picture whose loss is worth a word."""
NOTES = frozenset(("animated", "CMYK", "16 bit", "palette", "mask size", "class words"))
"""What is worth knowing and needs nobody to do anything."""
ERRORS = frozenset(("unreadable", "encoding", "mask"))
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something with a picture. `detail` is a name, a number or the survey's sentence, by kind."""

    kind: str
    detail: str = ""

    @property
    def severity(self) -> str:
        """error, warning or note."""
        return "error" if self.kind in ERRORS else "note" if self.kind in NOTES else "warning"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a subset. `size` and `cut` are None where it cannot be read; `caption` has all lines of its file, without the class tokens."""

    name: str
    path: Path
    size: Size | None = None
    cut: BucketChoice | None = None
    caption: str = ""
    caption_state: CaptionState = "missing"
    troubles: tuple[Trouble, ...] = ()

    @property
    def needs_look(self) -> bool:
        """Whether there is more to say of it than notes."""
        return any(trouble.severity != "note" for trouble in self.troubles)

    @property
    def lost(self) -> float:
        """The share of the picture that is cut away."""
        if self.cut is None:
            return 0.0
        return 1 - self.cut.bucket[0] * self.cut.bucket[1] / (self.cut.resized[0] * self.cut.resized[1])


@dataclass(frozen=True, slots=True)
class SubsetPictures:
    """What a subset's folder holds. `other_ending` is one that captions have instead of the one that is asked for; `nested` are folders below."""

    subset: Subset
    dataset: Dataset
    pictures: tuple[Picture, ...]
    other_ending: str = ""
    nested: tuple[str, ...] = ()
    captions: int = 0
    by_name: Mapping[str, Picture] = field(default_factory=dict, compare=False)


def pictures_of(listing: Listing, looks: Sequence[Look], dataset: Dataset, *, masks: bool, other_ending: str = "") -> SubsetPictures:
    """The pictures of a subset from what the survey found. `masks`: every picture needs one."""
    stems = Counter(stem_of(look.name) for look in looks)
    made = []
    for look in looks:
        troubles = [*_errors(look, listing), *_captions(look, listing.subset), *_shape(look, dataset, listing.subset)]
        if stems[stem_of(look.name)] > 1:
            troubles.append(Trouble("same name", stem_of(look.name)))
        if masks and look.item is not None and look.item.mask is None and not listing.subset.is_reg and listing.subset.conditioning_data_dir:
            troubles.append(Trouble("no mask"))
        made.append(_picture(look, listing, dataset, troubles))
    texts = sum(look.caption == "text" for look in looks)
    return SubsetPictures(listing.subset, dataset, tuple(made), other_ending, listing.nested, texts, {picture.name: picture for picture in made})


def with_twins(subsets: Iterable[SubsetPictures], on_progress: Callable[[int, int], None]) -> list[SubsetPictures]:
    """The same with a trouble at every picture whose content another file has too; the first of them is named.

    Only files of equal size are read.
    """
    subsets = list(subsets)
    sizes: dict[int, dict[Path, None]] = defaultdict(dict)
    for found in subsets:
        for picture in found.pictures:
            if picture.size is not None and (version := _version(picture.path)) is not None:
                sizes[version[1]][picture.path] = None
    alike = [path for paths in sizes.values() if len(paths) > 1 for path in paths]
    first: dict[str, Path] = {}
    twin: dict[Path, Path] = {}
    for number, path in enumerate(alike):
        on_progress(number, len(alike))
        version = _version(path)
        digest = _digest(str(path), *version) if version is not None else ""
        original = first.setdefault(digest, path) if digest else path
        if original != path:
            twin[path] = original
    return [_with_twins(found, twin) for found in subsets] if twin else subsets


def _with_twins(found: SubsetPictures, twin: Mapping[Path, Path]) -> SubsetPictures:
    made = [
        replace(picture, troubles=(*picture.troubles, Trouble("twin", _near(twin[picture.path], picture.path)))) if picture.path in twin else picture
        for picture in found.pictures
    ]
    return replace(found, pictures=tuple(made), by_name={picture.name: picture for picture in made})


def _near(path: Path, other: Path) -> str:
    return path.name if path.parent == other.parent else f"{path.parent.name}/{path.name}"


def _picture(look: Look, listing: Listing, dataset: Dataset, troubles: Sequence[Trouble]) -> Picture:
    path = listing.subset.image_dir / look.name
    if look.item is None:
        return Picture(look.name, path, troubles=tuple(troubles))
    cut = choose(look.item.size, dataset, random_crop=listing.subset.random_crop)
    caption = look.item.caption if look.caption == "text" else ""
    return Picture(look.name, path, look.item.size, cut, caption, look.caption, tuple(troubles))


def _errors(look: Look, listing: Listing) -> Iterator[Trouble]:
    for reason in look.errors:
        if look.item is None:
            yield Trouble("unreadable", reason.message)
        elif look.item.mask is not None and reason.path == look.item.mask:
            yield Trouble("mask", reason.message)
        else:
            yield Trouble("encoding", reason.path.name if reason.path else "")
    yield from (Trouble(kind) for kind in look.oddities)


def _captions(look: Look, subset: Subset) -> Iterator[Trouble]:
    if look.item is None:
        return
    if look.caption in ("missing", "blank"):
        if subset.class_tokens:
            yield Trouble("class words", subset.class_tokens)
        else:
            yield Trouble("no caption" if look.caption == "missing" else "blank caption")
    elif "\n" in look.item.caption and not subset.captions.enable_wildcard:
        yield Trouble("lines", f"{look.item.caption.count(chr(10)) + 1:,}")


def _shape(look: Look, dataset: Dataset, subset: Subset) -> Iterator[Trouble]:
    if look.item is None:
        return
    size = look.item.size
    if is_enlarged(size, dataset):
        yield Trouble("small", f"{dataset.resolution[0]} × {dataset.resolution[1]}")
    if max(size) / min(size) >= LONG_SHAPE:
        yield Trouble("long", f"{max(size) / min(size):.1f}")
    cut = choose(size, dataset, random_crop=subset.random_crop)
    lost = 1 - cut.bucket[0] * cut.bucket[1] / (cut.resized[0] * cut.resized[1])
    if lost > MUCH_CUT and not subset.random_crop:
        yield Trouble("cut", f"{lost:.0%}")


def _version(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=1 << 17)
def _digest(path: str, _changed_ns: int, _size: int) -> str:
    """A hash of a file's content; "" for one that cannot be read."""
    digest = hashlib.blake2b(digest_size=20)
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
