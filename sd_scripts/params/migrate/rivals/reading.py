"""What the importers of other trainers share: a document as dotted keys, a rule for each key with a counterpart, a reason for each without."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.ledger import KEPT, WHY_KEPT, Imported, Ledger, Row, with_guess
from sd_scripts.params.migrate.shared import NOT_SET, is_secret
from sd_scripts.params.migrate.told_family import Told
from sd_scripts.params.migrate.trainer import WHOLE, row_of
from sd_scripts.params.values import nearest

Readable = Callable[[Path], bool]
"""Whether a file that a config names may be read."""


@dataclass(frozen=True, slots=True)
class Program:
    """Another trainer.

    `rules` account for the keys that have a counterpart. `known` are its other keys, each with its default and why it has none. One that ends in
    ".*" stands for all keys that begin so. `fallbacks` are its defaults that count where a file says nothing and that differ from ours. The keys in
    `first` are read before the others.
    """

    name: str
    rules: Mapping[str, Rule]
    known: Mapping[str, tuple[Any, str]]
    fallbacks: Mapping[str, Any] = field(default_factory=dict)
    first: tuple[str, ...] = ()


class Reading:
    """One file of a program while it is read."""

    def __init__(self, program: Program, said: Mapping[str, Any], command: Command, *, folder: Path, readable: Readable) -> None:
        self.program, self.said, self.ledger = program, dict(said), Ledger(command)
        self.folder, self.readable = folder, readable
        self.old_names: dict[str, str] = {}
        self.used_arguments: set[str] = set()

    @property
    def command(self) -> Command:
        """The trainer that the file is read for."""
        return self.ledger.command

    @property
    def method(self) -> str:
        """What is trained."""
        return self.command.method

    @property
    def is_whole(self) -> bool:
        """Whether the whole model is trained."""
        return self.method in WHOLE

    def value(self, key: str, default: Any = None) -> Any:
        """What the file says, else what the program takes where it says nothing."""
        if self.said.get(key) is not None:
            return self.said[key]
        if key in self.program.fallbacks:
            return self.program.fallbacks[key]
        known = self.program.known.get(key)
        return known[0] if known and known[0] is not None else default

    def number(self, key: str) -> float:
        """A value as a number; 0 where it is none."""
        return as_number(self.value(key)) or 0.0

    def is_off(self, key: str) -> bool:
        """Whether a switch is off that is on where nothing is said."""
        return self.value(key, True) in (False, "false", "False", 0)

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Read keys of older versions under their newer names; rows keep those of the file."""
        for old, new in renamed.items():
            if old in self.said and new not in self.said:
                self.said[new] = self.said.pop(old)
                self.old_names[new] = old

    def family_row(self, key: str, value: object) -> None:
        """Account for a key that names the family."""
        if self.ledger.other_family:
            self.ledger.keep(key, value, note=f"It is {self.ledger.other_family}, which is not trained here yet.")
        else:
            self.ledger.convert(key, value, became=f"script = {self.command.script}")

    def item_rows(self, place: str, item: Mapping[str, Any], taken: Mapping[str, str], known: Mapping[str, tuple[Any, str]]) -> None:
        """Rows for the keys of one entry of a list: those that became something, by its name, and the others with their reason."""
        for name, value in item.items():
            full = f"{place}.{name}"
            if value in (*NOT_SET, [], {}) or (name in known and same(value, known[name][0])):
                self.ledger.skip(full, value)
            elif name in taken:
                self.ledger.convert(full, value, became=taken[name])
            elif name in known:
                self.ledger.keep(full, value, note=known[name][1])
            else:
                near = nearest(name, {*taken, *known})
                note = with_guess(f"{self.program.name} is not known to have it.", near)
                self.ledger.keep(full, value, note=note, outcome="unknown")

    def give(self, name: str, made: object) -> None:
        """Set an option for which no single key stands."""
        if name in self.command.by_name:
            self.ledger.given[name] = made

    def read(self) -> Ledger:
        """Account for every key."""
        absent = [key for key in self.program.fallbacks if key not in self.said]
        for key in sorted([*self.said, *absent], key=lambda key: key not in self.program.first):
            self._account(key, self.said[key] if key in self.said else self.program.fallbacks[key])
        note = f"It is not in the file; {self.program.name} starts with this."
        rows = self.ledger.rows
        with_effect = [row for row in rows if row.key not in absent or row.outcome in ("taken", "converted")]
        rows = [Row(row.key, row.value, "default", note, row.became) if row.key in absent else row for row in with_effect]
        self.ledger.rows = [Row(self.old_names.get(row.key, row.key), row.value, row.outcome, row.note, row.became) for row in rows]
        for table in (KEPT, WHY_KEPT):
            kept = self.ledger.studio.pop(table, {})
            kept = {self.old_names.get(key, key): value for key, value in kept.items() if key not in absent}
            if kept:
                self.ledger.studio[table] = kept
        return self.ledger

    def _account(self, key: str, value: Any) -> None:
        if is_secret(self.ledger, key) or any(is_secret(self.ledger, part) for part in key.split(".")):
            self.ledger.hide(key, value)
            return
        rule = self.program.rules.get(key) or _by_beginning(self.program.rules, key)
        if rule is not None:
            rule(self, key, value)
        else:
            self._without_rule(key, value)

    def _without_rule(self, key: str, value: Any) -> None:
        known = self.program.known.get(key) or _by_beginning(self.program.known, key)
        if known is None:
            near = nearest(key, {*self.program.rules, *self.program.known})
            note = with_guess(f"{self.program.name} is not known to have it.", near)
            self.ledger.keep(key, value, note=note, outcome="unknown")
        elif value in NOT_SET or value in ([], {}) or same(value, known[0]):
            self.ledger.skip(key, value)
        else:
            self.ledger.keep(key, value, note=known[1])


