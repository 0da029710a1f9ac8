"""What a person has typed so far, as a draft: how config files and presets become drafts, and drafts become configs."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_gui.jobs.prompts import STUDIO_PROMPTS
from kohya_gui.settings import HOME, Settings
from sd_scripts.errors import ConfigError
from sd_scripts.params.check import Problem, check
from sd_scripts.params.commands import Command, command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.config_file import STUDIO_TABLE
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.migrate import Imported, import_any, import_metadata
from sd_scripts.params.problem import error
from sd_scripts.params.values import typed
from sd_scripts.survey.weights_header import read_safetensors

PRESETS = HOME / "presets"
PRESET_FOLDERS = {"adapter": "lora", "dreambooth": "dreambooth", "finetune": "finetune", "embedding": "textual_inversion"}
"""Where the presets of a method lie."""
START = "start"
VALUES = "values"
"""Where a preset of our own format holds its values."""
FIRST_SCRIPT = "train_network"
"""What a form trains with until somebody chooses otherwise."""
SCRIPT_KEY = "script"
"""The trainer's name in the studio table of a config file."""


@dataclass(frozen=True)
class Draft:
    """`script` names the trainer. `given` holds typed values by option name, `wrong` what could not be typed, as text, so that nothing is lost.

    `base` is what a reset goes back to: the values of the preset or file that was opened. `prompts` are the lines of the sample prompts as typed,
    empty ones too. `studio` is the config's own table, kept keys among it. `file` is the config file that was opened or saved last, "" without one.
    `aside` are values that were set for other trainers and that this one does not take: they come back with one that does.
    """

    script: str = FIRST_SCRIPT
    given: Mapping[str, object] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    base: Mapping[str, object] = field(default_factory=dict)
    prompts: str = ""
    studio: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    aside: Mapping[str, object] = field(default_factory=dict)

    @property
    def command(self) -> Command:
        """The trainer's row."""
        return command(self.script)

    def with_value(self, name: str, value: object, *, text: str = "") -> Draft:
        """The draft after one field was changed to `value` (None: emptied); `text` is what was typed, kept where it makes no value."""
        parameter = self.command.parameter(name)
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

    def reset(self, names: Collection[str]) -> Draft:
        """The draft with these fields as they were opened."""
        given = {name: value for name, value in self.given.items() if name not in names}
        given |= {name: self.base[name] for name in names if name in self.base}
        return dataclasses.replace(self, given=given, wrong={name: text for name, text in self.wrong.items() if name not in names})

    def value(self, name: str) -> object:
        """What the field of an option shows: as given, as mistyped, or the default."""
        return self.wrong[name] if name in self.wrong else self.given.get(name, self.command.parameter(name).default)

    def base_value(self, name: str) -> object:
        """What a reset of that field shows."""
        return self.base.get(name, self.command.parameter(name).default)

    def changed(self) -> tuple[str, ...]:
        """Names of the fields that differ from what was opened."""
        return tuple(name for name in self.command.by_name if self.value(name) != self.base_value(name))

    def config(self, *, prompts_file: Path | None = None) -> tuple[Config, list[Problem]]:
        """The config that this draft describes, and every problem of it; values that cannot be typed are problems and left out.

        Typed prompts stand in the studio table; with `prompts_file`, which must hold them, that file is the prompt file instead.
        """
        problems = [_mistyped(self.command, name, text) for name, text in self.wrong.items()]
        given, studio = dict(self.given), {key: value for key, value in self.studio.items() if key != STUDIO_PROMPTS} | {SCRIPT_KEY: self.script}
        if self.prompts.strip() and prompts_file is not None:
            given["sample_prompts"] = str(prompts_file)
        elif self.prompts.strip():
            studio[STUDIO_PROMPTS] = self.prompts
        try:
            config = make_config(self.command, given, studio)
        except ConfigError as failed:
            problems.append(error(failed.field, failed.message, failed.fix))
            config = make_config(self.command, {name: value for name, value in given.items() if name != failed.field}, studio)
        return config, [*problems, *check(config)]

    def switched(self, fresh: Draft, old: Draft) -> Draft:
        """The draft for another trainer, whose start draft is `fresh`: what was set goes along, and `old`, the start draft of this one, does not.

        What the other trainer does not take is laid aside, and what it takes of what was laid aside comes back.
        """
        if fresh.script == self.script:
            return self
        set_here = {name: value for name, value in self.given.items() if name not in old.given or old.given[name] != value}
        pool = {**self.aside, **set_here}
        fitting = {name: value for name, value in pool.items() if _fits(fresh.command, name, value)}
        aside = {name: value for name, value in pool.items() if name not in fitting}
        wrong = {name: text for name, text in self.wrong.items() if name in fresh.command.by_name}
        return dataclasses.replace(
            fresh, given={**fresh.given, **fitting}, wrong=wrong, prompts=self.prompts, studio={**self.studio, **fresh.studio}, aside=aside
        )


