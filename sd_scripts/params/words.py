"""kohya's `key=value` words of optimizers and schedules, read into a mapping. What the keys mean is their readers' business."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from sd_scripts.errors import ConfigError
from sd_scripts.params.values import key_value


def parse_words(field: str, words: Iterable[str] | None) -> dict[str, object]:
    """Values by key; a value is a Python literal (number, True, tuple, quoted text), anything else is text as it stands.

    Raises:
        ConfigError: a word is not key=value, or a key comes twice with different values; `field` names the option.
    """
    values: dict[str, object] = {}
    for word in words or ():
        key, text = key_value(field, word)
        value = _literal(text)
        if key in values and values[key] != value:
            raise ConfigError(field, f"{key} is given twice, as {values[key]!r} and {value!r}.", fix="Keep one of them.")
        values[key] = value
    return values


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)
