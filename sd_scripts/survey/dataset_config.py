"""kohya's dataset config file, TOML or JSON: tables `general` and `datasets` with their `subsets`.

Each key falls back from subset to dataset to general to the command line. `read_document` goes on after a mistake, for an editor that shows what is
usable and what is not; a training takes a file without mistakes alone (`datasets_of_file`).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sd_scripts.errors import ConfigError
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders
from sd_scripts.params.problem import Problem, warning
from sd_scripts.survey.dataset_options import Place, from_command_line, make_dataset, make_subset, typed_keys
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.folders import existing_folder, existing_metadata
from sd_scripts.survey.picture_names import holds_pictures

REPLACED = ("train_data_dir", "reg_data_dir", "in_json")
"""Options that a dataset config stands in for."""
PATH_KEYS = ("image_dir", "metadata_file", "conditioning_data_dir")
FOREIGN_FIX = "Choose a place under an allowed folder, or add it to allowed_roots in config.toml."
T = TypeVar("T")
Spot = tuple[int, ...]
"""Where a table stands in the file: () is general or the file itself, (1,) the second dataset, (1, 0) its first subset."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake: the table that it is in, the key that is to blame ("" for the table as a whole), and what is wrong."""

    spot: Spot
    key: str
    error: ConfigError


@dataclass(frozen=True, slots=True)
class Reading:
    """What a dataset config means, as far as it can be used.

    `blueprint` has the usable subsets, `spots` where each of them stands in the file, in the same order. `faults` come in the order of the file.
    `unused` are subsets without a mistake that are left out all the same, with the reason.
    """

    blueprint: Blueprint
    spots: tuple[tuple[Spot, ...], ...]
    faults: tuple[Fault, ...]
    unused: tuple[tuple[Spot, str], ...]


