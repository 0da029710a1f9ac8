"""Which program wrote a file, and how it is opened."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.command_line import import_command_line
from sd_scripts.params.migrate.gui import import_gui
from sd_scripts.params.migrate.ledger import Imported
from sd_scripts.params.migrate.toml import import_toml
from sd_scripts.params.migrate.trainer import trainer_of_form, trainer_of_options

FORM_DEFAULTS = ("models_dir", "use_shell", "headless")
"""Keys by which the kohya GUI's own config.toml is known: defaults of its form, not a run."""


SHELL_FILES = (".sh", ".bat", ".cmd", ".ps1")
FORM_FIELDS = ("LoRA_type", "optimizer", "max_resolution", "lr_warmup")
OPTIONS_OF_FORM_FIELDS = ("network_module", "optimizer_type", "resolution")
"""What the trainers call those of the form's fields that have another name there."""


def import_any(path: Path | str, command: Command, *, exactly: bool = False) -> Imported:
    """Read a kohya GUI's JSON, a trainer's TOML, or a shell script that starts a trainer.

    It is read for the trainer that its keys tell; for `command` where they tell none, or `exactly`.

    Raises:
        ConfigError: the file cannot be read, is neither, or holds something else: a dataset description, or defaults of a form.
    """
    path = Path(path)
    text = _text(path)
    if path.suffix.lower() in SHELL_FILES:
        return import_command_line(text, command)
    is_json = path.suffix.lower() == ".json" or text.lstrip().startswith("{")
    document = _json(text, path) if is_json else _toml(text, path)
    if set(document) <= {"general", "datasets"} and "datasets" in document:
        raise ConfigError("dataset_config", f"{path.name} describes a dataset, not a run.", fix="Name it with dataset_config.")
    if any(key in table for table in (document, *_tables(document)) for key in FORM_DEFAULTS):
        raise ConfigError("config_file", f"{path.name} holds defaults of a form, not a run.", fix="Open a saved run instead.")
    if is_json and _is_form(document):
        return import_gui(document, command if exactly else trainer_of_form(document, command))
    return import_toml(document, command if exactly else trainer_of_options(_leaves(document), command))


def _leaves(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values without their tables, as kohya's parser reads them."""
    return {name: item for key, value in document.items() for name, item in (value if isinstance(value, dict) else {key: value}).items()}


def _is_form(document: Mapping[str, Any]) -> bool:
    """Whether a JSON holds the form's fields. One with options under their flags' names, as our presets, is read like TOML."""
    return any(key in document for key in FORM_FIELDS) or not any(key in document for key in OPTIONS_OF_FORM_FIELDS)


def _tables(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [value for value in document.values() if isinstance(value, dict)]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as failed:
        raise ConfigError("config_file", f"{path} cannot be read: {failed.strerror}.", fix="Check the path.") from failed
    except UnicodeDecodeError as failed:
        raise ConfigError("config_file", f"{path} is not UTF-8 text.", fix="Save it as UTF-8.") from failed


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as failed:
        raise ConfigError("config_file", f"{path} is no valid JSON: {failed}.", fix="Save it anew from the program that wrote it.") from failed
    if not isinstance(document, dict):
        raise ConfigError("config_file", f"{path} holds no settings.", fix="Open a file that the kohya GUI saved.")
    return document


def _toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as failed:
        raise ConfigError(
            "config_file", f"{path} is no valid TOML: {failed}.", fix="A Windows path needs single quotes or doubled backslashes."
        ) from failed
