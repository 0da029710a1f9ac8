"""kohya's dataset config file, TOML or JSON: tables `general` and `datasets` with their `subsets`.

Each key falls back from subset to dataset to general to the command line.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders
from sd_scripts.params.problem import Problem, warning
from sd_scripts.survey.dataset_options import Place, from_command_line, make_dataset, make_subset, typed_keys
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.folders import existing_folder, existing_metadata
from sd_scripts.survey.picture_names import holds_pictures

_REPLACED = ("train_data_dir", "reg_data_dir", "in_json")


def datasets_of_file(config: Config) -> Blueprint:
    """The datasets of the file that `dataset_config` names.

    Raises:
        ConfigError: the file is missing or malformed, or a key or value in it is wrong.
    """
    document = _load(Path(config[Folders].dataset_config or ""))
    problems = [
        warning(name, "It is not used, because dataset_config says where the pictures are.", "Leave one of them out.")
        for name in _REPLACED
        if name in config.given
    ]
    general = {**from_command_line(config), **typed_keys(_table(document.get("general", {}), "general"), Place("general", "general"), config)}
    datasets = [
        _dataset(table, f"datasets[{at}]", general, config=config, problems=problems)
        for at, table in enumerate(_tables(document.get("datasets"), "datasets"))
    ]
    return Blueprint(tuple(dataset for dataset in datasets if dataset.subsets), "dataset_config", tuple(problems))


def _dataset(table: Mapping[str, object], name: str, general: Mapping[str, Any], *, config: Config, problems: list[Problem]) -> Dataset:
    values = {**general, **typed_keys(table, Place(name, "dataset"), config)}
    subsets: list[Subset] = []
    for at, entry in enumerate(_tables(table.get("subsets"), f"{name}.subsets")):
        subset = _subset(entry, Place(f"{name}.subsets[{at}]", "subset"), values, config)
        refusal = _refusal(subset, subsets)
        if refusal:
            problems.append(warning("dataset_config", f"{name}.subsets[{at}] ({subset.metadata_file or subset.image_dir}) is not used: {refusal}"))
        else:
            subsets.append(subset)
    try:
        return make_dataset(tuple(subsets), values)
    except ConfigError as reason:
        raise ConfigError("dataset_config", f"{name}.{reason.field}: {reason.message}", fix=reason.fix) from reason


def _subset(table: Mapping[str, object], place: Place, values: Mapping[str, Any], config: Config) -> Subset:
    own: dict[str, Any] = {**values, **typed_keys({key: value for key, value in table.items() if key != "num_repeats"}, place, config)}
    repeats = table.get("num_repeats", values["num_repeats"])
    if isinstance(repeats, bool) or not isinstance(repeats, int):
        raise place.error("num_repeats", f"{repeats!r} is not a whole number.")
    if "image_dir" not in own and "metadata_file" not in own:
        raise place.error("image_dir", "the subset names no folder.", "Add image_dir.")
    try:
        metadata = existing_metadata("metadata_file", own["metadata_file"]) if "metadata_file" in own else None
        folder = existing_folder("image_dir", own.get("image_dir") or (str(metadata.parent) if metadata else None), what="pictures")
        masks = existing_folder("conditioning_data_dir", own["conditioning_data_dir"], what="masks") if "conditioning_data_dir" in own else None
    except ConfigError as reason:
        raise place.error(reason.field or "image_dir", reason.message, reason.fix) from reason
    return make_subset(folder, {**own, "num_repeats": repeats, "metadata_file": metadata, "conditioning_data_dir": masks})


def _refusal(subset: Subset, earlier: list[Subset]) -> str:
    """Why a subset is left out, as kohya does; empty if it is not."""
    if subset.num_repeats < 1:
        return f"num_repeats is {subset.num_repeats}."
    if any((other.image_dir, other.metadata_file) == (subset.image_dir, subset.metadata_file) for other in earlier):
        return f"the same {'file' if subset.metadata_file else 'folder'} is a subset already."
    return "" if subset.metadata_file or holds_pictures(subset.image_dir) else "the folder holds no pictures."


def _load(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_text("utf-8-sig")
        document = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError("dataset_config", f"The file {path} does not exist.", fix="Check the path.") from None
    except OSError as reason:
        raise ConfigError("dataset_config", f"The file {path} cannot be read ({reason.strerror}).") from reason
    except UnicodeDecodeError as reason:
        raise ConfigError("dataset_config", f"{path.name} is not UTF-8.", fix="Save it as UTF-8.") from reason
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError("dataset_config", f"{path.name} is no valid {'JSON' if path.suffix.lower() == '.json' else 'TOML'}: {reason}.") from reason
    table = _table(document, path.name)
    unknown = sorted(set(table) - {"general", "datasets"})
    if unknown:
        raise ConfigError(
            "dataset_config", f"{path.name} has a key {unknown[0]!r} at its top level.", fix="Only [general] and [[datasets]] may stand there."
        )
    return table


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
