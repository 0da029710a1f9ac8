"""Sample pictures: when they are drawn, and the prompts as lines of text."""

from __future__ import annotations

import gradio as gr

from kohya_gui.form.form import Form
from kohya_gui.form.section import FormSection
from kohya_gui.text import every
from sd_scripts.params.config import Config
from sd_scripts.params.samples import Samples

PLACEHOLDER = "a photo of sks cat on a chair --w 512 --h 512 --d 1 --l 7 --s 25"
PROMPTS_HELP = (
    "One prompt per line. A line may set --n negative, --w width, --h height, --d seed, --l guidance, --s steps. They count before a prompt file."
)


class SampleImages(FormSection):
    """Pictures drawn while training."""

    title = "Sample pictures"
    parts = (Samples,)

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.prompts: gr.Textbox | None = None

    def summary(self, config: Config) -> str:
        """How often."""
        samples = config[Samples]
        often = [every(samples.sample_every_n_steps, "step"), every(samples.sample_every_n_epochs, "epoch")]
        return " and ".join(word for word in often if word) or "none while training"

    def before(self) -> None:
        """The prompts as text."""
        self.prompts = gr.Textbox(
            label="Prompts",
            info=f"`prompts` {PROMPTS_HELP}",
            value=self.form.start.prompts,
            lines=3,
            max_lines=12,
            placeholder=PLACEHOLDER,
            elem_id="f-prompts",
            elem_classes=["field", "wide"],
            html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
        )
