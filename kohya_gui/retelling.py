"""Sentences put into another language after they were made: those of runs, files and trainers, written in English where nobody knows who will read.

Such a sentence may be years old and lie in a run's folder, or come from another process. So it is not carried along in two languages: it is
recognised by its template, the text with {places} where the values stood, and said anew in the reader's language with the same values.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple


class _Known(NamedTuple):
    """One template: its longest piece of plain text, by which most texts are told apart at once, and what is said in its place."""

    piece: str
    pattern: re.Pattern[str]
    told: str
    letters: int


@dataclass(frozen=True)
class Retelling:
    """`sentences` of one language by the English template; `words` are what pages say: among them sentences without
    places, and the names of a run's states. Anything else stays as it is.
    """

    sentences: Mapping[str, str]
    words: Mapping[str, str] = field(default_factory=dict)

    def of(self, text: str) -> str:
        """`text` in this language; a value that is such a sentence is retold as well."""
        exactly = self.sentences.get(text) or (self.words.get(text) if " " in text else None)
        if exactly:
            return exactly
        for known in self._known:
            found = known.pattern.fullmatch(text) if known.piece in text else None
            if found is not None:
                return self._filled(known.told, found.groupdict(), text)
        return text

    @cached_property
    def _known(self) -> tuple[_Known, ...]:
        """Where several fit, the one that says most in words of its own is meant."""
        known = [_known(english, told) for english, told in self.sentences.items() if told and has_places(english)]
        return tuple(sorted(known, key=lambda row: -row.letters))

    def _filled(self, told: str, found: Mapping[str, str], text: str) -> str:
        state = found.get("state", "")
        values = [self.of(found[f"_{number}"]) if found[f"_{number}"] != text else text for number in range(len(found) - ("state" in found))]
        return told.format(*values, state=self.words.get(state) or state)


def has_places(text: str) -> bool:
    """Whether a text is a template; one without values may have braces of its own."""
    try:
        return any(name is not None for _, name, _, _ in string.Formatter().parse(text))
    except ValueError:
        return False


def _known(english: str, told: str) -> _Known:
    pieces, pattern, seen = [""], "", set[str]()
    for piece, name, _, _ in string.Formatter().parse(english):
        pieces.append(piece)
        pattern += re.escape(piece)
        if name is not None:
            group = f"_{name}" if name.isdecimal() else name  # groups of a pattern have names
            pattern += f"(?P={group})" if name in seen else f"(?P<{group}>.*?)"
            seen.add(name)
    return _Known(max(pieces, key=len), re.compile(pattern, re.DOTALL), told, sum(map(len, pieces)))
