"""Dataset preparation: copies a folder of pictures into the layout with repeats in the folder's name, and fills the folder fields in."""

from __future__ import annotations

from collections.abc import Mapping

from kohya_gui.files import Roots
from kohya_gui.form.section import FormSection
from kohya_gui.form.widgets import browse_button
from kohya_gui.markup import Markup, join, tag
from kohya_gui.prepare import Preparation, Prepared, prepare
from kohya_gui.text import say
from sd_scripts.errors import ConfigError

BLURB = (
    "Copies pictures and captions into folders whose names carry repeats and words, the layout of kohya's trainers. "
    "You can also point “Picture folder” at any folder and set the repeats there; then none of this is needed."
)
INPUTS = (
    ("source", "folder", "Pictures to copy", "The folder they are in now. They stay there.", ""),
    ("instance", "word", "Name", "The word that will call the thing up, such as sks or its name.", ""),
    ("class", "word", "Class", "What kind of thing it is, such as cat, person or style.", ""),
    ("repeats", "count", "Repeats", "How often each picture comes in an epoch.", "10"),
    ("destination", "folder", "Destination", "A new folder for the copies.", ""),
    ("reg", "folder", "Regularisation pictures", "Optional: pictures of the class in general.", ""),
    ("reg-repeats", "count", "Regularisation repeats", "How often each of these comes.", "1"),
)
"""The tool's inputs: name, kind, label, help, value at first."""


class DatasetPreparation(FormSection):
    """A small tool, no options of the trainer."""

    title = "Prepare a dataset"

    def _has_basic(self) -> bool:
        return False

    def before(self) -> Markup:
        """The tool's own inputs."""
        button = tag("button", say("Copy the pictures"), type="button", class_="button", id="prepare-button", data_do="prepare")
        inputs = tag("div", [_input(row) for row in INPUTS], class_="fields")
        return join(tag("p", say(BLURB), class_="soft"), inputs, button)


def run(values: Mapping[str, object], roots: Roots) -> tuple[Preparation, Prepared]:
    """Do it with the values of the inputs; what was asked for and what was made.

    Raises:
        ConfigError: a value is missing or no number.
        DataError: a folder cannot be used, see `prepare`.
    """
    text = {name: str(values.get(name, "")).strip() for name, *_ in INPUTS}
    if not text["source"] or not text["destination"]:
        raise ConfigError("", "Choose the pictures and a destination.")
    wanted = Preparation(
        roots.resolve(text["source"]),
        roots.resolve(text["destination"]),
        text["instance"],
        text["class"],
        _count(text["repeats"]),
        roots.resolve(text["reg"]) if text["reg"] else None,
        _count(text["reg-repeats"]),
    )
    return wanted, prepare(wanted)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError("", f"{text!r} is no number of repeats.", fix="Write a whole number, such as 10.")
    return int(text)


def _input(row: tuple[str, str, str, str, str]) -> Markup:
    name, kind, label, info, value = row
    numeric = "numeric" if kind == "count" else None
    entry = tag(
        "input", type="text", id=f"p-{name}", data_tool=name, value=value, inputmode=numeric, autocomplete="off", aria_describedby=f"h-p-{name}"
    )
    return tag(
        "div",
        tag("label", say(label), for_=f"p-{name}", class_="name"),
        tag("p", say(info), id=f"h-p-{name}", class_="info"),
        tag("div", entry, browse_button(say(label)) if kind == "folder" else None, class_="box"),
        class_="field wide path-folder" if kind == "folder" else "field",
    )
