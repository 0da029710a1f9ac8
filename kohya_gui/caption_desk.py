"""What the Captions page asks of the server: a place opened, pictures listed and found, captions saved, changed and taken back. No HTTP here."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kohya_gui.caption_changes import Outcome, Work, make, make_again, plan, take_back
from kohya_gui.caption_edits import Edit, read_edit, title
from kohya_gui.caption_filter import Filter, count_kinds, is_lacking, listed_tags, matching, read_filter, tag_counts
from kohya_gui.caption_journal import Change, Journal
from kohya_gui.caption_place import Place, chosen_place, form_place
from kohya_gui.caption_set import CaptionSet, Entry
from kohya_gui.caption_tags import read_lines
from kohya_gui.caption_text import caption_of, read_bytes, version
from kohya_gui.caption_views import Views
from kohya_gui.files import Roots
from kohya_gui.text import count, say
from sd_scripts.errors import ConfigError, DataError
from sd_scripts.params.config import Config

KEPT_PLACES = 4
"""Places that stay in memory: as many as a person has tabs open."""
MOST_ENTRIES = 400
EXAMPLES = 6
SHOWN_SKIPPED = 8
Answer = dict[str, Any]


class Moved(ConfigError):
    """The page shows a place that is not known any more: it has to be opened again."""


class Conflict(DataError):
    """A caption was changed by another program while it was being edited; `entry` is what it is now."""

    def __init__(self, entry: Answer) -> None:
        super().__init__(say("Another program changed this caption in between."), fix=say("Choose which text counts."))
        self.entry = entry


@dataclass
class Shelf:
    """A place that somebody has open."""

    asked: str
    found: CaptionSet
    token: str


@dataclass
class CaptionDesk:
    """One per server. `config_of` gives the settings of a user's form; `folder` holds journals and views."""

    folder: Path
    roots: Callable[[], Roots]
    config_of: Callable[[str], Config]
    _shelves: dict[tuple[str, str], Shelf] = field(default_factory=dict)
    _journals: dict[str, Journal] = field(default_factory=dict)
    _working: dict[str, Work] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def views(self) -> Views:
        """What each user looked at last."""
        return Views(self.folder)

    def open(self, user: str, data: Mapping[str, Any]) -> Answer:
        """Open the folder that `data` names, else the one that the user had open, else the form's.

        Raises:
            ConfigError, DataError: there is none, or it cannot be opened.
        """
        view = self.views.read(user)
        asked = _text(data, "folder")
        if asked is None:
            asked = view["folder"]
        extension = _text(data, "extension")
        if extension is None:
            extension = view["extension"] if asked == view["folder"] else ""
        place = self._place(user, asked, extension)
        shelf = Shelf(asked, CaptionSet(place, self.roots()), _token(place))
        shelf.found.refresh()
        with self._lock:
            self._shelves.pop((user, shelf.token), None)
            self._shelves[(user, shelf.token)] = shelf
            for old in [known for known in self._shelves if known[0] == user][:-KEPT_PLACES]:
                del self._shelves[old]
        same = (asked, extension) == (view["folder"], view["extension"])
        if not same:
            view = self.views.write(user, {"folder": asked, "extension": extension, "trigger": view["trigger"] if asked == view["folder"] else ""})
        return {"token": shelf.token, **_place_facts(shelf.found, asked, extension), "view": view}

    def list(self, user: str, data: Mapping[str, Any]) -> Answer:
        """Names of the pictures that fit the filter (not with "brief"), counts over all, tags of those that fit, and what can be taken back."""
        shelf = self._shelf(user, data)
        shelf.found.refresh()
        wanted, trigger = read_filter(_table(data, "filter")), _text(data, "trigger") or ""
        edited = self._journal(user).edited()
        shown = matching(shelf.found, wanted, trigger=trigger, edited=edited)
        rows, number = listed_tags(tag_counts(shown), _text(data, "tagfind") or "")
        counts = asdict(count_kinds(shelf.found, trigger=trigger, edited=edited))
        names = None if data.get("brief") is True else [entry.name for entry in shown]
        return {"names": names, "counts": counts, "tags": rows, "tags_total": number, **self._steps(user, shelf), "others": shelf.found.others}

    def entries(self, user: str, data: Mapping[str, Any]) -> Answer:
        """What the captions of some pictures are now."""
        shelf = self._shelf(user, data)
        names = _names(data)[:MOST_ENTRIES]
        trigger, edited = _text(data, "trigger") or "", self._journal(user).edited()
        return {"entries": [_shown(shelf.found, entry, trigger, entry.file in edited) for entry in shelf.found.renew(names)]}

    def save(self, user: str, data: Mapping[str, Any]) -> Answer:
        """Save one caption as typed, if its file still is the version that was shown.

        Raises:
            Conflict: it is not.
            DataError, RunError: it cannot be written.
        """
        shelf, text = self._shelf(user, data), _text(data, "text")
        entry = shelf.found.entries.get(_text(data, "name") or "")
        if entry is None or text is None:
            raise DataError(say("This picture is not in the folder any more."), fix=say("Open the folder again."))
        path, trigger = Path(entry.file), _text(data, "trigger") or ""
        with self._changing:
            there = read_bytes(path)
            if version(there) != _text(data, "version"):
                (entry,) = shelf.found.renew([entry.name], written=True)
                raise Conflict(_shown(shelf.found, entry, trigger, edited=False))
            content = caption_of(there, path).written(text)
            made = Outcome()
            if not (content == there or (there is None and not text.strip())):
                made = make(shelf.found, self._journal(user), ("text", entry.name), [Change(entry.file, there, content)])
        (entry,) = shelf.found.renew([entry.name])
        edited = entry.file in self._journal(user).edited()
        if made.skipped:
            raise Conflict(_shown(shelf.found, entry, trigger, edited))
        same = [name for name in shelf.found.same_file(entry) if name != entry.name]
        return {"entry": _shown(shelf.found, entry, trigger, edited), "same_file": same, **self._steps(user, shelf)}

    def preview(self, user: str, data: Mapping[str, Any]) -> Answer:
        """What an edit would change: how many captions, a few of them before and after, and the plan's token."""
        shelf, edit = self._shelf(user, data), read_edit(_table(data, "edit"))
        shelf.found.refresh()
        made = plan(shelf.found, self._scope(user, shelf, data), edit, trigger=_text(data, "trigger") or "")
        examples = [{"name": row.name, "before": row.before, "after": row.after} for row in made.changes[:EXAMPLES]]
        return {"changes": len(made.changes), "of": made.looked_at, "unreadable": made.unreadable, "examples": examples, "plan": made.token}

    def apply(self, user: str, data: Mapping[str, Any]) -> Answer:
        """Make an edit, if it still is the one that `preview` told of; else its preview as it is now, with "stale"."""
        shelf, edit = self._shelf(user, data), read_edit(_table(data, "edit"))
        trigger = _text(data, "trigger") or ""
        with self._changing:
            shelf.found.refresh()
            made = plan(shelf.found, self._scope(user, shelf, data), edit, trigger=trigger)
            if made.token != _text(data, "plan"):
                return {"stale": True, **self.preview(user, data)}
            if not made.changes:
                return {"said": say("Nothing to change."), **self._steps(user, shelf)}
            changes = [row.change for row in made.changes]
            outcome = self._worked(user, lambda work: make(shelf.found, self._journal(user), _named(edit, trigger), changes, work=work))
        return self._told(user, shelf, title(*_named(edit, trigger), len(outcome.written)), outcome)

    def step(self, user: str, data: Mapping[str, Any]) -> Answer:
        """Take the last change in these folders back, or make again what was taken back."""
        shelf, back = self._shelf(user, data), data.get("back") is True
        journal, folders = self._journal(user), _folders(shelf.found)
        with self._changing:
            operation = journal.undoable(folders) if back else journal.redoable(folders)
            if operation is None:
                said = say("There is nothing to take back.") if back else say("There is nothing to make again.")
                return {"said": said, **self._steps(user, shelf)}
            go = take_back if back else make_again
            outcome = self._worked(user, lambda work: go(shelf.found, journal, operation, work=work))
        name = title(operation.kind, operation.words, operation.count)
        said = say("Taken back: {change}", change=name) if back else say("Made again: {change}", change=name)
        return self._told(user, shelf, said, outcome)

    def keep_view(self, user: str, data: Mapping[str, Any]) -> Answer:
        """Keep what the page shows, for the next time."""
        self.views.write(user, _table(data, "view"))
        return {}

    def working(self, user: str, data: Mapping[str, Any]) -> Answer:
        """How far the step that is being made is; with "stop" it ends after the file in hand."""
        work = self._working.get(user)
        if work is None:
            return {"total": 0, "done": 0}
        work.stop = work.stop or data.get("stop") is True
        return {"total": work.total, "done": work.done}

    def _worked(self, user: str, go: Callable[[Work], Outcome]) -> Outcome:
        work = self._working[user] = Work()
        try:
            return go(work)
        finally:
            self._working.pop(user, None)

    def _told(self, user: str, shelf: Shelf, said: str, outcome: Outcome) -> Answer:
        """A step's outcome in words, with the pictures that it concerned."""
        written = set(outcome.written)
        names = [entry.name for entry in shelf.found.entries.values() if entry.file in written]
        skipped = [{"name": Path(row.path).name, "reason": row.reason} for row in outcome.skipped]
        more = {"said": said, "names": names, "skipped": skipped[:SHOWN_SKIPPED], "skipped_total": len(skipped), "stopped": outcome.stopped}
        return {**more, **self._steps(user, shelf)}

    def _steps(self, user: str, shelf: Shelf) -> Answer:
        """What undo and redo would do, in words; None for nothing."""
        journal, folders = self._journal(user), _folders(shelf.found)
        steps = {"undo": journal.undoable(folders), "redo": journal.redoable(folders)}
        return {name: step and title(step.kind, step.words, step.count) for name, step in steps.items()}

    def _scope(self, user: str, shelf: Shelf, data: Mapping[str, Any]) -> Sequence[Entry]:
        """The entries that an edit is for: named ones, or all that fit a filter."""
        if "names" in data:
            known = shelf.found.entries
            return [known[name] for name in _names(data) if name in known]
        wanted: Filter = read_filter(_table(data, "shown"))
        return matching(shelf.found, wanted, trigger=_text(data, "trigger") or "", edited=self._journal(user).edited())

    def _place(self, user: str, asked: str, extension: str) -> Place:
        config, roots = self.config_of(user), self.roots()
        place = chosen_place(asked, config, roots) if asked else form_place(config, roots)
        return place.with_extension(extension)

    def _shelf(self, user: str, data: Mapping[str, Any]) -> Shelf:
        """The place that a request is about, opened anew after a restart."""
        token = _text(data, "token") or ""
        with self._lock:
            known = self._shelves.get((user, token))
        if known is not None:
            return known
        opened = self.open(user, data)
        if opened["token"] != token:
            raise Moved("", say("The folders are not the same any more."), fix=say("Open them again."))
        with self._lock:
            return self._shelves[(user, token)]

    def _journal(self, user: str) -> Journal:
        with self._lock:
            if user not in self._journals:
                self._journals[user] = Journal(self.views.path(user).with_suffix(".jsonl"))
            return self._journals[user]


