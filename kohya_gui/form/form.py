"""The form of all trainers: a widget per option, made once, and the way between their values and a draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradio.components import Component

from kohya_gui.configs import Draft
from kohya_gui.files import Roots
from kohya_gui.form.keys import key_of, keys_of, name_of, taken_by
from kohya_gui.form.widgets import make_widget, raw, shown
from kohya_gui.text import Words
from sd_scripts.params.spec import Parameter, Section


@dataclass
class Form:
    """Widgets by field (`keys.key_of`). `start` is what they show first; the rest of the page reads and sets them through here alone."""

    words: Words
    start: Draft
    roots: Roots
    fields: dict[str, Component] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)

    def draw_field(self, section: Section, name: str) -> Component:
        """Build the widget of one option of `section` where the caller stands in the page. One of another trainer shows that trainer's default."""
        here = self.start.command if section.cls in self.start.command.sections else taken_by(section)[0]
        parameter = here.parameter(name)
        value = self.start.value(name) if here is self.start.command else parameter.default
        key = key_of(parameter)
        made = make_widget(parameter, self.words, value, key=key)
        self.fields[key], self.parameters[key] = made, parameter
        return made

    def show(self, draft: Draft, before: Draft | None = None) -> dict[Component, Any]:
        """Values for the widgets that show `draft`; with `before`, only those whose value differs. Another trainer's widgets are set anew, all."""
        keys = {name: key for name, key in keys_of(draft.command).items() if key in self.fields}
        if before is not None and before.script == draft.script:
            keys = {name: key for name, key in keys.items() if draft.value(name) != before.value(name)}
        return {self.fields[key]: self._shown(draft, name) for name, key in keys.items()}

    def take(self, draft: Draft, key: str, value: Any) -> Draft:
        """The draft after the widget of `key` came to hold `value`; the same object where that is what the draft says already, or of no account."""
        name = name_of(key)
        if keys_of(draft.command).get(name) != key or value == self._shown(draft, name):
            return draft
        return draft.with_value(name, raw(draft.command.parameter(name), value), text=str(value))

    def collect(self, draft: Draft, values: Mapping[Component, Any]) -> Draft:
        """The draft with every widget's value taken over."""
        for key, widget in self.fields.items():
            if widget in values:
                draft = self.take(draft, key, values[widget])
        return draft

    def index(self) -> list[list[str]]:
        """What the search looks through: field, label, help per drawn option."""
        return [[key, self.words.label(parameter), self.words.help(parameter)] for key, parameter in self.parameters.items()]

    def _shown(self, draft: Draft, name: str) -> Any:
        if name in draft.wrong:
            return draft.wrong[name]
        return shown(draft.command.parameter(name), draft.value(name))
