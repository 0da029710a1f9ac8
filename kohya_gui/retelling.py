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

LONGEST = 2000
"""Letters of a text that is looked at; what is longer is a program's output and no sentence."""
ENOUGH, ENOUGH_IN_FRONT = 12, 8
"""Letters of its own, or in front, from which on a template is taken at its word. Below, as in "{0} is not {1}.", other sentences might look like it:
there a value with blanks must look like one."""
_OF_VALUES = re.compile(r"^[\W\d]|[/\\]|^[A-Z]\S*( [A-Z\d]\S*)+$")
_PLACE = re.compile(r"--\w+$|.*[/\\]")
SENTENCES_END = re.compile(r"(?<=[.!?]) (?=[A-Z0-9“]|[a-z]+_)")


class _Known(NamedTuple):
    """One template: the pieces of plain text in it, by which most texts are told apart at once, and what is said in its place."""

    pieces: tuple[str, ...]
    pattern: re.Pattern[str]
    told: str

    @property
    def letters(self) -> int:
        """How much it says in words of its own."""
        return sum(letter.isalpha() for piece in self.pieces for letter in piece)

    @property
    def _is_telling(self) -> bool:
        return self.letters >= ENOUGH or sum(map(str.isalpha, self.pieces[0])) >= ENOUGH_IN_FRONT

    def match(self, text: str) -> re.Match[str] | None:
        """The values, where `text` is this sentence."""
        if not (text.startswith(self.pieces[0]) and text.endswith(self.pieces[-1]) and all(piece in text for piece in self.pieces)):
            return None
        found = self.pattern.fullmatch(text)
        plain = found is None or self._is_telling or all(" " not in value or _OF_VALUES.search(value) for value in found.groups())
        return found if plain else None


@dataclass(frozen=True)
class Retelling:
    """`sentences` of one language by the English template; `words` are what pages say: among them sentences without
    places, and the names of a run's states. Anything else stays as it is.
    """

    sentences: Mapping[str, str]
    words: Mapping[str, str] = field(default_factory=dict)

    def of(self, text: str) -> str:
        """`text` in this language; a value that is such a sentence is retold as well. Several sentences are retold if each of them can be."""
        told = self._one(text)
        if told is None and len(text) <= LONGEST:
            parts = [self._one(part) for part in SENTENCES_END.split(text)]
            told = "".join(f"{part} " if part.isascii() or part[-1] in ".?!" else part for part in parts if part).strip() if all(parts) else None
        return self._after_its_place(text) if told is None else told

    def _after_its_place(self, text: str) -> str:
        """A sentence behind the option or the file that it is about, as errors print themselves."""
        place, colon, rest = text.partition(": ")
        told = self._one(rest) if colon and _PLACE.match(place) else None
        return text if told is None else f"{place}: {told}"

    def _one(self, text: str) -> str | None:
        exactly = self.sentences.get(text) or (self.words.get(text) if " " in text else None)
        if exactly or not text or len(text) > LONGEST:
            return exactly
        for known in self._known:
            found = known.match(text)
            if found is not None:
                return self._filled(known.told, found.groupdict(), text)
        return None

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
    """Whether a text is a template with places such as {0} or {state}; one without values may have braces of its own."""
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError:
        return False
    return bool(names) and all(name.isdecimal() or name.isidentifier() for name in names)


def _known(english: str, told: str) -> _Known:
    pieces, pattern, seen, name = list[str](), "", set[str](), None
    for piece, name, _, _ in string.Formatter().parse(english):
        pieces.append(piece)
        pattern += re.escape(piece)
        if name is not None:
            group = f"_{name}" if name.isdecimal() else name  # groups of a pattern have names
            pattern += f"(?P={group})" if name in seen else f"(?P<{group}>.*?)"
            seen.add(name)
    return _Known((*pieces, "") if name is not None else tuple(pieces), re.compile(pattern, re.DOTALL), told)
