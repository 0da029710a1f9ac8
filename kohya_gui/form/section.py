"""One section of the form: an accordion with the fields of some sections of options. What each holds is said in `kohya_gui.sections`."""

from __future__ import annotations

from typing import ClassVar

from kohya_gui.form.form import Form
from kohya_gui.form.keys import key_of
from kohya_gui.form.marks import SectionFacts
from kohya_gui.markup import Markup, join, tag
from kohya_gui.text import words
from sd_scripts.params.config import Config
from sd_scripts.params.spec import Section, section_of

SECTION = "sec-"
"""Before a section's class name in its accordion's id."""


class FormSection:
    """A closed accordion that draws the options of `parts`, in order, each part under its own heading.

    Subclasses say `title` and `parts`; they may say how a config sums up in one line (`summary`), and add parts of their own (`before`, `after`).
    """

    title: ClassVar[str]
    parts: ClassVar[tuple[type, ...]] = ()
    open: ClassVar[bool] = False

    def __init__(self, form: Form) -> None:
        self.form = form
        self.shown: tuple[Section, ...] = tuple(section_of(part) for part in self.parts)

    @property
    def id(self) -> str:
        """The accordion's element id."""
        return f"{SECTION}{type(self).__name__}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields that this section draws."""
        return tuple(key_of(parameter) for section in self.shown for parameter in section.params)

    def summary(self, config: Config) -> str:
        """What a closed section says of its contents, in one line. Called where the config has at least one of `parts`."""
        return ""

    def facts(self) -> SectionFacts:
        """What the marks need to know."""
        return SectionFacts(self.id, self.keys, self._line)

    def _line(self, config: Config) -> str:
        return self.summary(config) if not self.parts or any(part in config for part in self.parts) else ""

    def markup(self) -> Markup:
        """The section with all its fields, in the reader's language."""
        name = words().title(type(self).__name__, self.title)
        head = tag("summary", tag("span", name, class_="title"), tag("span", class_="summary"), tag("span", class_="badge"))
        body = tag("div", self.before(), [self._part(section) for section in self.shown], self.after(), class_="section-body")
        return tag("details", head, body, id=self.id, class_="section" if self._has_basic() else "section adv-section", open=self.open)

    def _part(self, section: Section) -> Markup:
        heading = None
        if len(self.shown) > 1 and section.title != self.title:
            advanced = all(parameter.hints.advanced for parameter in section.params)
            text = tag("h3", words().title(section.name, section.title))
            heading = tag("div", text, id=f"part-{section.name}", class_="part-title adv" if advanced else "part-title")
        fields = tag("div", [self.form.draw_field(section, parameter.name) for parameter in section.params], class_="fields")
        return join(heading, fields)

    def before(self) -> Markup | None:
        """What stands above the options."""
        return None

    def after(self) -> Markup | None:
        """What stands below the options."""
        return None

    def _has_basic(self) -> bool:
        return not self.shown or any(not parameter.hints.advanced for section in self.shown for parameter in section.params)
