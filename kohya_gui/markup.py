"""HTML made from values: text is escaped unless it says that it is markup already, so no page can forget to."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset(("br", "hr", "img", "input", "meta", "link"))


class Markup(str):
    """Text that is HTML and stays as it is inside `tag`."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """One element. Children may be text (escaped), `Markup`, numbers, None (nothing) or lists of these.

    Attributes: None and False leave it out, True writes it bare; `class_` and `for_` lose the line's end, other `_` become `-` (`data_x`).
    """
    shown = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Children one after the other, escaped where they are plain text."""
    return Markup("".join(_text(child) for child in children))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, (str, int, float)):
        return html.escape(str(child))
    return join(*child)
