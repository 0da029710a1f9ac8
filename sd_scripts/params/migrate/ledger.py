"""The account of an import: which key became what. Nothing is lost: what is not taken is kept with its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.values import typed

Outcome = Literal["taken", "converted", "default", "no counterpart", "unknown"]
HIDDEN = "(not shown)"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one key. `outcome`: taken as it is; converted, `note` says to what; default: it says what is so anyway; no counterpart: known,
    but without a use here; unknown. The value of a secret is not in it."""

    key: str
    value: object
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """A config made from another program's file, with a row for each of its keys."""

    config: Config
    rows: tuple[Row, ...]


class Ledger:
    """Collects values and rows while a file is read."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.given: dict[str, object] = {}
        self.studio: dict[str, Any] = {}
        self.rows: list[Row] = []
        self.notes: list[Problem] = []

    def take(self, key: str, value: object, *, name: str = "", made: object = None, note: str = "") -> None:
        """Give the option `name` (`key` itself if absent) the value `made` (`value` if absent); keep the pair if that is no value of the option."""
        name = name or key
        made = value if made is None else made
        try:
            result = typed(self.command.parameter(name), made)
        except ConfigError as refused:
            self.keep(key, value, note=refused.message)
            return
        if result is None:
            self.skip(key, value)
            return
        self.given[name] = result
        if not note and name != key:
            note = f"It is {name} here."
        self.rows.append(Row(key, value, "converted" if note else "taken", note))

    def skip(self, key: str, value: object, note: str = "") -> None:
        """The value says what is so anyway."""
        self.rows.append(Row(key, value, "default", note))

    def keep(self, key: str, value: object, *, note: str = "", outcome: Outcome = "no counterpart") -> None:
        """Keep what has no use here with its value, for the record and for going back."""
        self.studio.setdefault("kept", {})[key] = "" if value is None else value
        self.rows.append(Row(key, value, outcome, note))

    def hide(self, key: str, value: object) -> None:
        """A secret: neither taken nor kept nor shown."""
        if value in ("", None, False, "False"):
            self.skip(key, value)
            return
        self.rows.append(Row(key, HIDDEN, "no counterpart", "Secrets are not taken from files. Give it in the environment."))

    def refuse(self, field: str, message: str, fix: str) -> None:
        """Note a problem with the file as a whole."""
        self.notes.append(error(field, message, fix))

    def warn(self, field: str, message: str, fix: str) -> None:
        """Note something about the file as a whole that a person should know."""
        self.notes.append(warning(field, message, fix))

    def finish(self) -> Imported:
        """The config and the rows."""
        return Imported(make_config(self.command, self.given, self.studio, notes=tuple(self.notes)), tuple(self.rows))


Converter = Callable[[Ledger, str, Any, Mapping[str, Any]], None]
"""Accounts for one key: the ledger, the key, its value, and the whole document."""
