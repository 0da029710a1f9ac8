"""One section of the form: an accordion with the widgets of some sections of options. What each holds is said in `kohya_gui.sections`."""

from __future__ import annotations

from typing import ClassVar

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.form.form import Form
from kohya_gui.form.marks import SectionFacts
from kohya_gui.markup import tag
from sd_scripts.params.config import Config
from sd_scripts.params.spec import Section, section_of


class FormSection:
    """A closed accordion that draws the options of `parts`, in order, each part under its own heading.

    Subclasses say `title` and `parts`; they may say how a config sums up in one line (`summary`), and add widgets of their own (`before`, `after`).
    """

    title: ClassVar[str]
    parts: ClassVar[tuple[type, ...]] = ()
    open: ClassVar[bool] = False

    def __init__(self, form: Form) -> None:
        self.form = form
        self.shown: tuple[Section, ...] = tuple(section_of(part) for part in self.parts if part in form.command.sections)

    @property
    def id(self) -> str:
        """The accordion's element id."""
        return f"sec-{type(self).__name__}"

    @property
    def names(self) -> tuple[str, ...]:
        """The options that this section draws."""
        return tuple(parameter.name for section in self.shown for parameter in section.params)

    def summary(self, config: Config) -> str:
        """What a closed section says of its contents, in one line."""
        return ""

    def facts(self) -> SectionFacts:
        """What the marks need to know."""
        return SectionFacts(self.id, self.names, self.summary)

    def draw(self) -> None:
        """Build the accordion and all its widgets."""
        classes = ["section"] if self._has_basic() else ["section", "adv-section"]
        with gr.Accordion(self.form.words.title(type(self).__name__, self.title), open=self.open, elem_id=self.id, elem_classes=classes):
            self.before()
            for section in self.shown:
                if len(self.shown) > 1 and section.title != self.title:
                    advanced = all(self.form.command.parameter(parameter.name).hints.advanced for parameter in section.params)
                    html_block(tag("h3", section.title), elem_classes=["part-title", "adv"] if advanced else ["part-title"])
                for parameter in section.params:
                    self.form.draw_field(parameter.name)
            self.after()

    def before(self) -> None:
        """Widgets above the options."""

    def after(self) -> None:
        """Widgets below the options."""

    def _has_basic(self) -> bool:
        return not self.shown or any(not parameter.hints.advanced for section in self.shown for parameter in section.params)