def draft_of(config: Config, *, file: str = "") -> Draft:
    """The draft that shows a config, unchanged."""
    given = dict(config.given)
    prompts, studio = str(config.studio.get(STUDIO_PROMPTS, "")), dict(config.studio)
    return Draft(config.command.script, given=given, base=given, prompts=prompts, studio=studio, file=file)


def script_of(path: Path) -> Command | None:
    """The trainer that a config file of ours names; None where it names none."""
    try:
        table = tomllib.loads(path.read_text("utf-8-sig")).get(STUDIO_TABLE) if path.suffix == ".toml" else None
        return command(str(table[SCRIPT_KEY])) if isinstance(table, dict) else None
    except (OSError, ValueError, KeyError):
        return None


def import_file(path: Path, near: Command, *, exactly: bool = False) -> Imported:
    """A config of any program, or the settings that a LoRA file was trained with.

    Raises:
        ConfigError: it is none that is known, or says nothing about a training.
        DataError: a weights file is damaged.
    """
    if path.suffix.lower() == ".safetensors":
        return import_metadata(read_safetensors(path).metadata, near)
    return import_any(path, near, exactly=exactly)


def preset_given(path: Path, command: Command) -> dict[str, object]:
    """What a preset's file gives, typed: one of our own format, or a config of any program.

    Raises:
        ConfigError: the file cannot be read, or a value is none that its option takes.
    """
    try:
        data = json.loads(path.read_text("utf-8")) if path.suffix == ".json" else None
    except (OSError, ValueError) as failed:
        raise ConfigError("preset", f"{path} cannot be read: {failed}.", fix="Choose another preset, or mend the file.") from failed
    if isinstance(data, dict) and isinstance(data.get(VALUES), dict):
        return {name: typed(command.parameter(name), value) for name, value in data[VALUES].items() if name in command.by_name}
    return dict(import_any(path, command, exactly=True).config.given)


def start_draft(command: Command, settings: Settings) -> Draft:
    """The draft of an empty form: the method's start preset at the size the family was trained at, with config.toml's defaults over it.

    Raises:
        ConfigError: config.toml names a preset that does not exist, or gives a default of the wrong type.
    """
    name = settings.preset if command.script == FIRST_SCRIPT else START
    folder = PRESETS / PRESET_FOLDERS[command.method]
    path = next((path for path in (folder / f"{name}.json", folder / f"{name}.toml") if path.is_file()), None)
    if path is None:
        known = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.*") if path.suffix in (".json", ".toml"))
        raise ConfigError("preset", f"There is no preset {name!r}.", fix=f"Choose one of: {', '.join(known)}.")
    side = min(FAMILIES[command.family].resolution_of.values())
    given = {"output_dir": str(settings.output_dir), **preset_given(path, command)}
    if name == START:
        given["resolution"] = f"{side},{side}"
    own = {name: value for name, value in settings.defaults.items() if name in command.by_name}
    return draft_of(make_config(command, {**given, **own}))


def _fits(known: Command, name: str, value: object) -> bool:
    """Whether the trainer takes this value for an option of that name."""
    try:
        return name in known.by_name and typed(known.parameter(name), value) == value
    except ConfigError:
        return False


def _mistyped(known: Command, name: str, text: str) -> Problem:
    try:
        typed(known.parameter(name), text)
    except ConfigError as failed:
        return error(name, failed.message, failed.fix)
    return error(name, f"{text!r} cannot be read.")
