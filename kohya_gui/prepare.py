"""Copying pictures into the layout that kohya's trainers expect: img/<repeats>_<name> <class>, reg/<repeats>_<class>. Originals stay."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sd_scripts.errors import ConfigError, DataError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".jxl")
CAPTIONS = (".txt", ".caption", ".cap")
FORBIDDEN = '<>:"/\\|?*'


@dataclass(frozen=True, slots=True)
class Preparation:
    """One copy: from where, to where, and the parts of the folder's name. Paths exist or can be made; `reg_source` None means no regularisation."""

    source: Path
    destination: Path
    instance: str
    class_: str
    repeats: int = 40
    reg_source: Path | None = None
    reg_repeats: int = 1

    @property
    def image_folder(self) -> Path:
        """Where the training pictures go."""
        return self.destination / "img" / f"{self.repeats}_{self.instance} {self.class_}".rstrip()

    @property
    def reg_folder(self) -> Path:
        """Where the regularisation pictures go."""
        return self.destination / "reg" / f"{self.reg_repeats}_{self.class_}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was made: counts of files copied, and the folders to train from."""

    pictures: int
    captions: int
    reg_pictures: int
    train_data_dir: Path
    reg_data_dir: Path | None


def prepare(wanted: Preparation) -> Prepared:
    """Copy pictures and their captions. Nothing is overwritten: a file that is there with other content stops the copy before it begins.

    Raises:
        ConfigError: a name is missing or cannot be part of a folder's name.
        DataError: a folder is missing, holds no pictures, or a target exists already.
    """
    _check_names(wanted)
    pairs = list(_pairs(wanted.source, wanted.image_folder))
    reg_pairs = list(_pairs(wanted.reg_source, wanted.reg_folder)) if wanted.reg_source else []
    for source, target in (*pairs, *reg_pairs):
        if target.exists() and not filecmp.cmp(source, target, shallow=False):
            raise DataError("A different file of that name is there already.", fix="Choose another destination or remove it.", path=target)
    for source, target in (*pairs, *reg_pairs):
        _copy(source, target)
    pictures = sum(source.suffix.lower() in PICTURES for source, _ in pairs)
    reg = sum(source.suffix.lower() in PICTURES for source, _ in reg_pairs)
    return Prepared(pictures, len(pairs) - pictures, reg, wanted.destination / "img", wanted.destination / "reg" if reg_pairs else None)


def _check_names(wanted: Preparation) -> None:
    if not wanted.instance.strip():
        raise ConfigError("instance", "The pictures need a name.", fix="Write a rare word such as sks, or the thing's name.")
    for field, name in (("instance", wanted.instance), ("class", wanted.class_)):
        bad = next((letter for letter in name if letter in FORBIDDEN or ord(letter) < 32), None)
        if bad is not None:
            raise ConfigError(field, f"{name!r} cannot be a folder's name because of {bad!r}.", fix="Leave that character out.")
    if min(wanted.repeats, wanted.reg_repeats) < 1:
        raise ConfigError("repeats", "Repeats count from 1.", fix="Write 1 or more.")
    if wanted.reg_source and not wanted.class_.strip():
        raise ConfigError("class", "Regularisation pictures need a class.", fix="Write what the thing is, such as cat.")


def _pairs(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    if not source.is_dir():
        raise DataError("The folder does not exist.", fix="Choose the folder with the pictures.", path=source)
    if target == source or target in source.parents or source in target.parents:
        raise DataError("Source and destination lie in one another.", fix="Choose a destination beside the source.", path=target)
    pictures = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURES and path.is_file() and not path.name.startswith("."))
    if not pictures:
        raise DataError("There are no pictures in this folder.", fix=f"Put {', '.join(PICTURES[:4])} files there.", path=source)
    stems = {path.stem for path in pictures}
    captions = sorted(path for path in source.iterdir() if path.suffix.lower() in CAPTIONS and path.stem in stems)
    yield from ((path, target / path.name) for path in (*pictures, *captions))


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    except OSError as failed:
        raise DataError(f"It cannot be copied to {target}: {failed.strerror}.", fix="Check free space and permissions.", path=source) from failed
