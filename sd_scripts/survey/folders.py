"""Folders of pictures: kohya's `<repeats>_<class tokens>` below `train_data_dir` and `reg_data_dir`, and plain folders, which are our addition."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError, DataError
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders, Masks, MetadataFile, Regularisation
from sd_scripts.params.problem import Problem, warning
from sd_scripts.survey.dataset_options import from_command_line, make_dataset, make_subset
from sd_scripts.survey.datasets import Blueprint, Subset
from sd_scripts.survey.metadata_file import read_metadata
from sd_scripts.survey.picture_names import EXTENSIONS, holds_pictures

_MANY_REPEATS = 1000
_NAMED = 5


def existing_folder(field: str, text: str | None, *, what: str) -> Path:
    """The folder that `text` names.

    Raises:
        ConfigError: none is named, or it is missing, no folder, or may not be read.
    """
    if not text:
        raise ConfigError(field, f"No folder of {what} is given.", fix="Name one.")
    folder = Path(text)
    if not folder.exists():
        raise ConfigError(field, f"The folder {text} does not exist.", fix="Check the path; a relative one starts where the program was started.")
    if not folder.is_dir():
        raise ConfigError(field, f"{text} is a file.", fix="Name the folder that holds the pictures.")
    try:
        os.scandir(folder).close()
    except OSError as reason:
        raise ConfigError(field, f"The folder {text} cannot be read ({reason.strerror}).", fix="Change its permissions.") from reason
    return folder


def existing_metadata(field: str, text: str) -> Path:
    """The metadata file that `text` names.

    Raises:
        ConfigError: it is missing or no metadata file.
    """
    path = Path(text)
    try:
        read_metadata(path)
    except DataError as reason:
        raise ConfigError(field, f"{path}: {reason.message}", fix=reason.fix) from reason
    return path


def datasets_of_folders(config: Config) -> Blueprint:
    """One dataset from the folders of the command line.

    Raises:
        ConfigError: `train_data_dir`, `reg_data_dir` or `in_json` names nothing usable, or an option is wrong.
        DataError: there is no picture in any of the training folders.
    """
    values = from_command_line(config)
    folder = existing_folder("train_data_dir", config[Folders].train_data_dir, what="pictures")
    metadata = config[MetadataFile].in_json if MetadataFile in config else None
    if metadata:
        train = _Found(folder, [make_subset(folder, {**values, "metadata_file": existing_metadata("in_json", metadata)})], [])
    else:
        train = _read("train_data_dir", folder, values)
    if not train.subsets:
        raise DataError(train.refusal, fix=train.fix, path=train.folder)
    found = [train]
    if Regularisation in config and config[Regularisation].reg_data_dir:
        folder = existing_folder("reg_data_dir", config[Regularisation].reg_data_dir, what="regularisation pictures")
        found.append(_read("reg_data_dir", folder, {**values, "is_reg": True, "num_repeats": 1, "class_tokens": None}))
        if not found[1].subsets:
            found[1].problems.append(warning("reg_data_dir", f"{folder}: {found[1].refusal} No regularisation picture is used.", found[1].fix))
    subsets = tuple(_masked(subset, config) for part in found for subset in part.subsets)
    return Blueprint((make_dataset(subsets, values),), "folders", tuple(problem for part in found for problem in part.problems))


@dataclass
class _Found:
    """What one folder of the command line gave; `refusal` and `fix` say why it gave nothing."""

    folder: Path
    subsets: list[Subset]
    problems: list[Problem]
    refusal: str = ""
    fix: str = ""


def _masked(subset: Subset, config: Config) -> Subset:
    """The subset with its masks: a folder of its own name below `conditioning_data_dir`, else, for training pictures, that folder itself."""
    if Masks not in config or not config[Masks].conditioning_data_dir:
        return subset
    folder = existing_folder("conditioning_data_dir", config[Masks].conditioning_data_dir, what="masks")
    own = folder / subset.image_dir.name
    return replace(subset, conditioning_data_dir=own if own.is_dir() else None if subset.is_reg else folder)


def _read(field: str, folder: Path, values: Mapping[str, Any]) -> _Found:
    found = _Found(folder, [], [])
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    unnumbered = []
    for name in names:
        repeats = repeats_of(name)
        if repeats is None:
            unnumbered.append(name)
        elif not holds_pictures(folder / name):
            found.problems.append(warning(field, f"{name} holds no pictures and is not used.", "Put pictures into it or remove it."))
        else:
            if repeats >= _MANY_REPEATS:
                found.problems.append(
                    warning(
                        field, f"{name} means {repeats:,} repeats of each picture.", "Rename it if the number is no count, for example to 1_name."
                    )
                )
            tokens = class_tokens_of(name)
            found.subsets.append(make_subset(folder / name, {**values, "num_repeats": repeats, "class_tokens": tokens}))
    loose = holds_pictures(folder)
    if found.subsets:
        _note_unused(found, field, loose=loose, unnumbered=[name for name in unnumbered if holds_pictures(folder / name)])
    elif loose:
        _use_plain(found, field, values)
    else:
        _refuse(found, unnumbered)
    return found


def repeats_of(name: str) -> int | None:
    """Repeats that a folder's name states before its first "_"; None for a folder that is not used: no number, or one below 1."""
    try:
        repeats = int(name.split("_", 1)[0])
    except ValueError:
        return None
    return repeats if repeats > 0 else None


def class_tokens_of(name: str) -> str:
    """What a folder's name says of its pictures, behind the number of repeats: "sks cat" of "10_sks cat"."""
    return name.split("_", 1)[1] if "_" in name else ""


def _note_unused(found: _Found, field: str, *, loose: bool, unnumbered: list[str]) -> None:
    if loose:
        found.problems.append(
            warning(
                field,
                f"Pictures directly in {found.folder.name} are not used, because it has sub-folders with repeats.",
                f"Move them into one, for example {found.subsets[0].image_dir.name}.",
            )
        )
    if unnumbered:
        shown = ", ".join(unnumbered[:_NAMED]) + (f" and {len(unnumbered) - _NAMED} more" if len(unnumbered) > _NAMED else "")
        found.problems.append(
            warning(
                field,
                f"Pictures in {shown} are not used: the name does not begin with a number of repeats above 0.",
                f"Rename it, for example to 1_{unnumbered[0].lstrip('0_- ') or 'name'}.",
            )
        )


def _use_plain(found: _Found, field: str, values: Mapping[str, Any]) -> None:
    found.subsets.append(make_subset(found.folder, values))
    repeats = repeats_of(found.folder.name)
    if repeats is not None and "_" in found.folder.name and repeats != values["num_repeats"] and field == "train_data_dir":
        found.problems.append(
            warning(
                field,
                f"The number in the folder's own name is not used; each picture comes {values['num_repeats']} times in an epoch.",
                f"Set dataset_repeats to {repeats}, or name the folder above it.",
            )
        )


def _refuse(found: _Found, unnumbered: list[str]) -> None:
    below = [name for name in unnumbered if holds_pictures(found.folder / name)]
    if below:
        found.refusal = f"The pictures lie in {below[0]}, whose name does not begin with a number of repeats above 0."
        found.fix = f"Name {found.folder / below[0]} itself, or rename it to 1_{below[0].lstrip('0_- ') or 'name'}."
    else:
        found.refusal, found.fix = (
            "There are no pictures in this folder.",
            f"Put pictures ({', '.join(EXTENSIONS)}) into it, or into sub-folders like 10_name.",
        )
