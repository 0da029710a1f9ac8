"""Options of a dataset and of a subset: which keys exist, where each may stand, and how values from file and command line become a `Dataset`.

The types, ranges and defaults are those of the command line's options with the same meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.check import check_value
from sd_scripts.params.commands import Command
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Masks
from sd_scripts.params.dataset_keys import CustomAttributes, DatasetKeys, SubsetKeys
from sd_scripts.params.dataset_scopes import DATASET_KEYS, KEYS_OF, OPTION_OF, SHARED_KEYS, SUBSET_KEYS, Scope
from sd_scripts.params.network import Network
from sd_scripts.params.problem import LEAVE_OUT
from sd_scripts.params.resolution import parse_resolution
from sd_scripts.params.spec import Parameter, section_of
from sd_scripts.params.values import nearest, typed
from sd_scripts.survey.buckets import adjust_limits
from sd_scripts.survey.datasets import CaptionRules, Dataset, Size, Subset
from sd_scripts.survey.faces import range_of

OWN_SECTIONS = (SubsetKeys, DatasetKeys, CustomAttributes)
"""Where keys are declared that no command line has."""
PRESERVES = "diff_output_preservation"
"""The custom attribute that has an effect."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands in a dataset config file, for messages: "datasets[0].subsets[1]"."""

    name: str
    scope: Scope

    def error(self, key: str, message: str, fix: str = "") -> ConfigError:
        """An error about `key` at this place."""
        return ConfigError("dataset_config", f"{self.name}.{key}: {message}", fix=fix)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table: its name ("custom_attributes.…" for one in a table of its own), how it is declared, and the title of its section."""

    name: str
    parameter: Parameter
    section: str


def keys_of(scope: Scope, command: Command) -> tuple[Key, ...]:
    """The keys that may stand in a table and mean something in a training by `command`: the folder's own, then in the order of its form."""
    options = {parameter.name: (parameter, section.title) for section in command.descriptions for parameter in section.params}
    sections = [section_of(cls) for cls in OWN_SECTIONS]
    own = {parameter.hints.dataset_key or parameter.name: (parameter, section.title) for section in sections for parameter in section.params}
    if Network not in command.sections:
        own = {name: row for name, row in own.items() if row[0].section == SubsetKeys.__name__}
    found: list[Key] = []
    for key in KEYS_OF[scope]:
        option = OPTION_OF.get(key, key)
        names = [name for name in own if name.partition(".")[0] == key]
        found += [Key(name, *own[name]) for name in names]
        if not names and option in options:
            found.append(Key(key, command.parameter(option), options[option][1]))
    titles = [section_of(SubsetKeys).title, *(section.title for section in command.descriptions)]
    names = list(options)
    return tuple(sorted(found, key=lambda key: (_place(key.section, titles), _place(key.parameter.name, names))))


def _place(word: str, order: list[str]) -> int:
    return order.index(word) if word in order else len(order)


def from_command_line(config: Config) -> dict[str, Any]:
    """Every dataset and subset key with the value of its command-line option, default included; keys without an option are left out."""
    known = {parameter.name for parameter in config.command.parameters}
    names = {key: OPTION_OF.get(key, key) for key in (*DATASET_KEYS, *SHARED_KEYS)}
    values = {key: config.value(name) for key, name in names.items() if name in known}
    if Masks in config:
        values["alpha_mask"] = config[Masks].alpha_mask
    if values["resolution"] is not None:
        values["resolution"] = size_of(values["resolution"])
    values["face_crop_aug_range"] = faces_of(values.get("face_crop_aug_range"))
    return values


def typed_keys(table: Mapping[str, object], place: Place, config: Config) -> dict[str, Any]:
    """The values of one table of a dataset config file, checked and typed.

    Raises:
        ConfigError: a key is unknown or does not belong here, a value has the wrong type or is out of range, or its effect does not exist yet.
    """
    values = {}
    for key, value in table.items():
        if key not in KEYS_OF[place.scope]:
            raise _misplaced(key, place)
        if key != "subsets":
            values[key] = _typed(key, value, place, config)
    return values


def _misplaced(key: str, place: Place) -> ConfigError:
    elsewhere = [scope for scope in KEYS_OF if key in KEYS_OF[scope]]
    if elsewhere:
        return place.error(key, "this key does not belong here.", f"It may stand in a {' or '.join(elsewhere)} table.")
    near = nearest(key, KEYS_OF[place.scope])
    return place.error(key, "there is no such key.", f"Did you mean {near}?" if near else "")


