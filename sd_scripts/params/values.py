"""From what people write to typed values: the same for the command line's words, a TOML file's values and a form's. Ranges are `check.py`'s."""

from __future__ import annotations

import difflib
import math
import os
import shlex
from collections.abc import Iterable, Sequence

from sd_scripts.errors import ConfigError
from sd_scripts.params.spec import Parameter

TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0")


def typed(parameter: Parameter, value: object) -> object:
    """`value` as the type that `parameter` declares; None where the option is left unset.

    Text is read as the command line reads it, so `"1e-4"` is a rate; blank text means "not set" where the option may be unset. A list option takes
    one value for a list of one.

    Raises:
        ConfigError: the value has no meaning in that type, or is not among the choices.
    """
    if value is None or (parameter.optional and _is_blank(value)):
        return None
    if parameter.many:
        return tuple(_one(parameter, item) for item in _items(parameter, value))
    return _one(parameter, value)


def nearest(word: str, known: Iterable[str]) -> str:
    """The name in `known` that `word` was probably meant to be, or "" if none is near."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.7)
    return names[found[0]] if found else ""


def step_or_share(text: str) -> int | float:
    """kohya's unit for warm-up and decay: "10%" and "0.1" are a share of the run, a whole number from 1 on counts steps.

    Raises:
        ValueError: the text is no number, or a fraction above 1, which could mean either.
    """
    if text.endswith("%"):
        return float(text[:-1]) / 100
    value = float(text)
    return value if value < 1 else int(text)


def key_value(field: str, word: str) -> tuple[str, str]:
    """Split one `key=value` word of a list option.

    Raises:
        ConfigError: there is no `=`, or nothing before it.
    """
    key, equals, value = word.strip().partition("=")
    if not equals or not key.strip():
        raise ConfigError(field, f"{word!r} is not of the form key=value.", fix="Write for example conv_dim=8.")
    return key.strip(), value.strip()


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _items(parameter: Parameter, value: object) -> Sequence[object]:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, str) and parameter.kind in ("str", "float", "int"):
        return _split(value)
    return (value,)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _one(parameter: Parameter, value: object) -> object:
    if parameter.kind == "choice":
        return _choice(parameter, value)
    convert = CONVERT[parameter.kind]
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError):
        raise ConfigError(parameter.name, f"{value!r} is not {WANTED[parameter.kind]}.", fix=_hint(parameter)) from None


def _hint(parameter: Parameter) -> str:
    if parameter.kind == "number":
        return "Write a share of the run as 0.1 or 10%, a number of steps as 100."
    if parameter.kind == "bool":
        return "Write true or false."
    return "" if parameter.default in (None, "") or parameter.many else f"The default is {parameter.default}."


def _choice(parameter: Parameter, value: object) -> object:
    for choice in parameter.choices:
        if type(value) is type(choice) and value == choice:
            return choice
        if isinstance(value, str) and str(choice) == value.strip():
            return choice
        if isinstance(choice, int) and isinstance(value, float) and value == choice:
            return choice
    near = nearest(str(value), map(str, parameter.choices))
    known = ", ".join(map(str, parameter.choices))
    raise ConfigError(parameter.name, f"{value!r} is not one of {known}.", fix=f"Did you mean {near}?" if near else "")


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, (int, str)) else ""
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return word in TRUE_WORDS
    raise ValueError(value)


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return int(value)
    number = _float(value)
    if number != math.floor(number):
        raise ValueError(value)
    return int(number)


def _number(value: object) -> int | float:
    if isinstance(value, str):
        number = step_or_share(value.strip())
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = value
    else:
        raise TypeError(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _str(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, (list, tuple)) and value and all(type(item) in (int, float) for item in value):
        return ",".join(map(str, value))
    if not isinstance(value, str):
        raise TypeError(value)
    return value


CONVERT = {"bool": _bool, "int": _int, "float": _float, "number": _number, "str": _str, "path": _str}
WANTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "number": "a share of the run or a number of steps",
    "str": "text",
    "path": "a path",
}
