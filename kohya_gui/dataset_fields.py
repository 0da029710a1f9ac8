"""The keys of one table of a dataset config as fields: which there are, what they hold and what they fall back to, and text turned into values.

Names, types, ranges and words come from the registry by `survey.dataset_options.keys_of`; a value is accepted where a trainer would accept it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.check import check_value
from sd_scripts.params.config import Config
from sd_scripts.params.dataset_scopes import Scope
from sd_scripts.params.values import typed
from sd_scripts.survey.dataset_config import PATH_KEYS, Spot
from sd_scripts.survey.dataset_options import Key, Place, faces_of, from_command_line, keys_of, size_of, typed_keys

SCOPES: tuple[Scope, ...] = ("general", "dataset", "subset")
BASIC: Mapping[Scope, tuple[str, ...]] = {
    "general": ("resolution", "batch_size", "enable_bucket", "caption_extension"),
    "dataset": ("resolution", "batch_size", "enable_bucket", "bucket_no_upscale"),
    "subset": ("image_dir", "num_repeats", "class_tokens", "is_reg", "caption_extension", "conditioning_data_dir"),
}
"""Keys that stand above the groups; all others are in a group by their section of options."""


@dataclass(frozen=True, slots=True)
class Field:
    """A key of a table. `own` is what the table says, None if nothing; `inherited` is what holds then, and `source` the table that says so.

    A source of None is the form on the Train page, with its defaults.
    """

    key: Key
    own: object
    inherited: object
    source: Spot | None

    @property
    def value(self) -> object:
        """What holds."""
        return self.inherited if self.own is None else self.own


def scope_of(spot: Spot) -> Scope:
    """What kind of table stands at `spot`."""
    return SCOPES[len(spot)]


def fields_of(data: Mapping[str, Any], spot: Spot, config: Config) -> list[Field]:
    """The fields of a table, in the order of the keys."""
    tables = [(place, _table(data, place)) for place in (spot[:length] for length in range(len(spot), -1, -1))]
    form = _of_form(config)
    found = []
    for key in keys_of(scope_of(spot), config.command):
        (_, own_table), *outer = tables
        above = [(place, value) for place, table in outer if (value := _nested(table, key.name)) is not None]
        source, inherited = above[0] if above else (None, form.get(key.name, key.parameter.default))
        found.append(Field(key, _nested(own_table, key.name), inherited, source))
    return found


def unknown_keys(data: Mapping[str, Any], spot: Spot, config: Config) -> list[str]:
    """Keys of a table that mean nothing there: a trainer refuses the file because of them."""
    known = {key.name.partition(".")[0] for key in keys_of(scope_of(spot), config.command)}
    return [key for key in _table(data, spot) if key not in known and key not in ("datasets", "subsets")]


def typed_value(spot: Spot, key: str, text: str, config: Config) -> object:
    """What was typed, as the file holds it; None for nothing.

    Raises:
        ConfigError: a trainer would refuse it. `field` is the key.
    """
    declared = next((row for row in keys_of(scope_of(spot), config.command) if row.name == key), None)
    if declared is None:
        raise ConfigError(key, "It means nothing here.", fix="Choose a key that is shown.")
    if not text.strip():
        return None
    if key == "resolution":
        width, height = size_of(text)
        return width if width == height else [width, height]
    if key == "face_crop_aug_range":
        faces_of(text)
        return text.strip()
    made = typed(declared.parameter, text.strip() if key in PATH_KEYS else text)
    problem = check_value(declared.parameter, made)
    if problem is not None and problem.severity == "error":
        raise ConfigError(key, problem.message, fix=problem.fix)
    _accepted(spot, key, made, config)
    return made


def field_text(value: object) -> str:
    """A value as its field shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(field_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) and abs(value) >= 1e-4 else str(value)


def _accepted(spot: Spot, key: str, value: object, config: Config) -> None:
    outer, _, inner = key.partition(".")
    try:
        typed_keys({outer: {inner: value} if inner else value}, Place("", scope_of(spot)), config)
    except ConfigError as reason:
        raise ConfigError(key, reason.message.removeprefix(f".{key}: "), fix=reason.fix) from reason


def _table(data: Mapping[str, Any], spot: Spot) -> Mapping[str, Any]:
    if not spot:
        return data.get("general", {})
    table = data["datasets"][spot[0]]
    return table if len(spot) == 1 else table["subsets"][spot[1]]


def _nested(table: Mapping[str, Any], key: str) -> object:
    value: Any = table
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _of_form(config: Config) -> dict[str, Any]:
    try:
        return from_command_line(config)
    except ConfigError:  # a size that is half typed on the Train page, which says so itself
        return {}