def _typed(key: str, value: object, place: Place, config: Config) -> object:
    if key == "network_multiplier":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise place.error(key, f"{value!r} is not a number.")
        if not value:
            raise place.error(key, "0 switches the adapter off, so that these pictures would teach nothing.", "Leave the dataset out.")
        return float(value)
    if key == "custom_attributes":
        return _custom_attributes(value, place)
    if key == "face_crop_aug_range":
        return _placed(key, place, faces_of, value)
    if key == "resolution":
        return _placed(key, place, size_of, value)
    if key in SUBSET_KEYS:
        switch = key in ("is_reg", "alpha_mask")
        if not isinstance(value, bool if switch else str):
            raise place.error(key, f"{value!r} is not {'true or false' if switch else 'a path'}.")
        return value
    parameter = config.command.by_name.get(OPTION_OF.get(key, key))
    if parameter is None:
        raise place.error(key, f"it has no meaning in this training ({config.command.title}).", LEAVE_OUT)
    made = _placed(key, place, lambda raw: typed(parameter, raw), value)
    problem = check_value(parameter, made)
    if problem is not None and problem.severity == "error":
        raise place.error(key, problem.message, problem.fix)
    return made if made is not None else parameter.default


def _custom_attributes(value: object, place: Place) -> dict[str, bool]:
    """Attributes that nobody would read are refused, not carried along in silence."""
    if not isinstance(value, dict):
        raise place.error("custom_attributes", f"{value!r} is not a table.", f"Write custom_attributes.{PRESERVES} = true.")
    for name, item in value.items():
        if name != PRESERVES:
            raise place.error("custom_attributes", f"nothing reads {name!r}.", f"{PRESERVES} is the one that has an effect.")
        if not isinstance(item, bool):
            raise place.error("custom_attributes", f"{name} is {item!r}, not true or false.")
    return value


def faces_of(value: object) -> tuple[float, float] | None:
    """The range of `face_crop_aug_range` from "2.0,4.0" or [2, 4]; None for none.

    Raises:
        ConfigError: that is no range.
    """
    if value in (None, ""):
        return None
    try:
        return range_of(",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))
    except ValueError:
        fix = "Write the smallest and the largest factor, such as 2.0,4.0."
        raise ConfigError("face_crop_aug_range", f"{value!r} is no range.", fix=fix) from None


def _placed(key: str, place: Place, read: Any, value: object) -> object:
    try:
        return read(value)
    except ConfigError as reason:
        raise place.error(key, reason.message, reason.fix) from reason


def size_of(value: object) -> Size:
    """(width, height) from "512", "512,768", 512 or [512, 768].

    Raises:
        ConfigError: that is no size.
    """
    return parse_resolution(",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))


def make_subset(folder: Path, values: Mapping[str, Any]) -> Subset:
    """A subset from its folder and the values of all keys that apply to it."""
    attributes = values.get("custom_attributes") or {}
    own = _own(Subset, {**values, PRESERVES: attributes.get(PRESERVES, False)}, but=("captions", "image_dir"))
    return Subset(image_dir=folder, captions=CaptionRules(**_own(CaptionRules, values)), **own)


def make_dataset(subsets: tuple[Subset, ...], values: Mapping[str, Any]) -> Dataset:
    """A dataset from its subsets and the values of all keys that apply to it.

    Raises:
        ConfigError: there is no resolution, or the bucket limits exclude it.
    """
    if values.get("resolution") is None:
        raise ConfigError(
            "resolution", "No resolution is given.", fix="Use the one that the model was made for: 512,512 for SD 1.x, 1024,1024 for SDXL."
        )
    dataset = Dataset(subsets=subsets, **_own(Dataset, values, but=("subsets",)))
    if not dataset.enable_bucket or dataset.bucket_no_upscale:
        return dataset
    limits = adjust_limits(dataset.resolution, dataset.min_bucket_reso, dataset.max_bucket_reso, dataset.bucket_reso_steps)
    return replace(dataset, min_bucket_reso=limits[0], max_bucket_reso=limits[1])


def _own(made: type[Dataset | Subset | CaptionRules], values: Mapping[str, Any], *, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Those of `values` that are fields of `made`."""
    return {entry.name: values[entry.name] for entry in fields(made) if values.get(entry.name) is not None and entry.name not in but}
