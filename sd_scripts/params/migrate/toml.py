"""A trainer's TOML, read leniently: what `config_file.py` refuses is kept and listed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.config_file import STUDIO_TABLE
from sd_scripts.params.migrate.ledger import Imported, Ledger
from sd_scripts.params.migrate.shared import NOT_SET, SHARED, is_secret, network_words
from sd_scripts.params.names import recognise

DATASET_TABLES = ("datasets", "general")


def import_toml(document: Mapping[str, Any], command: Command) -> Imported:
    """Account for every key of a trainer's config. `[[datasets]]` in the same file is kept and asked to be moved."""
    ledger = Ledger(command)
    document = dict(document)
    _studio(ledger, document.pop(STUDIO_TABLE, {}))
    if "datasets" in document:
        for name in DATASET_TABLES:
            if name in document:
                ledger.keep(name, document.pop(name), note="It describes a dataset.")
        ledger.refuse(
            "dataset_config", "The file describes a dataset too.", "Move [general] and [[datasets]] to a file of their own, and name it here."
        )
    flat = _flat(ledger, document)
    for key, value in flat.items():
        _account(ledger, key, value, flat)
    return ledger.finish()


def _studio(ledger: Ledger, table: Mapping[str, Any]) -> None:
    ledger.studio.update({key: dict(value) if isinstance(value, dict) else value for key, value in table.items()})


def _flat(ledger: Ledger, document: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        for name, item in value.items() if isinstance(value, dict) else ((key, value),):
            if name in flat and flat[name] != item:
                ledger.keep(f"{name} (first of two)", flat[name], note="The file sets it twice; the last one counts.")
            flat[name] = item
    return flat


def _account(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    parameter = ledger.command.by_name.get(key)
    if is_secret(ledger, key):
        ledger.hide(key, value)
    elif key in SHARED:
        SHARED[key](ledger, key, value, document)
    elif key == "network_args" and parameter is not None:
        network_words(ledger, [] if value in (*NOT_SET, False) else value, document.get("network_module"))
    elif parameter is not None and (value in NOT_SET or (value is False and parameter.kind != "bool")):
        ledger.skip(key, value)
    else:
        _recognised(ledger, key, value)


def _recognised(ledger: Ledger, key: str, value: Any) -> None:
    try:
        found = recognise(ledger.command, key, value)
    except ConfigError as refused:
        ledger.keep(key, value, note=f"{refused.message} {refused.fix}".strip(), outcome="unknown")
        return
    note = " ".join(problem.message for problem in found.notes)
    if found.kept:
        ledger.keep(key, value, note=note)
    elif not found.given:
        ledger.skip(key, value)
    for name, made in found.given.items():
        ledger.take(key, value, name=name, made=made, note=note)
