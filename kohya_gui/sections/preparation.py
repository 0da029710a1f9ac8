"""Dataset preparation: copies a folder of pictures into the layout with repeats in the folder's name, and fills the folder fields in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.form.form import Form
from kohya_gui.form.section import FormSection
from kohya_gui.markup import Markup, tag
from kohya_gui.prepare import Preparation, prepare
from kohya_gui.text import plural, say
from sd_scripts.errors import TrainingError

BLURB = (
    "Copies pictures and captions into folders whose names carry repeats and words, the layout of kohya's trainers. "
    "You can also point “Picture folder” at any folder and set the repeats there; then none of this is needed."
)


class DatasetPreparation(FormSection):
    """A small tool, no options of the trainer."""

    title = "Prepare a dataset"
    FILLS: ClassVar[tuple[str, ...]] = ("train_data_dir", "dataset_config", "reg_data_dir")

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.inputs: list[gr.components.Component] = []
        self.button: gr.Button | None = None
        self.result: gr.HTML | None = None

    def draw(self) -> None:
        """The tool's own fields, which are no options: Gradio's."""
        with gr.Accordion(self.title, open=False, elem_id=self.id, elem_classes=["section", "tool-section", "adv-section"]):
            self._draw_tool()

    def _draw_tool(self) -> None:
        html_block(lambda: tag("p", say(BLURB), class_="soft"))
        self.inputs = [
            _folder("Pictures to copy", "The folder they are in now. They stay there.", "p-source"),
            _word("Name", "The word that will call the thing up, such as sks or its name.", "p-instance"),
            _word("Class", "What kind of thing it is, such as cat, person or style.", "p-class"),
            _count("Repeats", "How often each picture comes in an epoch.", "p-repeats", value=10),
            _folder("Destination", "A new folder for the copies.", "p-destination"),
            _folder("Regularisation pictures", "Optional: pictures of the class in general.", "p-reg"),
            _count("Regularisation repeats", "How often each of these comes.", "p-reg-repeats", value=1),
        ]
        self.button = gr.Button("Copy the pictures", elem_id="prepare-button")
        self.result = html_block(elem_id="prepare-result")

    def run(self, values: Sequence[Any]) -> tuple[Markup, dict[str, str]]:
        """Do it with the values of `inputs`; the sentence to show, and the values for the folder fields."""
        source, instance, class_, repeats, destination, reg, reg_repeats = values
        try:
            roots = self.form.roots
            if not source or not destination:
                return _told("bad", "Choose the pictures and a destination."), {}
            wanted = Preparation(
                roots.resolve(source),
                roots.resolve(destination),
                (instance or "").strip(),
                (class_ or "").strip(),
                int(repeats or 0),
                roots.resolve(reg) if reg else None,
                int(reg_repeats or 0),
            )
            made = prepare(wanted)
        except TrainingError as failed:
            return _told("bad", str(failed)), {}
        folders = {"train_data_dir": str(made.train_data_dir), "dataset_config": ""}
        if made.reg_data_dir:
            folders["reg_data_dir"] = str(made.reg_data_dir)
        copied = f"Copied {plural(made.pictures, 'picture')} and {plural(made.captions, 'caption')} to {wanted.image_folder}."
        return _told("good", f"{copied} The folder fields point there now."), folders


def _folder(label: str, info: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, elem_id=elem_id, elem_classes=["field", "wide", "path-folder"])


def _word(label: str, info: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, elem_id=elem_id, elem_classes=["field"])


def _count(label: str, info: str, elem_id: str, *, value: int) -> gr.Number:
    return gr.Number(label=label, info=info, value=value, minimum=1, precision=0, elem_id=elem_id, elem_classes=["field"])


def _told(tone: str, sentence: str) -> Markup:
    return tag("p", sentence, class_=f"told {tone}", role="status")
