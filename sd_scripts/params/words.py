"""kohya's `key=value` words (network_args, optimizer_args, lr_scheduler_args) read into a mapping. What the keys mean is their readers' business."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from sd_scripts.errors import ConfigError


def parse_words(field: str, words: Iterable[str] | None) -> dict[str, object]:
    """Values by key; a value is a Python literal (number, True, tuple, quoted text), anything else is text as it stands.

    Raises:
        ConfigError: a word has no "=" or no key, or a key comes twice with different values; `field` names the option.
    """
    values: dict[str, object] = {}
    for word in words or ():
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise ConfigError(field, f'"{word}" is not key=value.', fix=f"Write it like this: --{field} weight_decay=0.01")
        value = _literal(text.strip())
        if key in values and values[key] != value:
            raise ConfigError(field, f"{key} is given twice, as {values[key]!r} and {value!r}.", fix="Keep one of them.")
        values[key] = value
    return values


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)
