"""The account of an import: which key became what. Nothing is lost: what is not taken is kept with its value and the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.migrate.secrets import HIDDEN, says_nothing, without_secrets
from sd_scripts.params.migrate.told_family import Told, not_trained
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.values import typed

Outcome = Literal["taken", "converted", "default", "no counterpart", "unknown"]
KEPT, WHY_KEPT, SCRIPT = "kept", "why_kept", "script"
"""Keys in the studio table: what could not be taken, why, and the trainer that the config is for."""

OF_A_MODEL = ("pretrained_model_name_or_path", "vae", "network_weights", "base_weights", "resume")
"""Options that name files of one family: those of another are kept, so that a training cannot start from them by accident."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one key. `outcome`: taken as it is; converted, `became` says to what; default: it says what is so anyway; no counterpart: known,
    but without a use here; unknown. `note` is the reason. The value of a secret is not in it."""

    key: str
    value: object
    outcome: Outcome
    note: str = ""
    became: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """A config made from another program's file, with a row for each of its keys.

    `dataset` is a dataset description that the file holds or implies, as the tables of a dataset config: it belongs in a file of its own, which the
    config then names (`with_dataset`). `adds`: the file says only part of a training, so what it says is added to what there is already.
    """

    config: Config
    rows: tuple[Row, ...]
    dataset: Mapping[str, Any] | None = None
    adds: bool = False


class Ledger:
    """Collects values and rows while a file is read."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.given: dict[str, object] = {}
        self.studio: dict[str, Any] = {}
        self.rows: list[Row] = []
        self.notes: list[Problem] = []
        self.dataset: dict[str, Any] | None = None
        self.other_family = ""

    def meant_for(self, told: Told | None) -> None:
        """Say it where the file is for another family than the trainer's, or does not tell surely."""
        field, title = "pretrained_model_name_or_path", self.command.title
        if told is None:
            fix = f"It is read for {title}; choose another family if that is wrong."
            self.warn(field, "The file does not say of which family its model is.", fix)
        elif told.family == self.command.family:
            if not told.surely:
                self.warn(field, f"Only the name {told.by} tells that the file is for {told.title}.", "Choose another family if that is wrong.")
        elif told.is_built:
            self.refuse(field, f"The file was saved for {told.title}; this trains {title}.", "Choose a base model of that kind.")
        elif told.surely:
            self.other_family = told.title
            fix = f"What every family has was read for {title}; all else is kept. Name a base model of that kind to train one."
            self.refuse(field, not_trained(told.family), fix)
        else:
            self.warn(field, f"The name {told.by} looks like a model of {told.title}, which is not trained here yet.", f"This trains {title}.")

    def meant_for_last(self, told: Told | None) -> None:
        """Like `meant_for`, for a file that was read already: a model of another family is put back to what is kept."""
        self.meant_for(told)
        if self.other_family:
            for row in [row for row in self.rows if row.outcome in ("taken", "converted") and row.key in OF_A_MODEL and row.key in self.given]:
                self.rows.remove(row)
                del self.given[row.key]
                self.keep(row.key, row.value, note=f"It is of {self.other_family}.")

    def take(self, key: str, value: object, *, name: str = "", made: object = None, note: str = "") -> None:
        """Give the option `name` (`key` itself if absent) the value `made` (`value` if absent); keep the pair if that is no value of the option."""
        name = name or key
        made = value if made is None else made
        parameter = self.command.by_name.get(name)
        if parameter is None:
            self.keep(key, value, note=note or f"It is {name}, which {self.command.script} does not take.")
            return
        if self.other_family and name in OF_A_MODEL and not says_nothing(value):
            self.keep(key, value, note=f"It is of {self.other_family}.")
            return
        try:
            result = typed(parameter, made)
        except ConfigError as refused:
            self.keep(key, value, note=refused.message)
            return
        if result is None:
            self.skip(key, value)
            return
        self.given[name] = result
        if note or name != key:
            self.convert(key, value, became=f"{name} = {shown(result)}", note=note)
        else:
            self.rows.append(Row(key, value, "taken"))

    def take_as_it_is(self, key: str, value: object) -> None:
        """Note that a key was taken over, which the caller does."""
        self.rows.append(Row(key, value, "taken"))

    def convert(self, key: str, value: object, *, became: str = "", note: str = "") -> None:
        """Note that a key was turned into something else, which the caller does."""
        self.rows.append(Row(key, without_secrets(value), "converted", note, became))

    def skip(self, key: str, value: object, note: str = "") -> None:
        """The value says what is so anyway."""
        self.rows.append(Row(key, value, "default", note))

    def keep(self, key: str, value: object, *, note: str = "", outcome: Outcome = "no counterpart") -> None:
        """Keep what has no use here with its value and the reason, for the record and for going back."""
        value = without_secrets(value)
        self.studio.setdefault(KEPT, {})[key] = "" if value is None else value
        if note:
            self.studio.setdefault(WHY_KEPT, {})[key] = note
        self.rows.append(Row(key, value, outcome, note))

    def hide(self, key: str, value: object) -> None:
        """A secret: neither taken nor kept nor shown."""
        if says_nothing(value):
            self.skip(key, value)
            return
        self.rows.append(Row(key, HIDDEN, "no counterpart", "Secrets are not taken from files. Give it in the environment."))

    def refuse(self, field: str, message: str, fix: str) -> None:
        """Note a problem with the file as a whole."""
        self.notes.append(error(field, message, fix))

    def warn(self, field: str, message: str, fix: str) -> None:
        """Note something about the file as a whole that a person should know."""
        self.notes.append(warning(field, message, fix))

    def finish(self, *, adds: bool = False) -> Imported:
        """The config, which names its trainer, and the rows."""
        studio = {**self.studio, SCRIPT: self.command.script}
        config = make_config(self.command, self.given, studio, notes=tuple(self.notes))
        return Imported(config, tuple(self.rows), self.dataset, adds)


def with_guess(sentence: str, near: str) -> str:
    """A sentence, and the name that may have been meant."""
    return sentence + f" Did you mean {near}?" if near else sentence


def shown(value: object) -> str:
    """A value as a row shows it."""
    if isinstance(value, tuple):
        return " ".join(map(shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


Converter = Callable[[Ledger, str, Any, Mapping[str, Any]], None]
"""Accounts for one key: the ledger, the key, its value, and the whole document."""
