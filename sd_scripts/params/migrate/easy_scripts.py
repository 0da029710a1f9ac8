"""TOML of LoRA Easy Training Scripts: kohya's options in tables of their own kind, brought into kohya's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORD_LISTS = ("optimizer_args", "network_args", "lr_scheduler_args")
"""Options that are tables there and lists of key=value words at kohya's."""


def is_easy_scripts(document: Mapping[str, Any]) -> bool:
    """Whether a document has that form: [[subsets]], and tables like [general_args.args] and [bucket_args.dataset_args]."""
    tables = [value for value in document.values() if isinstance(value, dict)]
    return isinstance(document.get("subsets"), list) and any("args" in table or "dataset_args" in table for table in tables)


def in_kohyas_form(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings as a flat config with a dataset beside it."""
    options: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    for table in document.values():
        if isinstance(table, dict):
            options |= table.get("args") or {}
            dataset |= table.get("dataset_args") or {}
    for name in WORD_LISTS:
        if isinstance(options.get(name), dict):
            options[name] = [f"{key}={_word(value)}" for key, value in options[name].items()]
    return {**options, "datasets": [{**dataset, "subsets": list(document["subsets"])}]}


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
