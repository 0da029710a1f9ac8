"""What can be done to many captions at once, as data: read from a request, put into words, and applied to one caption's text."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from kohya_gui.caption_tags import LINE_CHANGES, in_order, on_read_lines, parse, rename, tidied
from kohya_gui.caption_text import ENCODINGS
from kohya_gui.text import count, say
from sd_scripts.errors import ConfigError
from sd_scripts.survey.captions import whole_text
from sd_scripts.survey.datasets import CaptionRules

Kind = Literal["front", "back", "remove", "to_front", "sort", "tidy", "replace", "trigger", "create", "recode"]
How = Literal["text", "regex", "tag"]
PATTERN_SECONDS = 2.0
"""Longest time that one pattern may take for one caption."""
LONGEST_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class Edit:
    """One change. `words` are tags as typed, the encoding for "recode", or the text for "create" ("": the class tokens).

    `find`, `how`, `case` and `put` belong to "replace"; `common` sorts by how often tags come.
    """

    kind: Kind
    words: str = ""
    find: str = ""
    put: str = ""
    how: How = "text"
    case: bool = False
    common: bool = False


@dataclass(frozen=True, slots=True)
class Around:
    """What an edit has to know beside the caption: how it is trained with, the words that every caption should hold, and how often tags come."""

    rules: CaptionRules
    class_tokens: str | None = None
    trigger: str = ""
    counts: Mapping[str, int] | None = None


def read_edit(data: Mapping[str, Any]) -> Edit:
    """The edit that a request asks for.

    Raises:
        ConfigError: it is none, or lacks what it needs.
    """
    kind, how = data.get("kind"), data.get("how", "text")
    if kind not in get_args(Kind) or how not in get_args(How):
        raise ConfigError("", say("There is no such change of captions: {kind}.", kind=repr(kind)))
    texts = [data.get(name, "") for name in ("words", "find", "put")]
    if not all(isinstance(text, str) and len(text) <= LONGEST_TEXT for text in texts):
        raise ConfigError("", say("The text is longer than {number} letters.", number=count(LONGEST_TEXT)), fix=say("Make it shorter."))
    words, find, put = texts
    if kind in LINE_CHANGES and not words.strip():
        raise ConfigError("", say("No tag is given."), fix=say("Type one, or several with separators between them."))
    if kind == "recode" and words not in ENCODINGS:
        raise ConfigError("", say("{encoding} is not an encoding that is known here.", encoding=repr(words)), fix=", ".join(ENCODINGS))
    if kind == "replace" and not find:
        raise ConfigError("", say("There is nothing to search for."), fix=say("Type what is to be replaced."))
    edit = Edit(cast(Kind, kind), words, find, put, how, data.get("case") is True, data.get("common") is True)
    if kind == "replace" and how == "regex":
        pattern(find, case=edit.case)
    return edit


def changed(edit: Edit, body: str, around: Around) -> str:
    """A caption's text after the edit; the same where there is nothing to do.

    Raises:
        ConfigError: the pattern is wrong or takes too long.
    """
    rules = around.rules
    if edit.kind == "replace":
        return _replaced(edit, body, rules)
    if edit.kind == "trigger":
        read = body if body.strip() else around.class_tokens or ""
        return body if not lacks(body, around) else on_read_lines(read, rules, lambda line: _with_trigger(line, around))
    if edit.kind == "create":
        return body if body.strip() else edit.words or around.class_tokens or body
    return on_read_lines(body, rules, line_change(edit, around)) if body.strip() or edit.kind in ("front", "back") else body


def line_change(edit: Edit, around: Around) -> Callable[[str], str]:
    """What the edit does to one line."""
    rules = around.rules
    if edit.kind == "sort":
        return lambda line: in_order(line, rules, around.counts if edit.common else None)
    if edit.kind == "tidy":
        return lambda line: tidied(line, rules)
    words = split_words(edit.words, rules)
    return lambda line: LINE_CHANGES[edit.kind](line, rules, words)


def split_words(text: str, rules: CaptionRules) -> list[str]:
    """Tags as a person types them: split at lines and as captions are, without doubles."""
    return list(dict.fromkeys(piece.text for line in text.splitlines() for piece in parse(line, rules) if piece.text))


def lacks(body: str, around: Around) -> bool:
    """Whether the trigger words are missing from what training makes of the caption: prefix, class tokens of a blank one, and suffix count."""
    if not around.trigger.strip():
        return False
    text = whole_text(body, around.rules, around.class_tokens)
    lines = [line for line in text.splitlines() if line.strip()]
    read = lines if around.rules.enable_wildcard else lines[:1]
    wanted = [_phrase(word) for word in split_words(around.trigger, around.rules)]
    return not read or not all(phrase.search(line) for phrase in wanted for line in read)


def pattern(find: str, *, case: bool) -> Any:
    """A compiled pattern of the `regex` package, which can be stopped when it takes too long.

    Raises:
        ConfigError: it is no pattern.
    """
    regex = importlib.import_module("regex")  # half a second, so only for those who search by pattern
    try:
        return regex.compile(find, regex.MULTILINE if case else regex.MULTILINE | regex.IGNORECASE)
    except regex.error as reason:
        message = say("{find} is not a pattern: {reason}.", find=repr(find), reason=reason)
        raise ConfigError("", message, fix=say("Mend it, or search for the text as it is.")) from reason


def finds(compiled: Any, body: str) -> bool:
    """Whether the pattern occurs. Raises ConfigError if that takes too long."""
    try:
        return compiled.search(body, timeout=PATTERN_SECONDS, concurrent=True) is not None
    except TimeoutError as reason:
        raise _too_long(compiled) from reason


def changed_by(compiled: Any, put: str, body: str) -> str:
    """The text with what the pattern finds replaced; `put` may name groups as \\1.

    Raises:
        ConfigError: `put` names a group that does not exist, or it takes too long.
    """
    try:
        return compiled.sub(put, body, timeout=PATTERN_SECONDS, concurrent=True)
    except TimeoutError as reason:
        raise _too_long(compiled) from reason
    except (IndexError, importlib.import_module("regex").error) as reason:
        message = say("{put} cannot be put in: {reason}.", put=repr(put), reason=reason)
        raise ConfigError("", message, fix=say("Name groups of the pattern as \\1, and write \\\\ for a backslash.")) from reason


def title(kind: str, words: str, number: int) -> str:
    """What a change is called in messages and in what can be taken back; `number` counts captions. "text" is a caption that was typed."""
    if kind == "text":
        return say("Caption of {name}", name=words)
    titles = {
        "front": say("“{words}” in front (captions: {number})", words=words, number=count(number)),
        "back": say("“{words}” at the end (captions: {number})", words=words, number=count(number)),
        "remove": say("“{words}” removed (captions: {number})", words=words, number=count(number)),
        "to_front": say("“{words}” moved to the front (captions: {number})", words=words, number=count(number)),
        "sort": say("Tags sorted (captions: {number})", number=count(number)),
        "tidy": say("Double tags removed (captions: {number})", number=count(number)),
        "replace": say("“{words}” replaced (captions: {number})", words=words, number=count(number)),
        "trigger": say("Trigger words in front (captions: {number})", number=count(number)),
        "create": say("Caption files created: {number}", number=count(number)),
        "recode": say("Saved as UTF-8 (captions: {number})", number=count(number)),
    }
    return titles.get(kind, kind)


def _replaced(edit: Edit, body: str, rules: CaptionRules) -> str:
    if edit.how == "tag":
        return on_read_lines(body, rules, lambda line: rename(line, rules, edit.find.strip(), edit.put)) if body.strip() else body
    if edit.how == "regex":
        return changed_by(pattern(edit.find, case=edit.case), edit.put, body)
    if edit.case:
        return body.replace(edit.find, edit.put)
    return re.sub(re.escape(edit.find), lambda match: edit.put, body, flags=re.IGNORECASE)


def _with_trigger(line: str, around: Around) -> str:
    missing = [word for word in split_words(around.trigger, around.rules) if not _phrase(word).search(line)]
    return LINE_CHANGES["front"](line, around.rules, missing) if missing else line


def _too_long(compiled: Any) -> ConfigError:
    message = say("The pattern {find} takes too long.", find=repr(compiled.pattern))
    return ConfigError("", message, fix=say("Write it without nested repeats such as (a+)+."))


@lru_cache(maxsize=256)
def _phrase(text: str) -> re.Pattern[str]:
    """Finds the words as words: not inside others, in any case, with any blanks between them. Letters beyond ASCII know no words' ends."""
    words = r"\s+".join(re.escape(word) for word in text.split())
    return re.compile(rf"(?<![0-9A-Za-z_]){words}(?![0-9A-Za-z_])" if text.isascii() else words, re.IGNORECASE)
