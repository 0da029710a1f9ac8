"""What a person has typed so far: a draft per user, kept on the server, and how config files become drafts and drafts become configs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_gui.jobs.prompts import STUDIO_PROMPTS
from kohya_gui.jobs.states import write_whole
from kohya_gui.settings import HOME, Settings
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.check import Problem, check
from sd_scripts.params.commands import Command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.migrate import import_any
from sd_scripts.params.problem import error
from sd_scripts.params.values import typed

PRESETS = HOME / "presets" / "lora"


@dataclass(frozen=True)
class Draft:
    """`given` holds typed values by option name, `wrong` what could not be typed (as text, so that nothing typed is lost).

    `base` is what a reset goes back to: the values of the preset or file that was opened. `prompts` are the lines of the sample prompts as typed,
    empty ones too. `studio` is the config's own table, kept keys among it. `file` is the config file that was opened or saved last, "" without one.
    """

    given: Mapping[str, object] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    base: Mapping[str, object] = field(default_factory=dict)
    prompts: str = ""
    studio: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""

    def with_value(self, command: Command, name: str, value: object, *, text: str = "") -> Draft:
        """The draft after one field was changed to `value` (None: emptied); `text` is what was typed, kept where it makes no value."""
        parameter = command.parameter(name)
        given = {key: item for key, item in self.given.items() if key != name}
        wrong = {key: item for key, item in self.wrong.items() if key != name}
        try:
            made = typed(parameter, value)
        except ConfigError:
            wrong[name] = text or str(value)
            return dataclasses.replace(self, given=given, wrong=wrong)
        if made is not None and (made != parameter.default or name in self.given or name in self.base):
            given[name] = made
        return dataclasses.replace(self, given=given, wrong=wrong)

    def value(self, command: Command, name: str) -> object:
        """What the field of an option shows: as given, as mistyped, or the default."""
        return self.wrong[name] if name in self.wrong else self.given.get(name, command.parameter(name).default)

    def base_value(self, command: Command, name: str) -> object:
        """What a reset of that field shows."""
        return self.base.get(name, command.parameter(name).default)

    def changed(self, command: Command) -> tuple[str, ...]:
        """Names of the fields that differ from what was opened."""
        return tuple(name for name in command.by_name if self.value(command, name) != self.base_value(command, name))

    def config(self, command: Command, *, prompts_file: Path | None = None) -> tuple[Config, list[Problem]]:
        """The config that this draft describes, and every problem of it; values that cannot be typed are problems and left out.

        Typed prompts stand in the studio table; with `prompts_file`, which must hold them, that file is the prompt file instead.
        """
        problems = [_mistyped(command, name, text) for name, text in self.wrong.items()]
        given, studio = dict(self.given), {key: value for key, value in self.studio.items() if key != STUDIO_PROMPTS}
        if self.prompts.strip() and prompts_file is not None:
            given["sample_prompts"] = str(prompts_file)
        elif self.prompts.strip():
            studio[STUDIO_PROMPTS] = self.prompts
        try:
            config = make_config(command, given, studio)
        except ConfigError as failed:
            problems.append(error(failed.field, failed.message, failed.fix))
            config = make_config(command, {name: value for name, value in given.items() if name != failed.field}, studio)
        return config, [*problems, *check(config)]


def draft_of(config: Config, *, file: str = "") -> Draft:
    """The draft that shows a config, unchanged."""
    given = dict(config.given)
    return Draft(given=given, base=given, prompts=str(config.studio.get(STUDIO_PROMPTS, "")), studio=dict(config.studio), file=file)


def presets(folder: Path = PRESETS) -> dict[str, Path]:
    """Preset files by the name that is shown: bundled ones, then the user's own as "user/..."."""
    bundled = {path.stem: path for path in sorted(folder.glob("*.json"))}
    return bundled | {f"user/{path.stem}": path for path in sorted((folder / "user").glob("*.*")) if path.suffix in (".json", ".toml")}


def start_draft(command: Command, settings: Settings) -> Draft:
    """The draft of an empty form: the start preset, with config.toml's defaults over it.

    Raises:
        ConfigError: config.toml names a preset that does not exist, or gives a default of the wrong type.
    """
    available = presets()
    if settings.preset not in available:
        raise ConfigError("preset", f"There is no preset {settings.preset!r}.", fix=f"Choose one of: {', '.join(available)}.")
    opened = import_any(available[settings.preset], command).config
    own = {name: value for name, value in settings.defaults.items() if name in command.by_name}
    folders = {"output_dir": str(settings.output_dir)} if "output_dir" in command.by_name else {}
    return draft_of(make_config(command, {**folders, **opened.given, **own}, opened.studio))


@dataclass(frozen=True)
class Drafts:
    """Drafts by user, each in one small file, so that a restart of the program loses nothing typed."""

    folder: Path
    command: Command
    start: Draft
    _cache: dict[str, Draft] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def read(self, user: str) -> Draft:
        """The user's draft; the start draft where there is none or its file cannot be read any more."""
        with self._lock:
            if user not in self._cache:
                self._cache[user] = self._load(user)
            return self._cache[user]

    def update(self, user: str, change: Callable[[Draft], Draft]) -> Draft:
        """Replace the draft by what `change` makes of it, undisturbed by other events of the same page. Raises RunError."""
        with self._lock:
            draft = change(self.read(user))
            self.write(user, draft)
            return draft

    def prompts_file(self, user: str) -> Path:
        """Where the user's typed prompts stand as a prompt file."""
        return self._path(user).with_suffix(".txt")

    def write(self, user: str, draft: Draft) -> None:
        """Keep the draft, in memory and on disk, its prompts beside it as a file.

        Raises:
            RunError: the file cannot be written.
        """
        with self._lock:
            if self._cache.get(user) == draft:
                return
            self._cache[user] = draft
            secrets = {parameter.name for parameter in self.command.parameters if parameter.hints.secret}
            record = dataclasses.asdict(dataclasses.replace(draft, given={name: value for name, value in draft.given.items() if name not in secrets}))
            path = self._path(user)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, json.dumps(record, ensure_ascii=False, default=str))
                write_whole(self.prompts_file(user), f"{draft.prompts.strip()}\n")
            except OSError as failed:
                raise RunError(f"The draft cannot be kept in {path}: {failed.strerror}.", fix="Free space, or choose another runs_dir.") from failed

    def _path(self, user: str) -> Path:
        return self.folder / f"{hashlib.sha256(user.encode()).hexdigest()[:16]}.json"

    def _load(self, user: str) -> Draft:
        try:
            record = json.loads(self._path(user).read_text("utf-8"))
            draft = Draft(**record)
        except (OSError, ValueError, TypeError):
            return self.start
        given = {name: _retyped(self.command, name, value) for name, value in draft.given.items() if name in self.command.by_name}
        base = {name: _retyped(self.command, name, value) for name, value in draft.base.items() if name in self.command.by_name}
        return dataclasses.replace(draft, given=given, base=base)


def _retyped(command: Command, name: str, value: object) -> object:
    """JSON has no tuples; a value of an older version that fits no more becomes the default."""
    try:
        return typed(command.parameter(name), value)
    except ConfigError:
        return command.parameter(name).default


def _mistyped(command: Command, name: str, text: str) -> Problem:
    try:
        typed(command.parameter(name), text)
    except ConfigError as failed:
        return error(name, failed.message, failed.fix)
    return error(name, f"{text!r} cannot be read.")
