"""Dialogs that the pages of runs share: name and note, what is deleted. The script fills and opens them."""

from __future__ import annotations

from kohya_gui.jobs.notes import LONGEST_TITLE
from kohya_gui.markup import Markup, join, tag
from kohya_gui.text import say


def dialogs() -> Markup:
    """All of them, closed."""
    return join(_note(), _removal(), _menu())


def _note() -> Markup:
    name = tag("input", type="text", id="note-title", maxlength=LONGEST_TITLE, autocomplete="off")
    title = _field("note-title", say("Name"), say("Shown in the place of the file's name."), name)
    tags = _field("note-tags", say("Tags"), say("Separated by commas."), tag("input", type="text", id="note-tags", autocomplete="off"))
    text = _field("note-text", say("Note"), say("What you tried, and how it turned out."), tag("textarea", id="note-text", rows=5))
    acts = tag(
        "div",
        tag("button", say("Cancel"), type="button", class_="button", data_close=True),
        tag("button", say("Keep"), type="submit", class_="button primary", id="note-keep"),
        class_="buttons",
    )
    told = tag("div", id="note-told", role="status")
    form = tag("form", tag("h2", say("Name and note")), title, tags, text, told, acts, method="dialog")
    return tag("dialog", form, id="note-dialog", class_="run-dialog", aria_label=say("Name and note"))


def _field(id_: str, label: str, info: str, widget: Markup) -> Markup:
    return tag("div", tag("label", label, for_=id_, class_="name"), tag("p", info, class_="info"), widget, class_="field")


def _removal() -> Markup:
    """What would be moved is asked of the server when it opens."""
    acts = tag(
        "div",
        tag("button", say("Cancel"), type="button", class_="button", data_close=True),
        tag("button", say("Move to the trash"), type="submit", class_="button stop", id="remove-sure"),
        class_="buttons",
    )
    form = tag("form", tag("div", id="remove-words"), acts, method="dialog")
    return tag("dialog", form, id="remove-dialog", class_="run-dialog", aria_label=say("Delete runs"))


def _menu() -> Markup:
    """What can be done to one run of the list."""
    rows = (
        ("open", say("Open")),
        ("note", say("Name and note…")),
        ("again", say("Train again with changes")),
        ("remove", say("Delete…")),
    )
    items = [tag("button", words, type="button", role="menuitem", tabindex="-1", data_menu=key) for key, words in rows]
    return tag("div", items, id="run-menu", role="menu", aria_label=say("This run"), hidden=True)