@dataclass(slots=True)
class _Reader:
    """Collects mistakes on the way through a document."""

    config: Config
    allows: Callable[[str], bool]
    faults: list[Fault] = field(default_factory=list)
    unused: list[tuple[Spot, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def attempt(self, spot: Spot, key: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None after a mistake, which is noted."""
        try:
            return read()
        except ConfigError as reason:
            self.faults.append(Fault(spot, key, reason))
            return None

    def keys(self, table: Mapping[str, object], spot: Spot, place: Place) -> dict[str, Any]:
        """The values of a table's own keys."""
        values: dict[str, Any] = {}
        for key, value in table.items():
            values |= self.attempt(spot, key, lambda key=key, value=value: typed_keys({key: value}, place, self.config)) or {}
        return values


def datasets_of_file(config: Config) -> Blueprint:
    """The datasets of the file that `dataset_config` names.

    Raises:
        ConfigError: the file is missing or malformed, or a key or value in it is wrong.
    """
    reading = read_document(load_document(Path(config[Folders].dataset_config or "")), config)
    if reading.faults:
        raise reading.faults[0].error
    return reading.blueprint


def load_document(path: Path) -> Mapping[str, object]:
    """What a dataset config file says.

    Raises:
        ConfigError: it is missing, cannot be read, or is neither TOML nor JSON.
    """
    try:
        return parse_document(path.read_text("utf-8-sig"), path.name)
    except FileNotFoundError:
        raise ConfigError("dataset_config", f"The file {path} does not exist.", fix="Check the path.") from None
    except OSError as reason:
        raise ConfigError("dataset_config", f"The file {path} cannot be read ({reason.strerror}).") from reason
    except UnicodeDecodeError as reason:
        raise ConfigError("dataset_config", f"{path.name} is not UTF-8.", fix="Save it as UTF-8.") from reason


def parse_document(text: str, name: str) -> Mapping[str, object]:
    """What the text of a dataset config says; `name` is its file's, whose ending tells JSON from TOML.

    Raises:
        ConfigError: it is neither.
    """
    is_json = name.lower().endswith(".json")
    try:
        return _table(json.loads(text) if is_json else tomllib.loads(text), name)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError("dataset_config", f"{name} is no valid {'JSON' if is_json else 'TOML'}: {reason}.") from reason


def read_document(document: Mapping[str, object], config: Config, *, name: str = "", allows: Callable[[str], bool] | None = None) -> Reading:
    """The datasets that a document describes, beside the options of `config`. Goes on after mistakes: they are in the reading's `faults`.

    `allows` says which paths may be looked at; any other is a mistake.
    """
    reader = _Reader(config, allows or _anywhere)
    reader.problems += [
        warning(option, "It is not used, because dataset_config says where the pictures are.", "Leave one of them out.")
        for option in REPLACED
        if option in config.given
    ]
    unknown = sorted(set(document) - {"general", "datasets"})
    if unknown:
        file = name or Path(config[Folders].dataset_config or "The file").name
        reason = f"{file} has a key {unknown[0]!r} at its top level."
        reader.faults.append(Fault((), unknown[0], ConfigError("dataset_config", reason, fix="Only [general] and [[datasets]] may stand there.")))
    table = reader.attempt((), "general", lambda: _table(document.get("general", {}), "general")) or {}
    general = {**from_command_line(config), **reader.keys(table, (), Place("general", "general"))}
    tables = reader.attempt((), "datasets", lambda: _tables(document.get("datasets"), "datasets")) or []
    found = [(dataset, spots) for at, entry in enumerate(tables) for dataset, spots in [_dataset(entry, at, general, reader)] if dataset is not None]
    blueprint = Blueprint(tuple(dataset for dataset, _ in found), "dataset_config", tuple(reader.problems))
    return Reading(blueprint, tuple(tuple(spots) for _, spots in found), tuple(reader.faults), tuple(reader.unused))


def _dataset(table: Mapping[str, object], at: int, general: Mapping[str, Any], reader: _Reader) -> tuple[Dataset | None, list[Spot]]:
    """A dataset with its usable subsets, and where those stand. None where there is nothing to use."""
    name = f"datasets[{at}]"
    values = {**general, **reader.keys(table, (at,), Place(name, "dataset"))}
    subsets: list[Subset] = []
    spots: list[Spot] = []
    entries = reader.attempt((at,), "subsets", lambda: _tables(table.get("subsets"), f"{name}.subsets")) or []
    for number, entry in enumerate(entries):
        subset = _subset(entry, (at, number), values, reader)
        refusal = _refusal(subset, subsets) if subset is not None else ""
        if subset is not None and refusal:
            reader.unused.append(((at, number), refusal))
            words = f"{name}.subsets[{number}] ({subset.metadata_file or subset.image_dir}) is not used: {refusal}"
            reader.problems.append(warning("dataset_config", words))
        elif subset is not None:
            subsets.append(subset)
            spots.append((at, number))
    try:
        made = make_dataset(tuple(subsets), values)
    except ConfigError as reason:
        told = ConfigError("dataset_config", f"{name}.{reason.field}: {reason.message}", fix=reason.fix)
        reader.faults.append(Fault((at,), reason.field, told))
        return None, []
    return (made, spots) if subsets else (None, [])


def _subset(table: Mapping[str, object], spot: Spot, values: Mapping[str, Any], reader: _Reader) -> Subset | None:
    """A subset, or None where it names no pictures that are there."""
    place = Place(f"datasets[{spot[0]}].subsets[{spot[1]}]", "subset")
    own: dict[str, Any] = {**values, **reader.keys({key: value for key, value in table.items() if key != "num_repeats"}, spot, place)}
    repeats = table.get("num_repeats", values["num_repeats"])
    if isinstance(repeats, bool) or not isinstance(repeats, int):
        reader.faults.append(Fault(spot, "num_repeats", place.error("num_repeats", f"{repeats!r} is not a whole number.")))
        repeats = values["num_repeats"]
    if "image_dir" not in own and "metadata_file" not in own:
        reader.faults.append(Fault(spot, "image_dir", place.error("image_dir", "the subset names no folder.", "Add image_dir.")))
        return None
    foreign = next((key for key in PATH_KEYS if key in own and not reader.allows(str(own[key]))), None)
    if foreign is not None:
        reader.faults.append(Fault(spot, foreign, place.error(foreign, f"{own[foreign]} may not be opened from here.", FOREIGN_FIX)))
        return None
    try:
        metadata = existing_metadata("metadata_file", own["metadata_file"]) if "metadata_file" in own else None
        folder = existing_folder("image_dir", own.get("image_dir") or (str(metadata.parent) if metadata else None), what="pictures")
        masks = existing_folder("conditioning_data_dir", own["conditioning_data_dir"], what="masks") if "conditioning_data_dir" in own else None
    except ConfigError as reason:
        key = reason.field or "image_dir"
        reader.faults.append(Fault(spot, key, place.error(key, reason.message, reason.fix)))
        return None
    return make_subset(folder, {**own, "num_repeats": repeats, "metadata_file": metadata, "conditioning_data_dir": masks})


def _anywhere(_path: str) -> bool:
    return True


def _refusal(subset: Subset, earlier: list[Subset]) -> str:
    """Why a subset is left out, as kohya does; empty if it is not."""
    if subset.num_repeats < 1:
        return f"num_repeats is {subset.num_repeats}."
    if any((other.image_dir, other.metadata_file) == (subset.image_dir, subset.metadata_file) for other in earlier):
        return f"the same {'file' if subset.metadata_file else 'folder'} is a subset already."
    return "" if subset.metadata_file or holds_pictures(subset.image_dir) else "the folder holds no pictures."


def _table(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ConfigError("dataset_config", f"{name} is not a table.")
    return value


def _tables(value: object, name: str) -> list[Mapping[str, object]]:
    if not isinstance(value, list) or not value:
        raise ConfigError(
            "dataset_config", f"There is no [[{name.partition('[')[0] if '.' not in name else 'datasets.subsets'}]] ({name}).", fix="Add one."
        )
    return [_table(entry, f"{name}[{at}]") for at, entry in enumerate(value)]