def _place_facts(found: CaptionSet, asked: str, extension: str) -> Answer:
    """What a page says of a place, and the extension that it is shown with."""
    place = found.place
    numbers: dict[int, int] = {}
    for entry in found.entries.values():
        numbers[entry.folder] = numbers.get(entry.folder, 0) + 1
    folders = [
        {"path": str(row.path), "name": row.path.name, "pictures": numbers.get(at, 0), "class_tokens": row.class_tokens or ""}
        for at, row in enumerate(place.folders)
    ]
    extensions = sorted({row.extension for row in place.folders})
    return {
        "root": str(place.root),
        "folder": asked,
        "extension": extension,
        "extensions": extensions,
        "others": found.others,
        "folders": folders,
        "class_tokens": place.class_tokens,
        "notes": [*place.notes, *_rule_notes(place)],
    }


def _rule_notes(place: Place) -> list[str]:
    """How captions are read, where that is not what everybody expects."""
    notes = []
    for rules in dict.fromkeys(folder.rules for folder in place.folders):
        if rules.caption_separator != ",":
            notes.append(say("Tags are split at {separator}.", separator=f"“{rules.caption_separator}”"))
        if rules.secondary_separator:
            notes.append(say("Tags joined by {separator} stay together.", separator=f"“{rules.secondary_separator}”"))
        if rules.keep_tokens_separator:
            notes.append(say("Tags in front of {mark} keep their place.", mark=f"“{rules.keep_tokens_separator}”"))
        elif rules.keep_tokens:
            notes.append(say("Tags at the front that keep their place: {number}.", number=count(rules.keep_tokens)))
        if rules.enable_wildcard:
            notes.append(say("Each line is a caption of its own: wildcards are on."))
    return list(dict.fromkeys(notes))


