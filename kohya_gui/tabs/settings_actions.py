"""What the Settings page asks for: what is set, keeping it, tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_gui.form.widgets import shown
from kohya_gui.jobs.secrets import SECRETS, keep_secret
from kohya_gui.markup import Markup
from kohya_gui.settings import HOME, Settings
from kohya_gui.settings_file import EDITABLE, SettingsFile, default_value, open_settings_file
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import told
from kohya_gui.text import say
from sd_scripts.errors import ConfigError

Answer = dict[str, Any]
Asked = Mapping[str, Any]
FOLDERS = ("output_dir", "datasets_dir", "models_dir", "runs_dir")
AFTER_RESTART = "runs_dir"
"""Trainings that run keep writing where they began, so this folder changes with the next start of the program."""


@dataclass(frozen=True)
class SettingsActions:
    """Handlers of the page. `draw` makes the page's content from the desk and the file."""

    desk: Desk
    draw: Callable[[Desk, SettingsFile], Markup]

    def look(self, asked: Asked) -> Answer:
        """The page as it is now."""
        file = open_settings_file(self.desk.settings.source)
        return {"page": str(self.draw(self.desk, file)), "mark": file.mark}

    def save(self, asked: Asked) -> Answer:
        """Write what was changed into config.toml and use it from now on. Raises ConfigError, DataError or RunError; nothing is written then."""
        file = open_settings_file(self.desk.settings.source)
        if asked.get("mark") != file.mark:
            raise ConfigError(
                "config", f"{file.path.name} was changed by something else in between.", fix="Load this page again, then make the change anew."
            )
        values = self._values(asked.get("values"), file)
        edited = file.edited(values, _defaults(asked.get("defaults")))
        read = edited.settings()
        start = self.desk.settings.runs_dir
        self.desk.settle(dataclasses.replace(read, runs_dir=start))
        edited.write()
        later = AFTER_RESTART in values and read.runs_dir != start
        sentence = say("Saved in {path}.", path=edited.path)
        if later:
            sentence = say("Saved in {path}. The folder for runs changes when the program is started again.", path=edited.path)
        return {"told": told("warn" if later else "good", sentence), **self.look(asked)}

    def token(self, asked: Asked) -> Answer:
        """Keep a token, or forget it. Raises ConfigError or RunError."""
        variable, value = str(asked.get("variable", "")), asked.get("value")
        if variable not in SECRETS.values():
            raise ConfigError("", say("There is no such token."), fix=say("Load the page again."))
        keep_secret(self.desk.settings.runs_dir, variable, None if value is None else str(value).strip())
        sentence = say("The token is forgotten.") if value is None else say("The token is kept, and given to trainings that are started from now on.")
        return {"told": told("good", sentence), **self.look(asked)}

    def from_form(self, asked: Asked, user: str) -> Answer:
        """What the form changes from an empty one, as lines for the defaults; folders and files of one training are left out."""
        draft = self.desk.drafts.read(user)
        fresh = self.desk.start(draft.command)
        parameters = {name: draft.command.by_name[name] for name in draft.given if draft.value(name) != fresh.value(name)}
        own = {name: row for name, row in parameters.items() if not row.hints.path and not row.hints.secret and draft.value(name) is not None}
        return {"rows": [[name, _as_text(shown(row, draft.value(name)))] for name, row in own.items()]}

    def _values(self, asked: object, file: SettingsFile) -> dict[str, object]:
        """Those that differ from what counts now."""
        if not isinstance(asked, Mapping) or not set(asked) <= set(EDITABLE):
            raise ConfigError("", say("The request is damaged."), fix=say("Load the page again."))
        now = file.settings()
        values: dict[str, object] = {}
        for name, text in asked.items():
            value = self._value(name, str(text).strip())
            if value != _plain(now, name):
                values[name] = value
        return values

    def _value(self, name: str, text: str) -> object:
        if name == "poll_seconds":
            return _seconds(text)
        if not text:
            raise ConfigError(name, say("It is empty."), fix=say("Write a value, or put the old one back."))
        if name in FOLDERS:
            place = Path(text).expanduser()
            return str(self.desk.roots.resolve(place if place.is_absolute() else HOME / place))
        return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text.replace(",", "."))
    except ValueError:
        seconds = 0.0
    if not 0.2 <= seconds <= 60:
        raise ConfigError(
            "poll_seconds", say("{text} is no number of seconds from 0.2 to 60.", text=text or "“”"), fix=say("Write 1.5, for example.")
        )
    return seconds


def _defaults(asked: object) -> dict[str, object]:
    if not isinstance(asked, list):
        raise ConfigError("", say("The request is damaged."), fix=say("Load the page again."))
    rows = [(str(name).strip(), str(text).strip()) for name, text in asked]
    names = [name for name, _ in rows]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(name, say("It is there twice."), fix=say("Take one of the two lines out."))
    return {name: default_value(name, text) for name, text in rows}


def _plain(settings: Settings, name: str) -> object:
    value = getattr(settings, name)
    return str(value) if isinstance(value, Path) else value


def _as_text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value
