"""The kohya GUI's own config.toml: what its form starts with. As a config it is the run that an untouched form would start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.gui import gui_keys, import_gui
from sd_scripts.params.migrate.ledger import Imported, Ledger
from sd_scripts.params.migrate.shared import NOT_SET, is_on, is_secret
from sd_scripts.params.migrate.told_family import Told

MARKS = ("models_dir", "use_shell", "headless")
"""Keys that only such a file has."""
FIELDS = {
    "lora.type": "LoRA_type",
    "basic.optimizer_type": "optimizer",
    "huggingface.repo_id": "huggingface_repo_id",
    "metadata.title": "metadata_title",
    "metadata.author": "metadata_author",
    "metadata.description": "metadata_description",
    "metadata.license": "metadata_license",
    "metadata.tags": "metadata_tags",
}
"""Keys whose field in the form has another name."""
NO_RUN = {
    "dataset_preparation": "It is a default of the page that makes folders.",
    "wd14_caption": "It is a default of the page that writes captions.",
    "configuration": "It says where the file dialogs of that program start.",
    "server": "It is a setting of that program's server.",
    "settings": "It is a setting of that program's page.",
}
"""Tables of which nothing belongs to a training."""
OF_THAT_PROGRAM = ("use_shell", "headless", "allowed_paths", "enable_info_tooltip")
NEVER_READ = ("basic.save_every_n_steps",)
"""Keys that stand in the example file and that program does not read."""
PREFIXED = {"flux1": "flux1", "sd3": "sd3", "anima": "anima", "hunyuan_image": "hunyuan", "lumina": "lumina", "sdxl": "sdxl"}
"""Tables of one family, with how the fields of that family begin."""


def is_form_defaults(document: Mapping[str, Any]) -> bool:
    """Whether a TOML document is that program's config.toml."""
    tables = [document, *(value for value in document.values() if isinstance(value, dict))]
    return any(mark in table for table in tables for mark in MARKS)


def import_form_defaults(document: Mapping[str, Any], command: Command) -> Imported:
    """A config from the form's defaults, which are for every trainer alike; what belongs to that program itself is kept."""
    fields: dict[str, Any] = {}
    key_of: dict[str, str] = {}
    rest: dict[str, tuple[Any, str]] = {}
    for key, value in _leaves(document):
        field, why = _field(key)
        if field in fields:
            why = f"{key_of[field]} says it too, and counts."
        if why:
            rest[key] = (value, why)
        else:
            fields[field], key_of[field] = value, key
    return _with_rest(import_gui(fields, command, Told(command.family, "")), key_of, rest)


def _field(key: str) -> tuple[str, str]:
    """The form's field that a key fills; or why it fills none."""
    table, _, name = key.rpartition(".")
    if table.partition(".")[0] in NO_RUN:
        return "", NO_RUN[table.partition(".")[0]]
    if name in OF_THAT_PROGRAM:
        return "", "It is a setting of that program itself."
    if key in NEVER_READ:
        return "", "That program does not read it."
    for candidate in (FIELDS.get(key, ""), f"{PREFIXED.get(table, table)}_{name}", name):
        if candidate in gui_keys():
            return candidate, ""
    if name.endswith("_dir"):
        return "", "It says where a file dialog of that program starts."
    return name, ""


def _leaves(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in document.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


def _with_rest(imported: Imported, key_of: Mapping[str, str], rest: Mapping[str, tuple[Any, str]]) -> Imported:
    """The import with its rows under the file's own keys, and rows for what fills no field."""
    ledger = Ledger(imported.config.command)
    ledger.given, ledger.studio = dict(imported.config.given), {key: value for key, value in imported.config.studio.items() if key != "launcher"}
    ledger.notes = list(imported.config.notes)
    for row in imported.rows:
        ledger.rows.append(type(row)(key_of.get(row.key, row.key), row.value, row.outcome, row.note, row.became))
    for key, (value, why) in rest.items():
        if is_secret(ledger, key):
            ledger.hide(key, value)
        elif value in NOT_SET or (isinstance(value, bool) and not is_on(value)):
            ledger.skip(key, value)
        else:
            ledger.keep(key, value, note=why)
    return ledger.finish()