def _shown(found: CaptionSet, entry: Entry, trigger: str, edited: bool) -> Answer:
    """One picture as the page shows it."""
    rules, body = found.folder_of(entry).rules, entry.body or ""
    lines = [line for line in body.splitlines() if line.strip()]
    return {
        "name": entry.name,
        "path": entry.picture,
        "file": Path(entry.file).name,
        "text": entry.body,
        "version": entry.version,
        "exists": entry.seen is not None,
        "problem": entry.problem,
        "tags": entry.tags,
        "lacking": is_lacking(found, entry, trigger),
        "edited": edited,
        "shared": len(found.same_file(entry)) - 1,
        "unread": len(lines) - len(read_lines(body, rules)),
        "class_tokens": found.folder_of(entry).class_tokens or "",
    }


def _named(edit: Edit, trigger: str) -> tuple[str, str]:
    """What the journal calls an edit."""
    return edit.kind, {"replace": edit.find, "trigger": trigger}.get(edit.kind, edit.words)


def _folders(found: CaptionSet) -> frozenset[str]:
    return frozenset(str(folder.path) for folder in found.place.folders)


def _token(place: Place) -> str:
    """What tells one place from another: its folders and how they are read."""
    told = [[str(row.path), row.extension, row.class_tokens, asdict(row.rules)] for row in place.folders]
    return hashlib.blake2b(json.dumps([str(place.root), told], sort_keys=True).encode(), digest_size=12).hexdigest()


def _text(data: Mapping[str, Any], name: str) -> str | None:
    """A text of the request; None where it is not given."""
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError("", say("The request is damaged: {name} is no text.", name=name))
    return value


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name, {})
    if not isinstance(value, dict):
        raise ConfigError("", say("The request is damaged: {name} is no table.", name=name))
    return value


def _names(data: Mapping[str, Any]) -> list[str]:
    names = data.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("", say("The request is damaged: {name} is no list of names.", name="names"))
    return names
