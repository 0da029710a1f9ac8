"""Presets: how to train, without what is trained. Bundled ones and the user's own, as small JSON files by method.

A file holds `title`, `about`, `families` it is for (none: all), `card_gb` (memory that it was chosen for), `group` (where it comes from, none: ours)
and `values` by option name; a file with values alone, as `start.json`, or a config of any program that a user put there, counts as a preset too.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.configs import PRESET_FOLDERS, PRESETS, START, VALUES, Draft, draft_of, preset_given
from kohya_gui.jobs.states import write_whole
from kohya_gui.text import retell
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.commands import Command
from sd_scripts.params.config import make_config
from sd_scripts.params.dataset import Folders, Masks, MetadataFile
from sd_scripts.params.distributed import Distributed
from sd_scripts.params.files import ConfigFile
from sd_scripts.params.hub import HuggingFace
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.logging import Logging
from sd_scripts.params.metadata import Metadata
from sd_scripts.params.model import SDModel
from sd_scripts.params.spec import section_of

USER = "user"
DELETED = ".deleted"
GROUPS = ("", "kohya", USER)
"""Where presets come from, in the list's order: ours, those of the kohya GUI, the user's own."""
KEPT = (
    "pretrained_model_name_or_path",
    "vae",
    "tokenizer_cache_dir",
    "reg_data_dir",
    "resolution",
    "caption_extension",
    "caption_prefix",
    "caption_suffix",
    "network_weights",
    "base_weights",
    "base_weights_multiplier",
    "token_string",
    "init_word",
    "weights",
    "sample_prompts",
    "output_dir",
    "output_name",
    "training_comment",
    "resume",
)
KEPT_SECTIONS = (SDModel, Folders, MetadataFile, Masks, Logging, Metadata, Launcher, Distributed, HuggingFace, ConfigFile)
"""What a preset leaves alone: it says how to train, not what, nor on which machine, nor where results go."""
_NAME = re.compile(r"[\w][\w .,+()'-]{0,79}")
_WORD = re.compile(r"(\D+|^)(\d*)")


@dataclass(frozen=True)
class Preset:
    """One file. `name` tells it apart among those of a method; the user's own begin with "user/"."""

    name: str
    path: Path
    title: str
    about: str = ""
    families: tuple[str, ...] = ()
    card_gb: float | None = None
    group: str = ""

    @property
    def told_title(self) -> str:
        """The title in the reader's language; the user's own and those of others are names."""
        return self.title if self.group else retell(self.title)

    @property
    def is_own(self) -> bool:
        """Whether the user made it."""
        return self.group == USER

    @property
    def place(self) -> tuple[int, bool, list[tuple[str, int]]]:
        """Where it stands in the list: by group, the start first, then by title, in which 8 GB comes before 12 GB."""
        return GROUPS.index(self.group), self.path.stem != START, [(word.lower(), int(number or 0)) for word, number in _WORD.findall(self.title)]

    def fits(self, command: Command) -> bool:
        """Whether it is for the trainer's family."""
        return not self.families or command.family in self.families


def find_presets(command: Command, folder: Path = PRESETS) -> list[Preset]:
    """The presets of a trainer: bundled ones, then the user's own."""
    place = folder / PRESET_FOLDERS[command.method]
    own = (path for path in sorted((place / USER).glob("*.*")) if path.suffix in (".json", ".toml"))
    every = [*(read_preset(path) for path in sorted(place.glob("*.json"))), *(read_preset(path, own=True) for path in own)]
    return sorted((preset for preset in every if preset.fits(command)), key=lambda preset: preset.place)


def listed(command: Command, folder: Path = PRESETS) -> list[list[str]]:
    """The presets of a trainer for a list: name, title, group."""
    return [[preset.name, preset.told_title, preset.group] for preset in find_presets(command, folder)]


def left_alone(command: Command) -> frozenset[str]:
    """The options of a trainer that a preset leaves alone."""
    sections = {section_of(kept).name for kept in KEPT_SECTIONS}
    return frozenset(parameter.name for parameter in command.parameters if parameter.name in KEPT or parameter.section in sections)


