"""A dataset config as text that can be edited: what was not touched stays as it is, byte for byte, comments and unknown keys among it.

Values are set with tomlkit; tables are added, moved and taken out as lines of text, where a comment goes along with the table that it stands at.
Every edit is read again with the standard library's parser, the trainer's own: unless the text says exactly what was wanted and nothing else changed,
the edit is done by tomlkit alone, and refused if that fails too.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from kohya_gui.dataset_lines import Tables
from sd_scripts.errors import ConfigError
from sd_scripts.survey.dataset_config import Spot, parse_document

Kind = Literal["toml", "json"]
Table = dict[str, Any]
BOM = "\ufeff"
GENERAL: Spot = ()
INDENT = re.compile(r"^[\[{]\r?\n([ \t]+)")


@dataclass(frozen=True)
class Document:
    """`text` as it stands in the file. A spot names a table: () is general, (1,) the second dataset, (1, 0) its first subset."""

    text: str = ""
    kind: Kind = "toml"

    def data(self) -> Table:
        """What the text says.

        Raises:
            ConfigError: it is neither TOML nor JSON, or no dataset config.
        """
        text = self.text.removeprefix(BOM)
        return copy.deepcopy(dict(parse_document(text, f"The file.{self.kind}"))) if text.strip() else {}

    def checked(self) -> Document:
        """This document, if it can be shown as tables.

        Raises:
            ConfigError: it is malformed, or its tables are something else than tables.
        """
        data = self.data()
        if not isinstance(data.get("general", {}), dict):
            raise ConfigError("dataset_config", "general is not a table.", fix="Write [general] above its keys.")
        datasets = data.get("datasets", [])
        wanted = _is_tables(datasets) and all(_is_tables(row.get("subsets", [])) for row in datasets)
        if not wanted:
            raise ConfigError("dataset_config", "datasets or subsets is not a list of tables.", fix="Write [[datasets]] and [[datasets.subsets]].")
        return self

    def with_value(self, spot: Spot, key: str, value: object) -> Document:
        """One key of a table set, or taken out (None); "table.key" is a key in a table of its own. Raises ConfigError."""

        def change(data: Table) -> None:
            had_general = "general" in data
            table, name = _owner(_table(data, spot), key)
            if value is None:
                table.pop(name, None)
            else:
                table[name] = value
            _tidy(_table(data, spot), key)
            if not had_general and not data.get("general", True):
                data.pop("general")

        def lines(tables: Tables) -> str | None:
            old = _value(self.data(), spot, key)
            if value is None or old is not None:
                return None
            return tables.with_line(spot, f"{key} = {_toml(value)}")

        def kit(document: Any) -> None:
            outer = _kit_table(document, spot)
            table, name = _owner(outer, key)
            if value is None:
                table.remove(name) if name in table else None
                _tidy(outer, key)
            else:
                table[name] = _kit_value(value)

        return self._edited(change, lines, kit)

    def with_subset(self, dataset: int, table: Mapping[str, object], at: int | None = None) -> Document:
        """A subset added to a dataset, at the end or before another."""
        place = len(self.subsets(dataset)) if at is None else at

        def change(data: Table) -> None:
            data["datasets"][dataset].setdefault("subsets", []).insert(place, dict(table))

        return self._edited(
            change, lambda tables: tables.with_subset((dataset, place), _lines(table)), lambda made: _kit_insert(made, (dataset, place), table)
        )

    def with_dataset(self, table: Mapping[str, Any]) -> Document:
        """A dataset added at the end."""
        own = {key: value for key, value in table.items() if key != "subsets"}
        subsets: list[Table] = list(table.get("subsets", []))

        def change(data: Table) -> None:
            data.setdefault("datasets", []).append(dict(own))

        made = self._edited(change, lambda tables: tables.with_dataset(_lines(own)), lambda made: _kit_insert(made, (len(self.datasets()),), own))
        for subset in subsets:
            made = made.with_subset(len(made.datasets()) - 1, subset)
        return made

    def without(self, spot: Spot) -> Document:
        """A dataset or a subset taken out of the document, with the comment above it."""

        def change(data: Table) -> None:
            rows = _rows(data, spot)
            del rows[spot[-1]]
            if not rows:
                (data if len(spot) == 1 else data["datasets"][spot[0]]).pop("datasets" if len(spot) == 1 else "subsets")

        return self._edited(change, lambda tables: tables.without(spot), lambda made: _kit_remove(made, spot))

    def moved(self, spot: Spot, target: Spot) -> Document:
        """A table at another place of its kind: `target` is where it stands afterwards."""
        table = _table(self.data(), spot)

        def change(data: Table) -> None:
            rows = _rows(data, spot)
            moving = rows.pop(spot[-1])
            if not rows and len(spot) == 2 and spot[0] != target[0]:
                data["datasets"][spot[0]].pop("subsets")
            _rows(data, target, make=True).insert(target[-1], moving)

        def kit(document: Any) -> None:
            _kit_remove(document, spot)
            _kit_insert(document, target, table)

        return self._edited(change, lambda tables: tables.moved(spot, target), kit)

    def copied(self, spot: Spot) -> Document:
        """A dataset or subset once more, behind itself."""
        target = (*spot[:-1], spot[-1] + 1)
        table = _table(self.data(), spot)

        def change(data: Table) -> None:
            _rows(data, spot).insert(target[-1], copy.deepcopy(table))

        return self._edited(change, lambda tables: tables.copied(spot), lambda made: _kit_insert(made, target, table))

    def datasets(self) -> list[Table]:
        """All datasets."""
        return self.data().get("datasets", [])

    def subsets(self, dataset: int) -> list[Table]:
        """The subsets of a dataset."""
        return self.datasets()[dataset].get("subsets", [])

    def all_subsets(self) -> list[tuple[Spot, Table]]:
        """Every subset with its place."""
        return [((at, number), row) for at, dataset in enumerate(self.datasets()) for number, row in enumerate(dataset.get("subsets", []))]

    def has(self, spot: Spot) -> bool:
        """Whether there is such a table; general is always there."""
        try:
            _table(self.data(), spot)
        except IndexError:
            return False
        return True

    def table(self, spot: Spot) -> Table:
        """The keys of a table. Raises IndexError."""
        return {key: value for key, value in _table(self.data(), spot).items() if key not in ("datasets", "subsets")}

    def _edited(self, change: Callable[[Table], None], lines: Callable[[Tables], str | None], kit: Callable[[Any], None]) -> Document:
        """The document after `change`, which is done on plain data and so says what the text must mean, by one of two ways of editing the text."""
        data = self.data()
        wanted = copy.deepcopy(data)
        change(wanted)
        if same(data, wanted):
            return self
        if self.kind == "json":
            return replace(self, text=self._json(wanted))
        bom, text = (BOM, self.text[1:]) if self.text.startswith(BOM) else ("", self.text)
        for way in (lambda: lines(Tables(text)), lambda: _by_kit(text, kit)):
            made = way()
            if made is not None and _says(made, wanted):
                return replace(self, text=bom + made)
        raise ConfigError(
            "dataset_config",
            "The file is laid out in a way that this edit would damage.",
            fix="Edit that place of the file by hand, in a text editor.",
        )

    def _json(self, data: Table) -> str:
        """In the file's own layout, as far as JSON has one: its indent, its line ends, whether letters are escaped."""
        found = INDENT.match(self.text.removeprefix(BOM))
        indent: str | int | None = found[1] if found else 2 if "\n" in self.text or not self.text.strip() else None
        text = json.dumps(data, indent=indent, ensure_ascii="\\u" in self.text)
        end = "\n" if self.text.endswith("\n") or not self.text else ""
        text = text.replace("\n", "\r\n") if "\r\n" in self.text else text
        return (BOM if self.text.startswith(BOM) else "") + text + end


