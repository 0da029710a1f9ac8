"""Which trainer the form is for: a method, and a family of models. Together they name a row of the registry."""

from __future__ import annotations

import gradio as gr

from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.families import FAMILIES

METHODS = {"adapter": "LoRA", "dreambooth": "DreamBooth", "finetune": "Full fine-tune", "embedding": "Textual inversion"}
"""Methods in the order of the form, with their names for people."""
LIKE = {"dreambooth": ("finetune",), "finetune": ("dreambooth",)}
"""What stands in for a method that a family has no trainer of its own for."""


def choose(method: str, family: str) -> Command:
    """The trainer of a method for a family, or of the nearest method that the family has."""
    rows = [row for row in COMMANDS if row.kind == "train" and row.family == family]
    wanted = (method, *LIKE.get(method, ()))
    return min(rows, key=lambda row: wanted.index(row.method) if row.method in wanted else len(wanted))


def family_choices() -> list[tuple[str, str]]:
    """Families that have a trainer, by their names for people, short."""
    names = dict.fromkeys(row.family for row in COMMANDS if row.kind == "train")
    return [(FAMILIES[name].title.replace("Stable Diffusion", "SD"), name) for name in names]


def method_choices(family: str) -> list[tuple[str, str]]:
    """Methods that a family has a trainer for."""
    there = {row.method for row in COMMANDS if row.kind == "train" and row.family == family}
    return [(title, method) for method, title in METHODS.items() if method in there]


def draw_switch(command: Command) -> tuple[gr.Radio, gr.Radio]:
    """The two rows of choices, at `command`: method and family."""
    method = gr.Radio(
        method_choices(command.family), value=command.method, label="What is trained", elem_id="method", elem_classes=["switch"], scale=3
    )
    family = gr.Radio(family_choices(), value=command.family, label="Base model is", elem_id="family", elem_classes=["switch"], scale=2)
    return method, family