def read_preset(path: Path, *, own: bool = False) -> Preset:
    """What a file says of itself; a file that says nothing is called by its name."""
    name = f"{USER}/{path.stem}" if own else path.stem
    try:
        data = json.loads(path.read_text("utf-8")) if path.suffix == ".json" else {}
    except (OSError, ValueError):
        data = {}
    if not isinstance(data, dict) or not isinstance(data.get(VALUES), dict):
        return Preset(name, path, "Start values" if path.stem == START and not own else path.stem, group=USER if own else "")
    families, card, group = data.get("families") or (), data.get("card_gb"), str(data.get("group") or "")
    group = USER if own else group if group in GROUPS else ""
    return Preset(name, path, str(data.get("title") or path.stem), str(data.get("about") or ""), tuple(families), card, group)


def preset_named(name: str, command: Command, folder: Path = PRESETS) -> Preset:
    """The preset of that name. Raises ConfigError."""
    for preset in find_presets(command, folder):
        if preset.name == name:
            return preset
    raise ConfigError("preset", f"There is no preset {name!r} for this kind of training.", fix="Choose one of the list.")


def applied(draft: Draft, preset: Preset) -> Draft:
    """The draft with the preset's values, and of its own only what a preset leaves alone.

    Raises:
        ConfigError: a value of the preset is none that the option takes.
    """
    command = draft.command
    given = preset_given(preset.path, command)
    kept = {name: draft.given[name] for name in left_alone(command) if name in draft.given}
    made = draft_of(make_config(command, {**given, **kept}, draft.studio), file=draft.file)
    return dataclasses.replace(made, prompts=draft.prompts, aside=draft.aside)


def changes(before: Draft, after: Draft) -> Iterator[tuple[str, object, object]]:
    """Options whose values differ between two drafts of one trainer: name, value before, value after."""
    for name in after.command.by_name:
        old, new = before.value(name), after.value(name)
        if old != new:
            yield name, old, new


def keep_preset(draft: Draft, name: str, folder: Path = PRESETS) -> Preset:
    """Write the draft as a preset of the user's own, without what a preset leaves alone, and without secrets.

    Raises:
        ConfigError: the name cannot be a file's, or there is such a preset, or a field holds no value.
        RunError: the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("preset", f"{name!r} cannot be the name of a preset.", fix="Use letters, digits, blanks and - _ . , + ( ).")
    if draft.wrong:
        raise ConfigError(next(iter(draft.wrong)), "It cannot be kept as it stands.", fix="Mend the marked fields first.")
    path = folder / PRESET_FOLDERS[draft.command.method] / USER / f"{name}.json"
    if path.exists():
        raise ConfigError("preset", f"There is a preset {name!r} already.", fix="Choose another name, or delete that one first.")
    command = draft.command
    left = left_alone(command) | {parameter.name for parameter in command.parameters if parameter.hints.secret}
    values = {name: value for name, value in draft.given.items() if name not in left and name in command.by_name}
    text = json.dumps({"title": name, "families": [command.family], VALUES: values}, ensure_ascii=False, indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text + "\n")
    except OSError as failed:
        raise RunError(f"{path} cannot be written: {failed.strerror}.", fix="Free space, or make the folder writable.") from failed
    return read_preset(path, own=True)


def drop_preset(preset: Preset) -> Path:
    """Put a preset of the user's own away; where its file lies now.

    Raises:
        ConfigError: it is a bundled one.
        RunError: the file cannot be moved.
    """
    if not preset.is_own:
        raise ConfigError("preset", f"“{preset.title}” comes with the program.", fix="Only presets of your own can be deleted.")
    folder = preset.path.parent / DELETED
    target, number = folder / preset.path.name, 2
    while target.exists():
        target, number = folder / f"{preset.path.stem}-{number}{preset.path.suffix}", number + 1
    try:
        folder.mkdir(exist_ok=True)
        preset.path.rename(target)
    except OSError as failed:
        raise RunError(f"{preset.path} cannot be moved: {failed.strerror}.", fix="Make its folder writable.") from failed
    return target
