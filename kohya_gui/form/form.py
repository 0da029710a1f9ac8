"""The form of all trainers: a field per option, and the way between what the fields hold and a draft."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from kohya_gui.configs import Draft
from kohya_gui.form.keys import key_of, keys_of, name_of, taken_by
from kohya_gui.form.widgets import make_field, raw, shown
from kohya_gui.markup import Markup
from kohya_gui.text import words
from sd_scripts.params.spec import Section

PROMPTS = "prompts"
"""The field of the sample prompts, which are no option of a trainer."""


@dataclass(frozen=True)
class Form:
    """Fields by key (`keys.key_of`); `start` is what they show first."""

    start: Draft

    def draw_field(self, section: Section, name: str) -> Markup:
        """The field of one option of `section`, in the reader's language. One of another trainer shows that trainer's default."""
        here = self.start.command if section.cls in self.start.command.sections else taken_by(section)[0]
        parameter = here.parameter(name)
        value = self.start.value(name) if here is self.start.command else parameter.default
        return make_field(parameter, words(), value, key=key_of(parameter))

    def show(self, draft: Draft) -> dict[str, str | bool]:
        """What the fields of the draft's trainer hold, by key; of numbers their text."""
        return {key: self._shown(draft, name) for name, key in keys_of(draft.command).items()} | {PROMPTS: draft.prompts}

    def take(self, draft: Draft, key: str, value: str | bool) -> Draft:
        """The draft after the field of `key` came to hold `value`; the same object where that is what the draft says already, or of no account."""
        if key == PROMPTS:
            return draft if draft.prompts == value else dataclasses.replace(draft, prompts=str(value))
        name = name_of(key)
        if keys_of(draft.command).get(name) != key or value == self._shown(draft, name):
            return draft
        return draft.with_value(name, raw(draft.command.parameter(name), value), text=str(value))

    def collect(self, draft: Draft, values: Mapping[str, str | bool]) -> Draft:
        """The draft with the values of these fields taken over."""
        for key, value in values.items():
            draft = self.take(draft, key, value)
        return draft

    def _shown(self, draft: Draft, name: str) -> str | bool:
        if name in draft.wrong:
            return draft.wrong[name]
        return shown(draft.command.parameter(name), draft.value(name))
