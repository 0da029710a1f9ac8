"""The form of one command: a widget per option, made once, and the way between their values and a draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradio.components import Component

from kohya_gui.configs import Draft
from kohya_gui.files import Roots
from kohya_gui.form.widgets import make_widget, raw, shown
from kohya_gui.text import Words
from sd_scripts.params.commands import Command


@dataclass
class Form:
    """Widgets by option name. `start` is what they show first; the rest of the page reads and sets them through here alone."""

    command: Command
    words: Words
    start: Draft
    roots: Roots
    fields: dict[str, Component] = field(default_factory=dict)

    def draw_field(self, name: str) -> Component:
        """Build the widget of one option where the caller stands in the page."""
        parameter = self.command.parameter(name)
        made = make_widget(parameter, self.words, self.start.value(self.command, name))
        self.fields[name] = made
        return made

    def show(self, draft: Draft, before: Draft | None = None) -> dict[Component, Any]:
        """Values for the widgets that show `draft`; with `before`, only those whose value differs."""
        names = [name for name in self.fields if before is None or draft.value(self.command, name) != before.value(self.command, name)]
        return {self.fields[name]: self._shown(draft, name) for name in names}

    def take(self, draft: Draft, name: str, value: Any) -> Draft:
        """The draft after the widget of `name` came to hold `value`; the same object where that is what the draft says already."""
        if value == self._shown(draft, name):
            return draft
        return draft.with_value(self.command, name, raw(self.command.parameter(name), value), text=str(value))

    def collect(self, draft: Draft, values: Mapping[Component, Any]) -> Draft:
        """The draft with every widget's value taken over."""
        for name, widget in self.fields.items():
            if widget in values:
                draft = self.take(draft, name, values[widget])
        return draft

    def index(self) -> list[list[str]]:
        """What the search looks through: name, label, help per drawn option."""
        parameters = [self.command.parameter(name) for name in self.fields]
        return [[parameter.name, self.words.label(parameter), self.words.help(parameter)] for parameter in parameters]

    def _shown(self, draft: Draft, name: str) -> Any:
        parameter = self.command.parameter(name)
        if name in draft.wrong:
            return draft.wrong[name]
        return shown(parameter, draft.value(self.command, name))