T = TypeVar("T")


def _by_beginning(table: Mapping[str, T], key: str) -> T | None:
    """What a table says of all keys that begin as `key` does, the longest beginning first."""
    parts = key.split(".")
    return next((table[begin] for end in range(len(parts), 0, -1) if (begin := ".".join(parts[:end]) + ".*") in table), None)


Rule = Callable[[Reading, str, Any], None]
"""Accounts for one key: the reading, the key, its value."""


def to(name: str, made: Callable[[Any], Any] | None = None, *, note: str = "") -> Rule:
    """The key is the option `name`, its value turned by `made`; what that turns into None has no counterpart."""

    def rule(reading: Reading, key: str, value: Any) -> None:
        result = made(value) if made and value not in NOT_SET else value
        if value in NOT_SET:
            reading.ledger.skip(key, value)
        elif result is None:
            reading.ledger.keep(key, value, note=f"There is no {name} for it here.")
        else:
            reading.ledger.take(key, value, name=name, made=result, note=note)

    return rule


def choice(name: str, meant: Mapping[str, Any], *, same_as: tuple[str, ...] = ()) -> Rule:
    """The key is a choice, `meant` by its word in any case; a word of `same_as` says what is so anyway."""
    meanings = {word.lower(): made for word, made in meant.items()}

    def rule(reading: Reading, key: str, value: Any) -> None:
        word = str(value).lower()
        if value in NOT_SET or word in same_as:
            reading.ledger.skip(key, value)
        elif word in meanings:
            reading.ledger.take(key, value, name=name, made=meanings[word])
        else:
            reading.ledger.keep(key, value, note=f"There is no {name} for it here.")

    return rule


def switch(name: str, *, note: str = "") -> Rule:
    """The key is a switch; off says nothing."""

    def rule(reading: Reading, key: str, value: Any) -> None:
        if is_true(value):
            reading.ledger.take(key, value, name=name, made=True, note=note)
        else:
            reading.ledger.skip(key, value)

    return rule


def part_of(other: str) -> Rule:
    """The key is accounted for by the rule of another one, to which it belongs."""

    def rule(reading: Reading, key: str, value: Any) -> None:
        if value in NOT_SET or value is False:
            reading.ledger.skip(key, value)
        else:
            reading.ledger.convert(key, value, note=f"It belongs to {other}.")

    return rule


def without(why: str, *, default: Any = None) -> Rule:
    """The key has no counterpart."""

    def rule(reading: Reading, key: str, value: Any) -> None:
        if value in NOT_SET or value is False or same(value, default):
            reading.ledger.skip(key, value)
        else:
            reading.ledger.keep(key, value, note=why)

    return rule


def count(number: int, thing: str) -> str:
    """A number of things in words."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def is_true(value: object) -> bool:
    """Whether a switch is on."""
    return value is True or str(value).strip().lower() in ("true", "1", "yes", "on")


def as_number(value: object) -> float | None:
    """A number that may stand as text."""
    try:
        return None if isinstance(value, bool) or value in NOT_SET else float(str(value))
    except ValueError:
        return None


def same(value: Any, default: Any) -> bool:
    """Whether two values are equal, numbers in text among them, and true is not 1."""
    if isinstance(value, bool) or isinstance(default, bool):
        return value is default
    numbers = as_number(value), as_number(default)
    return value == default or (None not in numbers and numbers[0] == numbers[1])


def dotted(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dots between their names; empty ones stay."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= dotted(value, f"{name}.")
        else:
            flat[name] = value
    return flat


@cache
def known_keys(file: str) -> Mapping[str, tuple[Any, str]]:
    """A program's keys without a counterpart, from its table: groups of a reason and of keys with their defaults."""
    groups = json.loads(resources.files("sd_scripts.params.migrate.rivals").joinpath(file).read_text("utf-8"))
    return {key: (default, group["why"]) for group in groups for key, default in group["keys"].items()}


def trainer_for(told: Told, method: str, near: Command) -> Command:
    """The trainer of a method for a family; one without a trainer here is read for that of `near`."""
    return row_of(told.family if told.is_built else near.family, method) or near


def finished(reading: Reading, told: Told) -> Imported:
    """The import, with what is to be said of its family first: models of a family that is not trained here are kept."""
    reading.ledger.meant_for(told)
    return reading.read().finish()


def beside(reading: Reading, name: str, *, parents: int = 3) -> Path | None:
    """A file that a config names by a path: relative to its own folder, or to one of those above, as programs count from their own folder."""
    named = Path(name.replace("\\", "/"))
    folder = reading.folder.absolute()
    places = [named] if named.is_absolute() else [folder / named.name, *(base / named for base in (folder, *folder.parents[:parents]))]
    return next((place for place in places if reading.readable(place) and place.is_file()), None)
