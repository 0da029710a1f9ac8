"""Options under their own names, in TOML or JSON, read leniently: what `config_file.py` refuses is kept and listed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.config_file import STUDIO_TABLE
from sd_scripts.params.migrate.aliases import (
    ALIASES,
    BETAS,
    NOTES,
    OPTIMIZER_WORDS,
    PART_SWITCHES,
    PROMPT_KEYS,
    TYPE_KEYS,
    take_adapter_type,
    take_optimizer_words,
    take_part_switches,
    take_prompt_keys,
)
from sd_scripts.params.migrate.dataset import TABLES, describes_datasets, take_dataset
from sd_scripts.params.migrate.ledger import Imported, Ledger
from sd_scripts.params.migrate.shared import NOT_SET, SAMPLING, SHARED, has_prompts, is_on, is_secret, network_words
from sd_scripts.params.migrate.told_family import BOXES, Told, families_of_flag, is_built, title
from sd_scripts.params.names import recognise
from sd_scripts.params.schedule import SCHEDULERS

AMBIGUOUS = ("type", "dtype", "path")
"""Names that mean nothing without their table's."""
COUNTED_TOGETHER = frozenset({*OPTIMIZER_WORDS, *BETAS, "betas", *PROMPT_KEYS})
"""Keys that only make sense with their like."""
OF_ADAPTERS = frozenset({*TYPE_KEYS, *PART_SWITCHES})


def import_toml(document: Mapping[str, Any], command: Command, told: Told | None) -> Imported:
    """Account for every key of a trainer's config, which is for the family `told`. A dataset in the same file becomes one of its own."""
    ledger = Ledger(command)
    document = dict(document)
    own = document.pop(STUDIO_TABLE, {})
    _studio(ledger, own)
    if describes_datasets(document):
        made, _ = take_dataset(ledger, document)
        document = {key: value for key, value in document.items() if key not in TABLES}
        if made["datasets"]:
            ledger.dataset = made
            ledger.warn("dataset_config", "The file describes its datasets too.", "They belong in a file of their own, which is written beside it.")
    flat = flatten(ledger, document)
    counted_together = COUNTED_TOGETHER | (OF_ADAPTERS if ledger.command.method == "adapter" else set())
    for key, value in flat.items():
        if key not in counted_together:
            _account(ledger, key, value, flat)
    if ledger.command.method == "adapter":
        take_part_switches(ledger, flat)
        take_adapter_type(ledger, flat)
    take_optimizer_words(ledger, flat)
    take_prompt_keys(ledger, flat)
    if not own:
        ledger.meant_for_last(told)
    return ledger.finish()


def _studio(ledger: Ledger, table: Mapping[str, Any]) -> None:
    ledger.studio.update({key: dict(value) if isinstance(value, dict) else value for key, value in table.items()})


def leaves(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values without their tables, as kohya's parser reads them; a later table wins."""
    return {name: item for _, name, item in _leaves(document)}


def flatten(ledger: Ledger, document: Mapping[str, Any]) -> dict[str, Any]:
    """Like `leaves`, and what is set twice is kept."""
    flat: dict[str, Any] = {}
    for _, name, item in _leaves(document):
        if name in flat and flat[name] != item:
            ledger.keep(f"{name} (first of two)", flat[name], note="The file sets it twice; the last one counts.")
        flat[name] = item
    return flat


def _leaves(document: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    found = []
    for key, value in document.items():
        for name, item in value.items() if isinstance(value, dict) else ((key, value),):
            found.append((key, f"{key}.{name}" if isinstance(value, dict) and name in AMBIGUOUS else name, item))
    return found


def _account(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    name = key if key in ledger.command.by_name else ALIASES.get(key, key)
    parameter = ledger.command.by_name.get(name)
    if is_secret(ledger, key):
        ledger.hide(key, value)
    elif key in BOXES:
        _box(ledger, key, value)
    elif name in SAMPLING and parameter is not None and not has_prompts(ledger, document) and value not in (*NOT_SET, False, 0):
        ledger.keep(key, value, note="There is no prompt.")
    elif name in SHARED and (name == key or name == "xformers"):
        SHARED[name](ledger, key, value, document)
    elif name == "network_args" and parameter is not None:
        network_words(ledger, [] if value in (*NOT_SET, False) else value, document.get("network_module"))
    elif parameter is not None and (value in NOT_SET or (value is False and parameter.kind != "bool")):
        ledger.skip(key, value)
    elif parameter is not None and name != key:
        ledger.take(key, value, name=name)
    elif name == "lr_scheduler" and str(value).lower() in SCHEDULERS:
        ledger.take(key, value, made=str(value).lower(), note="" if value in SCHEDULERS else "In small letters.")
    else:
        _recognised(ledger, key, value)


def _box(ledger: Ledger, key: str, value: Any) -> None:
    if not is_on(value):
        ledger.skip(key, value)
    elif BOXES[key] == ledger.command.family:
        ledger.convert(key, value, became=f"script = {ledger.command.script}")
    else:
        ledger.keep(key, value, note=f"It is for {title(BOXES[key])}.")


def _recognised(ledger: Ledger, key: str, value: Any) -> None:
    families = families_of_flag(key)
    if families and not any(map(is_built, families)):
        ledger.keep(key, value, note=f"It is for {' / '.join(map(title, families))}, not trained here yet.")
        return
    try:
        found = recognise(ledger.command, key, value)
    except ConfigError as refused:
        if key in NOTES:
            ledger.keep(key, value, note=NOTES[key])
        else:
            ledger.keep(key, value, note=f"{refused.message} {refused.fix}".strip(), outcome="unknown")
        return
    note = " ".join(problem.message for problem in found.notes)
    if found.kept:
        ledger.keep(key, value, note=note)
    elif not found.given:
        ledger.skip(key, value)
    for name, made in found.given.items():
        ledger.take(key, value, name=name, made=made, note=note if name == key else "")
