"""Pieces of lines for people, kept apart from the numbers in them, so that a page can say them in another language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Phrase:
    """A few words of English with {places}, and what stands in these."""

    english: str
    values: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.english.format(**self.values)


Line = Sequence[Sequence[Phrase]]
"""Groups of phrases: blanks between phrases, dots between groups."""


def phrase(english: str, **values: int | str) -> Phrase:
    """A phrase; numbers get their thousands separated."""
    return Phrase(english, {name: f"{value:,}" if isinstance(value, int) else value for name, value in values.items()})


def counted(number: int, one: str, many: str) -> Phrase:
    """`one` where there is one of it, else `many`, which has a {count}."""
    return phrase(one) if number == 1 else phrase(many, count=number)


def in_english(line: Line) -> str:
    """A line as the trainers print it."""
    return joined([map(str, group) for group in line])


def joined(groups: Iterable[Iterable[str]]) -> str:
    """Words of a line put together."""
    return " · ".join(" ".join(group) for group in groups)
