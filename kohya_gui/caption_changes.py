"""Changing caption files: planned first, written down in the journal, then made, each file only if it still is what the plan saw."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kohya_gui.caption_edits import Around, Edit, changed, split_words
from kohya_gui.caption_filter import tag_counts
from kohya_gui.caption_journal import Change, Journal, Operation
from kohya_gui.caption_set import CaptionSet, Entry
from kohya_gui.caption_tags import key
from kohya_gui.caption_text import caption_of, put, read_bytes, recoded, version
from kohya_gui.text import say
from sd_scripts.errors import DataError, RunError

SYNCED = 50
"""Steps of at most so many files wait for the disk after each one. Of larger ones all texts are in the journal, which waited already."""


@dataclass
class Work:
    """How far a step is. `stop` may be set from another thread: the files that are left stay as they are."""

    total: int = 0
    done: int = 0
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """One caption file that an edit changes: a picture that it belongs to, and its text before and after."""

    name: str
    change: Change
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What an edit would do. `unreadable` counts captions that it leaves alone because they cannot be read, or not as that encoding."""

    changes: tuple[Planned, ...]
    unreadable: int
    looked_at: int

    @property
    def token(self) -> str:
        """What tells this plan from another: files, and their content before and after."""
        digest = hashlib.blake2b(digest_size=12)
        for planned in self.changes:
            change = planned.change
            digest.update(f"{change.path}\0{version(change.before)}\0{version(change.after)}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left alone, and why: it was changed by another program, or the disk refused."""

    path: str
    why: Literal["changed", "refused"]
    reason: str


@dataclass
class Outcome:
    """What became of a step: files written, files left alone, and whether it was stopped before its end."""

    written: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    stopped: bool = False


def plan(found: CaptionSet, entries: Iterable[Entry], edit: Edit, *, trigger: str = "") -> Plan:
    """What `edit` would do to the captions of `entries`; a file that belongs to several pictures is changed once.

    Raises:
        ConfigError: the pattern is wrong or takes too long.
        DataError: a caption would become what no file can hold.
    """
    counts = {key(tag): number for tag, number in tag_counts(found.entries.values())} if edit.kind == "sort" and edit.common else None
    made: list[Planned] = []
    files: set[str] = set()
    unreadable = 0
    for entry in entries:
        if entry.file in files:
            continue
        files.add(entry.file)
        if edit.kind == "recode" and entry.body is None and entry.content is not None:
            planned = _recoded(entry, entry.content, edit.words)
            made += planned
            unreadable += not planned
        elif edit.kind == "recode":
            continue
        elif entry.body is None:
            unreadable += 1
        elif _may_concern(entry, edit, around := found.around(entry, trigger, counts)):
            made += _changed(entry, entry.body, changed(edit, entry.body, around))
    return Plan(tuple(made), unreadable, len(files))


def make(found: CaptionSet, journal: Journal, named: tuple[str, str], changes: Sequence[Change], *, work: Work | None = None) -> Outcome:
    """Make a step: write it down as `named` (kind and words, see `caption_edits.title`), then write the files.

    Raises:
        RunError: it cannot be written down, or no file at all could be written; every caption is as before.
    """
    operation = journal.record(*named, changes)
    outcome = _write(found, [(change.path, change.before, change.after) for change in changes], work or Work())
    if not outcome.written and not outcome.stopped:
        journal.mark(operation, "void")
        _refuse_if_refused(outcome)
    return outcome


def take_back(found: CaptionSet, journal: Journal, operation: Operation, *, work: Work | None = None) -> Outcome:
    """Give the files of a step the texts that they had before it. Raises RunError, see `make`."""
    return _again(found, journal, operation, state="undone", work=work or Work())


def make_again(found: CaptionSet, journal: Journal, operation: Operation, *, work: Work | None = None) -> Outcome:
    """Make a step again that was taken back. Raises RunError, see `make`."""
    return _again(found, journal, operation, state="done", work=work or Work())


def _again(found: CaptionSet, journal: Journal, operation: Operation, *, state: Literal["done", "undone"], work: Work) -> Outcome:
    changes = journal.changes(operation)
    wanted = [(c.path, c.before, c.after) if state == "done" else (c.path, c.after, c.before) for c in changes]
    outcome = _write(found, wanted, work)
    if outcome.stopped:
        return outcome
    if len(outcome.skipped) == len(changes):
        _refuse_if_refused(outcome)
    journal.mark(operation, state)
    return outcome


def _write(found: CaptionSet, wanted: Sequence[tuple[str, bytes | None, bytes | None]], work: Work) -> Outcome:
    """Write files as (path, content now, content then)."""
    outcome = Outcome()
    work.total, work.done = len(wanted), 0
    for path, now, then in wanted:
        if work.stop:
            outcome.stopped = True
            break
        skipped = _write_one(found, path, (now, then), sync=len(wanted) <= SYNCED)
        if skipped is None:
            outcome.written.append(path)
        else:
            outcome.skipped.append(skipped)
        work.done += 1
    written = set(outcome.written)
    found.renew([entry.name for entry in list(found.entries.values()) if entry.file in written], written=True)
    return outcome


def _write_one(found: CaptionSet, path: str, texts: tuple[bytes | None, bytes | None], *, sync: bool) -> Skipped | None:
    now, then = texts
    try:
        if not found.roots.allows(path):
            return Skipped(path, "refused", say("The place is outside the folders that the page may write."))
        there = read_bytes(Path(path))
        if there == then:
            return None
        if there != now:
            return Skipped(path, "changed", say("Another program changed it in between."))
        put(Path(path), then, sync=sync)
    except DataError as reason:
        return Skipped(path, "refused", reason.message)
    except OSError as reason:
        return Skipped(path, "refused", reason.strerror or str(reason))
    return None


def _refuse_if_refused(outcome: Outcome) -> None:
    """Raise for a step of which nothing could be done because the disk refused each file."""
    if outcome.skipped and all(skipped.why == "refused" for skipped in outcome.skipped):
        first = outcome.skipped[0]
        raise RunError(
            say("{file} cannot be written: {reason}.", file=first.path, reason=first.reason.rstrip(".")), fix=say("Check permissions and free space.")
        )


def _may_concern(entry: Entry, edit: Edit, around: Around) -> bool:
    """False where it is plain from the tags that nothing will change: splitting thousands of captions into pieces takes time."""
    rules = around.rules
    if edit.kind == "replace" and edit.how == "tag":
        return key(edit.find.strip()) in entry.keys
    if edit.kind in ("remove", "to_front"):
        return not entry.keys.isdisjoint(key(word) for word in split_words(edit.words, rules))
    if edit.kind == "tidy":
        return bool(entry.content)
    return True


def _changed(entry: Entry, before: str, after: str) -> list[Planned]:
    if after == before:
        return []
    path = Path(entry.file)
    content = caption_of(entry.content, path).written(after)
    return [Planned(entry.name, Change(entry.file, entry.content, content), before, after)]


def _recoded(entry: Entry, content: bytes, encoding: str) -> list[Planned]:
    path = Path(entry.file)
    try:
        new = recoded(content, encoding, path)
    except DataError:
        return []
    return [Planned(entry.name, Change(entry.file, content, new), "", caption_of(new, path).body)]
