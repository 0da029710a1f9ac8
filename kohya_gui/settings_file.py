"""config.toml as a page edits it: comments, order and unknown keys stay as they are, and nothing is written that could not be read again."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from kohya_gui.jobs.states import write_whole
from kohya_gui.settings import HOME, OPTIONS, Settings, example_toml, settings_from
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.values import typed

DEFAULTS = "defaults"
EDITABLE = ("output_dir", "datasets_dir", "models_dir", "runs_dir", "preset", "poll_seconds")
"""What the page may change. Which folders and hosts it serves is for whoever can write the file itself."""


@dataclass(frozen=True)
class SettingsFile:
    """The file's text as it was read; "" where there is none yet."""

    path: Path
    text: str = ""

    @property
    def mark(self) -> str:
        """A short hash of the text, by which a change in between is noticed."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def own_defaults(self) -> Mapping[str, Any]:
        """What stands under [defaults]; kohya's nested keys are not among it."""
        found = tomllib.loads(self.text).get(DEFAULTS, {}) if self.text else {}
        return found if isinstance(found, dict) else {}

    def edited(self, values: Mapping[str, object], defaults: Mapping[str, object]) -> SettingsFile:
        """With other values of `EDITABLE` settings, and with `defaults` as all there is under [defaults].

        Raises:
            ConfigError: a value is of the wrong type, or the file's own form does not allow the change.
        """
        try:
            return SettingsFile(self.path, self._edited(values, defaults)).checked(values, defaults)
        except TOMLKitError as failed:
            raise ConfigError("config", f"{self.path.name} cannot be changed from here: {failed}.", fix="Edit the file itself.") from failed

    def checked(self, values: Mapping[str, object], defaults: Mapping[str, object]) -> SettingsFile:
        """This file, if it can be read and says what was wanted. Raises ConfigError."""
        data = tomllib.loads(self.text)
        lacking = [name for name, value in values.items() if data.get(name) != value]
        if lacking or data.get(DEFAULTS, {}) != defaults:
            raise ConfigError(
                "config", f"{self.path.name} cannot be changed from here: {', '.join(lacking) or DEFAULTS}.", fix="Edit the file itself."
            )
        self.settings()
        return self

    def settings(self) -> Settings:
        """What it says. Raises ConfigError."""
        return settings_from(tomllib.loads(self.text), self.path)

    def write(self) -> None:
        """Put the text in the file's place, at once and as a whole. Raises RunError."""
        try:
            write_whole(self.path, self.text)
        except OSError as failed:
            raise RunError(f"{self.path} cannot be written: {failed.strerror}.", fix="Check the folder's permissions.") from failed

    def _edited(self, values: Mapping[str, object], defaults: Mapping[str, object]) -> str:
        text = self.text or example_toml()
        for name, value in values.items():
            # The example's line with this setting, commented out, is where a reader looks for it.
            line = re.compile(rf"^# *{re.escape(name)} *=.*$", re.MULTILINE)
            found = line.search(text)
            if found is not None and name not in tomllib.loads(text):
                start, end = found.span()
                text = f"{text[:start]}{tomlkit.dumps({name: value}).strip()}{text[end:]}"
        document = tomlkit.parse(text)
        for name, value in values.items():
            if document.get(name) != value:
                document[name] = value
        table = document.setdefault(DEFAULTS, tomlkit.table())
        for name in [name for name in table if name not in defaults]:
            del table[name]
        for name, value in defaults.items():
            if name not in table or table[name] != value:
                table[name] = value
        return tomlkit.dumps(document)


def open_settings_file(path: Path | None) -> SettingsFile:
    """The settings file as it stands on the disk; `path` is None where the program was started without one.

    Raises:
        ConfigError: it cannot be read.
    """
    place = path or HOME / "config.toml"
    try:
        text = place.read_text("utf-8-sig") if place.is_file() else ""
        tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as failed:
        raise ConfigError("config", f"{place} cannot be read: {failed}.", fix="Compare it with config.toml.example.") from failed
    return SettingsFile(place, text)


def default_value(name: str, text: str) -> object:
    """What was typed for an option of a new form, as it is written into [defaults].

    Raises:
        ConfigError: no trainer has such an option, it is a secret, or the text is none of its values.
    """
    if name not in OPTIONS:
        raise ConfigError(name, "No trainer has such an option.", fix="Choose one of the list.")
    parameter = OPTIONS[name]
    if parameter.hints.secret:
        raise ConfigError(name, "A secret is not written into config.toml.", fix="Keep it under Tokens.")
    value = typed(parameter, text.split() if parameter.many else text)
    if value is None:
        raise ConfigError(name, "It has no value.", fix="Write one, or take the line out.")
    return list(value) if isinstance(value, tuple) else value
