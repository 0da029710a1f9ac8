"""kohya's `--config_file` TOML, read strictly and written back. What a value means is the registry's; other programs' files are `migrate.py`'s."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.names import recognise
from sd_scripts.params.problem import Problem, warning

STUDIO_TABLE = "studio"


@dataclass(frozen=True)
class Raw:
    """A file's values before they are typed: `given` by option name, the `[studio]` table, and warnings."""

    given: Mapping[str, object]
    studio: Mapping[str, Any]
    notes: tuple[Problem, ...]


def config_path(text: str) -> Path:
    """The path of a config file as kohya reads it: ".toml" is added where it is missing."""
    path = Path(text)
    return path if path.suffix == ".toml" else path.with_name(path.name + ".toml")


def read_config(path: Path | str, command: Command) -> Config:
    """Read a config file. Tables other than `[studio]` only group keys.

    Raises:
        ConfigError: the file is missing or no TOML, a key belongs to no kohya script, or a value has the wrong type.
    """
    raw = read_raw(Path(path), command)
    return make_config(command, raw.given, raw.studio, notes=raw.notes)


def read_raw(path: Path, command: Command) -> Raw:
    """The values of a config file, before typing. Keys of another script are kept in the studio table with a warning.

    Raises:
        ConfigError: the file is missing or no TOML, or a key is unknown.
    """
    data = _load(path)
    studio = dict(data.pop(STUDIO_TABLE, {}))
    keys, notes = _flatten(data, path)
    given: dict[str, object] = {}
    kept = dict(studio.get("kept", {}))
    for key, value in keys.items():
        found = recognise(command, key, value)
        notes.extend(found.notes)
        given.update({name: item for name, item in found.given.items() if name not in keys or name == key})
        kept.update(found.kept)
    if kept:
        studio["kept"] = kept
    return Raw(given, studio, tuple(notes))


def dumps(config: Config) -> str:
    """The config as TOML text: the given values under their flags' names, network arguments as words, ours in `[studio]`. Secrets are left out."""
    words = config.value("network_args") if "network_args" in config.command.by_name else None
    values = {p.name: config.given[p.name] for p in config.command.flags if p.name in config.given and _is_written(p.name, secret=p.hints.secret)}
    if words:
        values["network_args"] = words
    document = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    if config.studio:
        document[STUDIO_TABLE] = _plain(config.studio)
    return tomli_w.dumps(document)


def write_config(path: Path | str, config: Config) -> None:
    """Write the config to `path`, replacing what is there all at once: a write that fails leaves the old file.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(dumps(config), encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _is_written(name: str, *, secret: bool) -> bool:
    return not secret and name not in ("config_file", "output_config", "network_args")


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as failed:
        raise ConfigError("config_file", f"{path} cannot be read: {failed.strerror}.", fix="Check the path.") from failed
    except UnicodeDecodeError as failed:
        raise ConfigError("config_file", f"{path} is not UTF-8 text.", fix="Save it as UTF-8.") from failed
    except tomllib.TOMLDecodeError as failed:
        raise ConfigError(
            "config_file", f"{path} is no valid TOML: {failed}.", fix="A Windows path needs single quotes or doubled backslashes."
        ) from failed


def _flatten(data: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """All keys in one mapping, a later table winning; a key with two values is reported."""
    flat: dict[str, Any] = {}
    notes: list[Problem] = []
    for key, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            raise ConfigError(
                "config_file",
                f"{path} holds [[{key}]], which belongs in a dataset config.",
                fix="Move it to a file of its own and name that with dataset_config.",
            )
        for name, item in value.items() if isinstance(value, dict) else ((key, value),):
            if isinstance(item, dict):
                raise ConfigError("config_file", f"{path}: the table {key}.{name} is nested too deep.", fix="Write its keys at the top level.")
            if name in flat and flat[name] != item:
                notes.append(warning(name, f"{path.name} sets it twice, to {flat[name]!r} and {item!r}; the last one counts.", "Keep one."))
            flat[name] = item
    return flat, notes


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return ["" if item is None else _plain(item) for item in value]
    return value
