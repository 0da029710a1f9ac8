"""From an option's declaration to its Gradio widget, and from the widget's value back. Marks, visibility and search are the page's script's."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from kohya_gui.text import Words
from sd_scripts.params.help import range_words
from sd_scripts.params.spec import Parameter

NOT_SET = "not set"
UNREACHED = 1e9
FIELD = "f-"
"""Before a field's name in its element's id."""
TALL_LISTS = ("network_args", "optimizer_args", "lr_scheduler_args", "base_weights")


def field_id(key: str) -> str:
    """The element's id of a field's widget."""
    return f"{FIELD}{key}"


def make_widget(parameter: Parameter, words: Words, value: object, *, key: str = "") -> Component:
    """The widget of one option, showing `value`; None shows as empty. `key` is the field's name where it is not the option's."""
    common: dict[str, Any] = {
        "label": words.label(parameter),
        "info": info(parameter, words),
        "elem_id": field_id(key or parameter.name),
        "elem_classes": _classes(parameter),
        "value": shown(parameter, value),
        "interactive": True,
    }
    if parameter.kind == "bool":
        return gr.Checkbox(**common)
    if parameter.choices and not parameter.many:
        return gr.Dropdown(choices=_choices(parameter), filterable=len(parameter.choices) > 8, **common)
    if parameter.hints.suggestions and not parameter.many and not parameter.hints.path:
        return gr.Dropdown(choices=_suggestions(parameter), allow_custom_value=True, **common)
    # Numbers are typed as text too: gr.Number shows an empty value as 0, rounds large seeds, and hides what was mistyped.
    lines = 3 if parameter.hints.multiline else 1
    return gr.Textbox(
        lines=lines,
        max_lines=8 if lines > 1 or parameter.name in TALL_LISTS else 1,
        type="password" if parameter.hints.secret else "text",
        placeholder=_placeholder(parameter),
        html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=parameter.hints.multiline),
        **common,
    )


def shown(parameter: Parameter, value: object) -> Any:
    """A typed value as its widget shows it."""
    if parameter.kind == "bool":
        return bool(value)
    if parameter.choices and not parameter.many:
        return "" if value is None else value
    if value is None:
        return ""
    return join_words(value if isinstance(value, (tuple, list)) else (value,)) if parameter.many else _word(value)


def raw(parameter: Parameter, value: Any) -> object:
    """What a widget holds, ready to be typed by the registry; None where it is empty."""
    if value is None or (isinstance(value, str) and not value.strip() and (parameter.optional or parameter.kind != "str" or parameter.many)):
        return None
    if parameter.many and isinstance(value, str):
        return split_words(value)
    return value


def split_words(text: str) -> tuple[str, ...]:
    """Words of a list option: separated by blanks or line ends, kept together by quotes. An open quote is taken as it stands."""
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
        return tuple(lexer)
    except ValueError:
        return tuple(text.split())


def join_words(words: Sequence[object]) -> str:
    """The inverse of `split_words`."""
    return " ".join(_quoted(_word(word)) for word in words)


def _word(value: object) -> str:
    """A value as people write it: 1e-4 is "0.0001", 5e-5 is "5e-5", 2.0 is "2"."""
    return re.sub(r"e([+-])0*", r"e\1", f"{value:.15g}") if isinstance(value, float) else str(value)


def _quoted(word: str) -> str:
    if word and not any(letter.isspace() or letter in "\"'" for letter in word):
        return word
    return f"'{word}'" if "'" not in word else f'"{word}"'


def info(parameter: Parameter, words: Words) -> str:
    """What stands below a field's label: the flag, the help, the range."""
    within = _range(parameter)
    return " ".join(part for part in (f"`{parameter.name}`", words.help(parameter), f"{within[0].upper()}{within[1:]}." if within else "") if part)


def _range(parameter: Parameter) -> str:
    """The range, without a top that only a computer reaches."""
    hints = parameter.hints
    if hints.max is not None and hints.max >= UNREACHED:
        parameter = dataclasses.replace(parameter, hints=dataclasses.replace(hints, max=None))
    return range_words(parameter)


def _classes(parameter: Parameter) -> list[str]:
    classes = ["field", f"kind-{parameter.kind}"]
    if parameter.hints.advanced:
        classes.append("adv")
    if parameter.kind == "path" or parameter.many or parameter.hints.multiline:
        classes.append("wide")
    if parameter.hints.path:
        classes.append(f"path-{parameter.hints.path}")
    return classes


def _choices(parameter: Parameter) -> list[tuple[str, Any]]:
    named = [(str(choice), choice) for choice in parameter.choices]
    return [(NOT_SET, ""), *named] if parameter.optional else named


def _suggestions(parameter: Parameter) -> list[str]:
    return list(parameter.hints.suggestions)


def _placeholder(parameter: Parameter) -> str | None:
    if parameter.default in (None, "", False):
        return NOT_SET if parameter.kind != "path" else None
    return str(parameter.default)