def same(one: object, other: object) -> bool:
    """Whether two parsed documents say the same, types included: 1 is neither 1.0 nor true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def _says(text: str, wanted: Table) -> bool:
    try:
        return same(dict(parse_document(text, "made.toml")), wanted)
    except ConfigError:
        return False


def _by_kit(text: str, change: Callable[[Any], None]) -> str | None:
    try:
        document = tomlkit.parse(text)
        change(document)
        return tomlkit.dumps(document)
    except (TOMLKitError, AttributeError, TypeError, ValueError, KeyError, IndexError):
        return None  # tomlkit cannot edit every layout that it reads; then the edit is refused


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _table(data: Table, spot: Spot) -> Table:
    if not spot:
        return data.setdefault("general", {})
    table = data.get("datasets", [])[spot[0]]
    return table if len(spot) == 1 else table.get("subsets", [])[spot[1]]


def _rows(data: Table, spot: Spot, *, make: bool = False) -> list[Table]:
    owner, key = (data, "datasets") if len(spot) == 1 else (data["datasets"][spot[0]], "subsets")
    return owner.setdefault(key, []) if make else owner.get(key, [])


def _value(data: Table, spot: Spot, key: str) -> object:
    table: Any = _table(data, spot)
    for part in key.split("."):
        table = table.get(part) if isinstance(table, dict) else None
    return table


def _owner(table: Any, key: str) -> tuple[Any, str]:
    """The table that holds a key, made where there is none, and the key's last part."""
    *outer, name = key.split(".")
    for part in outer:
        table = table.setdefault(part, {})
    return table, name


def _tidy(table: Any, key: str) -> None:
    """Drop a table in a table that an edit left or made empty."""
    outer = key.partition(".")[0]
    if "." in key and outer in table and not table[outer]:
        del table[outer]


def _kit_table(document: Any, spot: Spot) -> Any:
    if not spot:
        return document["general"] if "general" in document else document.setdefault("general", tomlkit.table())
    table = document["datasets"][spot[0]]
    return table if len(spot) == 1 else table["subsets"][spot[1]]


def _kit_rows(document: Any, spot: Spot) -> Any:
    owner, key = (document, "datasets") if len(spot) == 1 else (document["datasets"][spot[0]], "subsets")
    if key not in owner:
        owner.append(key, tomlkit.aot())
    return owner[key]


def _kit_insert(document: Any, spot: Spot, table: Mapping[str, object]) -> None:
    rows = _kit_rows(document, spot)
    made = tomlkit.table() if isinstance(rows, AoT) else tomlkit.inline_table()
    for key, value in table.items():
        made.append(key, _kit_value(value))
    rows.insert(spot[-1], made)


def _kit_remove(document: Any, spot: Spot) -> None:
    rows = _kit_rows(document, spot)
    del rows[spot[-1]]
    if not rows:
        owner, key = (document, "datasets") if len(spot) == 1 else (document["datasets"][spot[0]], "subsets")
        owner.remove(key)


def _kit_value(value: Any) -> Any:
    if isinstance(value, dict):
        made = tomlkit.inline_table()
        made.update({key: _kit_value(item) for key, item in value.items()})
        return made
    return tomlkit.item(value)


def _toml(value: object) -> str:
    """A value as TOML on one line."""
    return _kit_value(value).as_string()


def _lines(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items()]
