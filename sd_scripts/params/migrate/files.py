"""Which program wrote a file, and how it is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.migrate.command_line import import_command_line
from sd_scripts.params.migrate.dataset import TABLES, describes_datasets, import_dataset
from sd_scripts.params.migrate.documents import parse, text_of
from sd_scripts.params.migrate.easy_scripts import in_kohyas_form, is_easy_scripts
from sd_scripts.params.migrate.form_defaults import import_form_defaults, is_form_defaults
from sd_scripts.params.migrate.gui import import_gui
from sd_scripts.params.migrate.ledger import SCRIPT, Imported
from sd_scripts.params.migrate.pipe_dataset import import_pipe_dataset, is_pipe_dataset
from sd_scripts.params.migrate.rivals.ai_toolkit import import_ai_toolkit, is_ai_toolkit
from sd_scripts.params.migrate.rivals.onetrainer import import_concepts, import_onetrainer, import_samples, is_onetrainer
from sd_scripts.params.migrate.rivals.onetrainer_pictures import is_concept_list, is_sample_list
from sd_scripts.params.migrate.rivals.reading import Readable
from sd_scripts.params.migrate.rivals.simpletuner import import_simpletuner, is_simpletuner
from sd_scripts.params.migrate.rivals.simpletuner_pictures import import_backends, is_backend_list
from sd_scripts.params.migrate.told_family import Told
from sd_scripts.params.migrate.toml import import_toml, leaves
from sd_scripts.params.migrate.trainer import trainer_of_form, trainer_of_options

SHELL_FILES = (".sh", ".bat", ".cmd", ".ps1")
FORM_FIELDS = ("LoRA_type", "optimizer", "max_resolution", "lr_warmup")
OPTIONS_OF_FORM_FIELDS = ("network_module", "optimizer_type", "resolution")
"""What the trainers call those of the form's fields that have another name there."""
_COMMAND = re.compile(r"^\s*(?:[^#\n]*\s)?[\w./\\-]*_?train\w*\.py(?:\s|$)|^\s*accelerate\s+launch\s", re.MULTILINE)
_MANY = 3


def anything(path: Path) -> bool:
    """Every file may be read."""
    return True


def import_any(path: Path | str, command: Command, *, exactly: bool = False, readable: Readable = anything) -> Imported:
    """Read the settings of a training that another program, or this one, has written; or a part of them: a dataset, a shell script with a command.

    It is read for the trainer that its keys tell; for `command` where they tell none, or `exactly`. Other trainers name files that lie beside their
    config, with pictures or prompts: these are read too where they are `readable`.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    path = Path(path)
    text = text_of(path)
    if path.suffix.lower() in SHELL_FILES or (path.suffix.lower() in (".txt", "") and _COMMAND.search(text)):
        return import_command_line(text, command)
    document = parse(text, path)
    if isinstance(document, list):
        return _import_list(document, path, command, readable)
    if not isinstance(document, dict):
        raise ConfigError("config_file", f"{path} holds no settings.", fix="Open a config file.")
    rival = next((read for is_its, read in RIVALS if is_its(document)), None)
    if rival is not None:
        return rival(document, command, folder=path.parent, readable=readable)
    return _import_table(document, path, command, exactly=exactly)


RIVALS = (
    (is_ai_toolkit, import_ai_toolkit),
    (is_onetrainer, import_onetrainer),
    (is_simpletuner, import_simpletuner),
)
"""Other trainers: how their files are known, and read."""


def _import_table(document: Mapping[str, Any], path: Path, command: Command, *, exactly: bool) -> Imported:
    _refuse_collections(document, path)
    if path.suffix.lower() == ".toml" and is_form_defaults(document):
        return import_form_defaults(document, command)
    if is_easy_scripts(document):
        document = in_kohyas_form(document)
    if is_pipe_dataset(document):
        return import_pipe_dataset(document, command)
    if describes_datasets(document) and not _has_options(document):
        return import_dataset(document, path, command)
    is_json = path.suffix.lower() != ".toml"
    if is_json and _is_form(document):
        chosen, told = trainer_of_form(document, command)
        return import_gui(document, command if exactly else chosen, told)
    flat = {**leaves({key: value for key, value in document.items() if key not in TABLES}), SCRIPT: _own_script(document)}
    chosen, told = trainer_of_options(flat, command)
    if exactly and told is None:
        told = Told(command.family, "")
    return import_toml(document, command if exactly else chosen, told)


def _import_list(document: list[Any], path: Path, command: Command, readable: Readable) -> Imported:
    """Lists that other trainers keep in files of their own: they say only part of a training."""
    if is_backend_list(document):
        return import_backends(document, command, folder=path.parent, readable=readable)
    if is_concept_list(document):
        return import_concepts(document, command, folder=path.parent, readable=readable)
    if is_sample_list(document):
        return import_samples(document, command, folder=path.parent, readable=readable)
    raise ConfigError("config_file", f"{path} holds a list, but no settings that are known.", fix="Open a config file.")


def _own_script(document: Mapping[str, Any]) -> str:
    """The trainer that a file of ours names."""
    table = document.get("studio")
    return str(table.get(SCRIPT) or "") if isinstance(table, dict) else ""


def _has_options(document: Mapping[str, Any]) -> bool:
    """Whether a document with datasets holds options of a training too."""
    known = {name for row in COMMANDS for name in row.by_name}
    return any(key in known or isinstance(value, dict) for key, value in document.items() if key not in TABLES)


def _is_form(document: Mapping[str, Any]) -> bool:
    """Whether a JSON holds the form's fields. One with options under their flags' names, as our presets, is read like TOML."""
    return any(key in document for key in FORM_FIELDS) or not any(key in document for key in OPTIONS_OF_FORM_FIELDS)


def _refuse_collections(document: Mapping[str, Any], path: Path) -> None:
    """A file with several configs in it is none."""
    scripts = [key for key, value in document.items() if isinstance(value, dict) and any(row.script == key for row in COMMANDS)]
    if scripts and all(isinstance(value, dict) for value in document.values()):
        names = [name for script in scripts for name in document[script]]
        shown = ", ".join(names[:_MANY]) + (", ..." if len(names) > _MANY else "")
        raise ConfigError("config_file", f"{path.name} holds several configs ({shown}).", fix="Save one of them as a file of its own.")
