"""Which captions are shown, and what is counted over them: tags, missing captions, missing trigger words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from kohya_gui.caption_edits import LONGEST_TEXT, finds, lacks, pattern
from kohya_gui.caption_set import CaptionSet, Entry
from kohya_gui.caption_tags import key
from kohya_gui.text import say
from sd_scripts.errors import ConfigError

Only = Literal["", "missing", "unreadable", "lacking", "edited"]
MOST_TAGS = 300
"""Tags that are listed; the search in the list finds the others."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a shown caption must be: of these kinds, with all tags of `tags` and none of `without`, and with `find` in its text."""

    only: Only = ""
    tags: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    find: str = ""
    regex: bool = False
    case: bool = False


def read_filter(data: Mapping[str, Any]) -> Filter:
    """The filter that a request asks for. Raises ConfigError if it is none."""
    only, find, regex = data.get("only", ""), data.get("find", ""), data.get("regex") is True
    tags, without = data.get("tags", []), data.get("without", [])
    wrong = only not in get_args(Only) or not isinstance(find, str) or len(find) > LONGEST_TEXT
    if wrong or not all(isinstance(row, list) and all(isinstance(tag, str) for tag in row) for row in (tags, without)):
        raise ConfigError("", say("This is no filter of captions."))
    return Filter(only, tuple(key(tag) for tag in tags), tuple(key(tag) for tag in without), find, regex, data.get("case") is True)


def is_missing(entry: Entry) -> bool:
    """Whether a picture has no caption, or a blank one."""
    return entry.body is not None and not entry.body.strip()


def is_lacking(found: CaptionSet, entry: Entry, trigger: str) -> bool:
    """Whether training would not see the trigger words with this picture; False where the caption cannot be read."""
    return entry.body is not None and lacks(entry.body, found.around(entry, trigger))


def matching(found: CaptionSet, wanted: Filter, *, trigger: str, edited: Collection[str]) -> list[Entry]:
    """The entries that fit, in order; `edited` are caption files that were changed lately.

    Raises:
        ConfigError: the pattern is wrong or takes too long.
    """
    tests: list[Callable[[Entry], bool]] = []
    if wanted.only:
        tests.append(
            {
                "missing": is_missing,
                "unreadable": lambda entry: entry.body is None,
                "lacking": lambda entry: is_lacking(found, entry, trigger),
                "edited": lambda entry: entry.file in edited,
            }[wanted.only]
        )
    if wanted.tags:
        tests.append(lambda entry: entry.keys.issuperset(wanted.tags))
    if wanted.without:
        tests.append(lambda entry: entry.keys.isdisjoint(wanted.without))
    if wanted.find:
        tests.append(_finder(wanted))
    return [entry for entry in found.entries.values() if all(test(entry) for test in tests)]


def _finder(wanted: Filter) -> Callable[[Entry], bool]:
    if wanted.regex:
        compiled = pattern(wanted.find, case=wanted.case)
        return lambda entry: entry.body is not None and finds(compiled, entry.body)
    if wanted.case:
        return lambda entry: entry.body is not None and wanted.find in entry.body
    text = wanted.find.casefold()
    return lambda entry: entry.body is not None and text in entry.body.casefold()


@dataclass(frozen=True, slots=True)
class Counts:
    """Over all pictures of a place."""

    all: int
    missing: int
    unreadable: int
    lacking: int
    edited: int


def count_kinds(found: CaptionSet, *, trigger: str, edited: Collection[str]) -> Counts:
    """How many pictures there are of each kind."""
    entries = found.entries.values()
    return Counts(
        all=len(entries),
        missing=sum(is_missing(entry) for entry in entries),
        unreadable=sum(entry.body is None for entry in entries),
        lacking=sum(is_lacking(found, entry, trigger) for entry in entries),
        edited=sum(entry.file in edited for entry in entries),
    )


def tag_counts(entries: Iterable[Entry]) -> list[tuple[str, int]]:
    """Each tag with the number of captions that have it, most common first, spelled as it is spelled most often."""
    spelled: Counter[str] = Counter()
    captions: Counter[str] = Counter()
    for entry in entries:
        spelled.update(entry.tags)
        captions.update(entry.keys)
    best: dict[str, str] = {}
    for tag, _ in reversed(spelled.most_common()):
        best[key(tag)] = tag
    return sorted(((best[name], number) for name, number in captions.items()), key=lambda row: (-row[1], key(row[0])))


def listed_tags(counted: list[tuple[str, int]], find: str) -> tuple[list[tuple[str, int]], int]:
    """The first `MOST_TAGS` tags with `find` in them, and how many there are."""
    wanted = [row for row in counted if key(find) in key(row[0])] if find else counted
    return wanted[:MOST_TAGS], len(wanted)
