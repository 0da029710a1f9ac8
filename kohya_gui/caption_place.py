"""Which folders the Captions page shows, and how their captions are read: those of the form's dataset, or one that was chosen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_gui.files import Roots
from kohya_gui.text import count, say
from sd_scripts.errors import ConfigError, DataError, TrainingError
from sd_scripts.params.config import Config
from sd_scripts.survey.blueprint import read_blueprint
from sd_scripts.survey.dataset_options import from_command_line, make_subset
from sd_scripts.survey.datasets import CaptionRules, Subset
from sd_scripts.survey.folders import class_tokens_of, repeats_of
from sd_scripts.survey.picture_names import EXTENSIONS, holds_pictures

EXTENSION = re.compile(r"\.[A-Za-z0-9_-]{1,16}")
NO_CAPTIONS = (*EXTENSIONS, ".gif", ".npz", ".npy", ".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".json", ".jsonl", ".toml", ".yaml", ".zip")
"""Endings of files that lie beside pictures and hold other things: a caption written there would destroy them."""
DEPTH = 2
"""Folders below the chosen one that are looked into: img/10_cat is two."""
MOST_FOLDERS = 2_000
OPTIONS = ("train_data_dir", "reg_data_dir", "dataset_config", "in_json", "conditioning_data_dir")
"""Options that lead to pictures."""


@dataclass(frozen=True, slots=True)
class CaptionFolder:
    """One folder of pictures: how captions are found and read there. `class_tokens` stand in for a caption that is missing."""

    path: Path
    extension: str
    rules: CaptionRules
    class_tokens: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Folders that are shown together. `root` holds them all; `notes` say what is left out and why."""

    root: Path
    folders: tuple[CaptionFolder, ...]
    notes: tuple[str, ...] = ()

    def with_extension(self, extension: str) -> Place:
        """The place with captions of another ending; the same for "".

        Raises:
            ConfigError: no caption can have that ending.
        """
        if not extension:
            return self
        if not EXTENSION.fullmatch(extension) or extension.lower() in NO_CAPTIONS:
            raise ConfigError("", f"{extension!r} is not an ending of caption files.", fix="Write one such as .txt or .caption.")
        return replace(self, folders=tuple(replace(folder, extension=extension) for folder in self.folders))

    @property
    def class_tokens(self) -> tuple[str, ...]:
        """What stands in for captions, over all folders."""
        return tuple(dict.fromkeys(folder.class_tokens for folder in self.folders if folder.class_tokens))


def form_place(config: Config, roots: Roots) -> Place:
    """The folders that the form's settings train from.

    Raises:
        ConfigError, DataError: there are none, or they may not be opened.
    """
    if _asks_outside(config, roots):
        raise DataError(say("The form names a place that the page may not open."), fix=say("Choose a folder."))
    subsets = [subset for dataset in read_blueprint(config).datasets for subset in dataset.subsets]
    notes = [_metadata_note(subset) for subset in subsets if subset.metadata_file is not None]
    outside = [subset.image_dir for subset in subsets if not roots.allows(subset.image_dir)]
    notes += [say("{folder} is outside the folders that the page may open.", folder=folder) for folder in outside]
    shown = [subset for subset in subsets if subset.metadata_file is None and subset.image_dir not in outside]
    if not shown:
        raise DataError(notes[0] if notes else say("The training has no folder of pictures."), fix=say("Choose a folder."))
    folders = {roots.resolve(subset.image_dir): subset for subset in reversed(shown)}
    made = tuple(_of_subset(path, subset) for path, subset in reversed(folders.items()))
    return Place(_common(list(folders)), made, tuple(dict.fromkeys(notes)))


def chosen_place(text: str, config: Config, roots: Roots) -> Place:
    """A folder that was typed or browsed to, with those below it that hold pictures. Where the form trains from one of them, its rules count.

    Raises:
        DataError: it does not exist, may not be opened, or holds no picture.
    """
    root = roots.resolve(text)
    if not root.is_dir():
        raise DataError(say("There is no such folder."), fix=say("Check the path, or browse to it."), path=root)
    paths = [path for path in _below(root, roots, DEPTH) if holds_pictures(path)]
    if not paths:
        raise DataError(say("There are no pictures in this folder."), fix=say("Choose the folder that holds them."), path=root)
    known = {subset.image_dir.resolve(): subset for subset in _subsets(config, roots)}
    usual = make_subset(root, from_command_line(config))
    folders = tuple(_of_subset(path, known[path]) if path in known else _unknown(path, usual) for path in paths)
    return Place(root, folders)


def _asks_outside(config: Config, roots: Roots) -> bool:
    """Whether the form names a place that the page may not look at."""
    return any(config.given.get(name) and not roots.allows(str(config.given[name])) for name in OPTIONS)


def _subsets(config: Config, roots: Roots) -> list[Subset]:
    """Those of the form; none while its settings are not usable."""
    if _asks_outside(config, roots):
        return []
    try:
        return [subset for dataset in read_blueprint(config).datasets for subset in dataset.subsets if subset.metadata_file is None]
    except (TrainingError, OSError):
        return []


def _of_subset(path: Path, subset: Subset) -> CaptionFolder:
    return CaptionFolder(path, subset.caption_extension, subset.captions, subset.class_tokens or None)


def _unknown(path: Path, usual: Subset) -> CaptionFolder:
    """A folder that no setting names: the form's rules, and the class tokens that its name gives."""
    named = class_tokens_of(path.name) if repeats_of(path.name) else ""
    return CaptionFolder(path, usual.caption_extension, usual.captions, named or usual.class_tokens or None)


def _metadata_note(subset: Subset) -> str:
    return say("The captions of {folder} stand in {file}, which is not edited here.", folder=subset.image_dir.name, file=subset.name)


def _below(root: Path, roots: Roots, depth: int) -> Iterator[Path]:
    """The folder and those below it, links out of the allowed places left out."""
    level, seen = [root], 0
    for _ in range(depth + 1):
        below: list[Path] = []
        for path in level:
            seen += 1
            if seen > MOST_FOLDERS:
                fix = say("Choose one that is nearer to the pictures.")
                raise DataError(say("There are more than {number} folders below this one.", number=count(MOST_FOLDERS)), fix=fix, path=root)
            yield path
            below += _folders_in(path, roots)
        level = below


def _folders_in(path: Path, roots: Roots) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            found = [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
    return sorted((folder for folder in found if not folder.is_symlink() or roots.allows(folder)), key=lambda folder: folder.name.casefold())


def _common(paths: list[Path]) -> Path:
    """The folder that holds all of them; the first one's where they have none in common (drives of Windows)."""
    try:
        return Path(os.path.commonpath(paths))
    except ValueError:
        return paths[0]
