"""From an option's declaration to its input element, and from what the input holds back to a value. Marks, visibility and search are the script's.

The inputs are the browser's own. Gradio's components, of which the form would need 270, take half a millisecond each before a page can be used,
opened or not; measured in docs/decisions.md.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from kohya_gui.markup import Markup, join, tag
from kohya_gui.text import Words, say, speaking
from sd_scripts.params.spec import Hints, Parameter

NOT_SET = "not set"
UNREACHED = 1e9
FIELD = "f-"
"""Before a field's name in its element's id."""
TALL_LISTS = ("network_args", "optimizer_args", "lr_scheduler_args", "base_weights")


def field_id(key: str) -> str:
    """The element's id of a field."""
    return f"{FIELD}{key}"


def make_field(parameter: Parameter, words: Words, value: object, *, key: str = "") -> Markup:
    """Label, help and input of one option, showing `value`; None shows as empty. `key` is the field's name where it is not the option's.

    The script fills what is empty here: the sentence of a problem, the button that mends it, the button that resets the field.
    """
    key = key or parameter.name
    label = tag("label", words.label(parameter), for_=f"i-{key}", class_="name")
    control = make_input(parameter, words, value, key=key)
    is_bool = parameter.kind == "bool"
    top = tag("div", control, label, class_="tick") if is_bool else label
    box = None if is_bool else tag("div", control, browse_button(words.label(parameter)) if parameter.hints.path else None, class_="box")
    classes = " ".join(_classes(parameter))
    return tag("div", top, info(parameter, words, key=key), box, foot(key, words), id=field_id(key), class_=classes, data_part=parameter.section)


def foot(key: str, words: Words) -> Markup:
    """What stands below an input: the sentence of its problem, and two buttons, all empty until the script fills them."""
    return join(
        tag("p", class_="message", id=f"m-{key}", aria_live="polite"),
        tag("button", words.text("Fix it"), class_="mend link", type="button", data_fix=key, hidden=True),
        tag("button", class_="reset link", type="button", data_reset=key, hidden=True),
    )


def browse_button(label: str) -> Markup:
    """The button that opens the server's folders for the input before it, in the reader's language."""
    return tag("button", say("Browse"), type="button", class_="browse", aria_label=say("Browse for {label}", label=label))


def make_input(parameter: Parameter, words: Words, value: object, *, key: str) -> Markup:
    """The bare input of an option: a box to tick, a list of choices, or a line or lines of text."""
    text = shown(parameter, value)
    common: dict[str, str | None] = {"id": f"i-{key}", "data_key": key, "aria_describedby": f"h-{key} m-{key}"}
    if parameter.kind == "bool":
        return tag("input", type="checkbox", checked=bool(text), **common)
    if parameter.choices and not parameter.many:
        empty = [("", words.text(NOT_SET))] if parameter.optional else []
        rows = [*empty, *((str(choice), str(choice)) for choice in parameter.choices)]
        return tag("select", [tag("option", name, value=choice, selected=choice == text) for choice, name in rows], **common)
    common |= {"autocomplete": "off", "placeholder": _placeholder(parameter, words)}
    if parameter.hints.multiline or parameter.name in TALL_LISTS:
        return tag(
            "textarea", text, rows=3 if parameter.hints.multiline else 2, spellcheck="true" if parameter.hints.multiline else "false", **common
        )
    # Numbers are typed as text: an input for numbers hides what was mistyped, and takes a comma or a point as the reader's country does.
    common |= {"inputmode": "decimal"} if parameter.kind in ("int", "float", "number") and not parameter.many else {}
    kind = "password" if parameter.hints.secret else "text"
    if parameter.hints.suggestions and not parameter.hints.path:
        offered = tag("datalist", [tag("option", value=word) for word in parameter.hints.suggestions], id=f"l-{key}")
        return join(tag("input", type=kind, value=text, spellcheck="false", list=f"l-{key}", **common), offered)
    return tag("input", type=kind, value=text, spellcheck="false", **common)


def info(parameter: Parameter, words: Words, *, key: str) -> Markup:
    """What stands below a field's label: the flag, the help, the range."""
    within = _range(parameter.hints, words)
    return tag("p", tag("code", parameter.name), " ", words.help(parameter), f" {within}" if within else None, id=f"h-{key}", class_="info")


def shown(parameter: Parameter, value: object) -> str | bool:
    """A typed value as its input shows it."""
    if parameter.kind == "bool":
        return bool(value)
    if value is None:
        return ""
    return join_words(value if isinstance(value, (tuple, list)) else (value,)) if parameter.many else _word(value)


def raw(parameter: Parameter, value: object) -> object:
    """What an input holds, ready to be typed by the registry; None where it is empty."""
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


def _range(hints: Hints, words: Words) -> str:
    """The range as a sentence, without a top that only a computer reaches; "" if there is none."""
    low = None if hints.min is None else f"{hints.min:g}"
    high = None if hints.max is None or hints.max >= UNREACHED else f"{hints.max:g}"
    with speaking(words):
        if low is None:
            return say("At most {high}.", high=high) if high is not None else ""
        if high is None:
            return say("Above {low}.", low=low) if hints.exclusive_min else say("{low} or more.", low=low)
        return say("Above {low}, at most {high}.", low=low, high=high) if hints.exclusive_min else say("{low} to {high}.", low=low, high=high)


def _classes(parameter: Parameter) -> list[str]:
    classes = ["field", f"kind-{parameter.kind}"]
    if parameter.hints.advanced:
        classes.append("adv")
    if parameter.kind == "path" or parameter.many or parameter.hints.multiline:
        classes.append("wide")
    if parameter.hints.path:
        classes.append(f"path-{parameter.hints.path}")
    return classes


def _placeholder(parameter: Parameter, words: Words) -> str | None:
    if parameter.default in (None, "", False):
        return words.text(NOT_SET) if parameter.kind != "path" else None
    return str(parameter.default)
