"""The lines of a TOML dataset config, and the tables that they belong to. A comment directly above a table's header goes along with that table.

It finds headers by their look alone, so what it makes of a file is only a proposal: `dataset_document` reads each result again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sd_scripts.survey.dataset_config import Spot

HEADER = re.compile(r"^[ \t]*(\[\[?)[ \t]*([^\[\]#\"']+?)[ \t]*\]\]?[ \t]*(#.*)?$")
DATASET, SUBSET, GENERAL = "[[datasets", "[[datasets.subsets", "[general"


@dataclass(frozen=True, slots=True)
class Block:
    """The lines [start, end) of one table. `header` is the line of its header, `own` the line after its own keys: what follows are tables in it."""

    spot: Spot
    start: int
    header: int
    own: int
    end: int


class Tables:
    """A text cut into lines, and edits that give a new text, or None where the text has not the usual layout."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines(keepends=True)
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.blocks = {block.spot: block for block in self._blocks()}

    def with_line(self, spot: Spot, line: str) -> str | None:
        """A line more at the end of a table's own keys."""
        block = self.blocks.get(spot)
        if block is None:
            return self._with_general(line) if spot == () else None
        if (keys := self._keys_end(block)) > block.header + 1:
            indent = _indent(self.lines[self._first_key(block)])
        else:
            indent = _indent(self.lines[block.header])
        return self._with(keys, [f"{indent}{line}"])

    def with_subset(self, spot: Spot, lines: Sequence[str]) -> str | None:
        """A subset more, in front of the one that stands at `spot` or behind the last."""
        head = self._header_like((spot[0], 0))
        following = self.blocks.get(spot)
        made = [f"{head}[[datasets.subsets]]", *(f"{head}{line}" for line in lines)]
        if following is not None:
            return self._with(following.start, [*made, ""])
        dataset = self.blocks.get(spot[:1])
        return None if dataset is None else self._with(self._tail(dataset), ["", *made])

    def with_dataset(self, lines: Sequence[str]) -> str | None:
        """A dataset more at the end of the last one."""
        last = max((block.end for spot, block in self.blocks.items() if len(spot) == 1), default=len(self.lines))
        made = ["[[datasets]]", *lines]
        return self._with(last, ["", *made] if self.lines else made)

    def without(self, spot: Spot) -> str | None:
        """The text without a table's lines, and without the empty lines behind it."""
        block = self.blocks.get(spot)
        if block is None:
            return None
        end = block.end
        while end < len(self.lines) and not self.lines[end].strip():
            end += 1
        kept = self.lines[: block.start] + self.lines[end:]
        while end == len(self.lines) and kept and not kept[-1].strip():
            kept.pop()
        return "".join(kept)

    def copied(self, spot: Spot) -> str | None:
        """The text with a table's lines twice."""
        block = self.blocks.get(spot)
        return None if block is None else self._with(block.end, ["", *self._bare(block)])

    def moved(self, spot: Spot, target: Spot) -> str | None:
        """The text with a table's lines where `target` says that they stand afterwards."""
        block = self.blocks.get(spot)
        rest = self.without(spot)
        if block is None or rest is None:
            return None
        moving, other = self._bare(block), Tables(rest)
        following = other.blocks.get(target)
        if following is not None:
            return other._with(following.start, [*moving, ""])
        if len(target) == 1:
            before = other.blocks.get((target[0] - 1,))
            return None if before is None else other._with(before.end, ["", *moving])
        dataset = other.blocks.get(target[:1])
        return None if dataset is None else other._with(other._tail(dataset), ["", *moving])

    def _with_general(self, line: str) -> str:
        """A first table of general, above the datasets: below the comment that a file may begin with."""
        first = self.blocks.get((0,))
        at = first.start if first else len(self.lines)
        return self._with(at, ["[general]", line, ""] if first else ["[general]", line])

    def _with(self, at: int, lines: Sequence[str]) -> str:
        """The text with `lines` put in before line `at`."""
        before = list(self.lines[:at])
        if before and not before[-1].endswith("\n"):
            before[-1] += self.newline
        added = [f"{line}{self.newline}" for line in lines]
        if added and before and not before[-1].strip() and not lines[0]:
            added = added[1:]
        return "".join([*before, *added, *self.lines[at:]])

    def _bare(self, block: Block) -> list[str]:
        return [line.rstrip("\r\n") for line in self.lines[block.start : block.end]]

    def _header_like(self, spot: Spot) -> str:
        """The indent of the subsets that are there; of the first anywhere, else two blanks."""
        near = self.blocks.get(spot) or next((block for key, block in self.blocks.items() if len(key) == 2), None)
        return "  " if near is None else _indent(self.lines[near.header])

    def _tail(self, dataset: Block) -> int:
        """The line behind a dataset's last subset, or behind its own keys."""
        ends = [block.end for spot, block in self.blocks.items() if len(spot) == 2 and spot[0] == dataset.spot[0]]
        return max(ends, default=self._keys_end(dataset))

    def _first_key(self, block: Block) -> int:
        return next(at for at in range(block.header + 1, block.own) if _says_something(self.lines[at]))

    def _keys_end(self, block: Block) -> int:
        """The line behind the last of a table's own keys."""
        keys = [at for at in range(block.header + 1, block.own) if _says_something(self.lines[at])]
        return keys[-1] + 1 if keys else block.header + 1

    def _blocks(self) -> list[Block]:
        headers = [(at, name) for at, line in enumerate(self.lines) if (name := _header(line))]
        found: list[Block] = []
        dataset, subset = -1, -1
        for number, (at, name) in enumerate(headers):
            if name == DATASET:
                dataset, subset = dataset + 1, -1
                spot: Spot = (dataset,)
            elif name == SUBSET:
                subset += 1
                spot = (dataset, subset)
            elif name == GENERAL:
                spot = ()
            else:
                continue
            after = headers[number + 1 :]
            own = after[0][0] if after else len(self.lines)
            end = next((row for row, other in after if not _belongs(other, name)), len(self.lines))
            found.append(Block(spot, self._start(at), at, self._start(own) if after else own, self._end(at, self._start(end))))
        return found

    def _start(self, header: int) -> int:
        """The first line of the comment that stands directly above a header; the header itself where lines with keys do so."""
        if header >= len(self.lines):
            return header
        at = header
        while at and self.lines[at - 1].lstrip().startswith("#"):
            at -= 1
        above = self.lines[at - 1].strip() if at else ""
        return header if above and not _header(self.lines[at - 1]) else at

    def _end(self, start: int, end: int) -> int:
        """The line behind the last one that is no empty line or comment set apart by one."""
        last = max((at for at in range(start, end) if _says_something(self.lines[at])), default=start)
        while last + 1 < end and self.lines[last + 1].strip():
            last += 1
        return last + 1


def _header(line: str) -> str:
    """A table's header without blanks and closing brackets, such as "[[datasets.subsets"; "" for any other line."""
    found = HEADER.match(line.rstrip("\r\n"))
    return found[1] + re.sub(r"\s", "", found[2]) if found else ""


def _belongs(header: str, to: str) -> bool:
    """Whether a table stands inside the one before."""
    inside = to.lstrip("[") + "."
    return header.lstrip("[").startswith(inside)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")
