"""Which trainer the form is for: a method, and a family of models. Together they name a row of the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kohya_gui.markup import Markup, join, tag
from kohya_gui.text import say
from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.families import FAMILIES

METHODS = {"adapter": "LoRA", "dreambooth": "DreamBooth", "finetune": "Full fine-tune", "embedding": "Textual inversion"}
"""Methods in the order of the form, with their names for people."""
LIKE = {"dreambooth": ("finetune",), "finetune": ("dreambooth",)}
"""What stands in for a method that a family has no trainer of its own for."""


def choose(method: str, family: str) -> Command:
    """The trainer of a method for a family, or of the nearest method that the family has. Raises ConfigError for an unknown family."""
    rows = [row for row in COMMANDS if row.kind == "train" and row.family == family]
    if not rows:
        raise ConfigError("family", f"No trainer is for models of {family!r}.")
    wanted = (method, *LIKE.get(method, ()))
    return min(rows, key=lambda row: wanted.index(row.method) if row.method in wanted else len(wanted))


def family_choices() -> list[tuple[str, str]]:
    """Families that have a trainer, by their names for people, short."""
    names = dict.fromkeys(row.family for row in COMMANDS if row.kind == "train")
    return [(say(FAMILIES[name].title).replace("Stable Diffusion", "SD"), name) for name in names]


def draw_switch() -> Markup:
    """The two rows of choices: method and family. The script sets them, and hides methods that a family has no trainer for."""
    return join(
        _row("method", say("What is trained"), [(say(title), method) for method, title in METHODS.items()]),
        _row("family", say("Base model is"), family_choices()),
    )


def _row(name: str, title: str, choices: Sequence[tuple[str, str]]) -> Markup:
    labels = [tag("label", tag("input", type="radio", name=name, value=value, data_switch=name), tag("span", text)) for text, value in choices]
    return tag("fieldset", tag("legend", title), tag("div", labels, class_="wrap"), id=name, class_="switch")


def trainers() -> dict[str, list[Any]]:
    """What the script knows of each trainer: method, family, and the sections of options that it takes."""
    rows = [row for row in COMMANDS if row.kind == "train"]
    return {row.script: [row.method, row.family, [section.name for section in row.descriptions]] for row in rows}
