"""Drafts on the server: one per user, kept through reloads and restarts, with what can be undone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kohya_gui.configs import Draft
from kohya_gui.jobs.states import write_whole
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.commands import Command
from sd_scripts.params.values import typed

MOST_UNDONE = 100


@dataclass
class History:
    """What a user's draft was before each change, and what was undone. A field that is typed letter by letter is one change."""

    past: deque[Draft] = field(default_factory=lambda: deque(maxlen=MOST_UNDONE))
    undone: list[Draft] = field(default_factory=list)
    last: tuple[str, ...] = ()

    def note(self, before: Draft, after: Draft) -> None:
        """Remember a change."""
        named = before.script == after.script and before.base == after.base and before.prompts == after.prompts
        touched = tuple(sorted(name for name in after.command.by_name if after.value(name) != before.value(name))) if named else ()
        if not self.past or len(touched) != 1 or touched != self.last:
            self.past.append(before)
        self.last = touched
        self.undone.clear()


@dataclass(frozen=True)
class Drafts:
    """Drafts by user, each in one small file, so that a restart of the program loses nothing typed. What can be undone is forgotten then."""

    folder: Path
    start: Draft
    _cache: dict[str, Draft] = field(default_factory=dict)
    _histories: dict[str, History] = field(default_factory=lambda: defaultdict(History))
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def read(self, user: str) -> Draft:
        """The user's draft; the start draft where there is none or its file cannot be read any more."""
        with self._lock:
            if user not in self._cache:
                self._cache[user] = self._load(user)
            return self._cache[user]

    def update(self, user: str, change: Callable[[Draft], Draft], *, apart: bool = False) -> Draft:
        """Replace the draft by what `change` makes of it, undisturbed by other events of the same page. Raises RunError.

        `apart`: it is a change of its own, not the next letter of what is being typed.
        """
        with self._lock:
            if apart:
                self._histories[user].last = ()
            draft = change(self.read(user))
            self.write(user, draft)
            return draft

    def step(self, user: str, *, back: bool) -> Draft:
        """Undo the last change, or do again what was undone; the draft as it is then. Raises RunError."""
        with self._lock:
            history, now = self._histories[user], self.read(user)
            source = history.past if back else history.undone
            if not source:
                return now
            wanted = source.pop()
            (history.undone if back else history.past).append(now)
            history.last = ()
            self._keep(user, wanted)
            return wanted

    def steps(self, user: str) -> dict[str, bool]:
        """Whether there is anything to undo, and to do again."""
        history = self._histories[user]
        return {"undo": bool(history.past), "redo": bool(history.undone)}

    def prompts_file(self, user: str) -> Path:
        """Where the user's typed prompts stand as a prompt file."""
        return self._path(user).with_suffix(".txt")

    def write(self, user: str, draft: Draft) -> None:
        """Keep the draft, in memory and on disk, its prompts beside it as a file.

        Raises:
            RunError: the file cannot be written.
        """
        with self._lock:
            before = self.read(user)
            if before != draft:
                self._histories[user].note(before, draft)
                self._keep(user, draft)

    def _keep(self, user: str, draft: Draft) -> None:
        self._cache[user] = draft
        secrets = {parameter.name for parameter in draft.command.parameters if parameter.hints.secret}
        record = dataclasses.asdict(dataclasses.replace(draft, given={name: value for name, value in draft.given.items() if name not in secrets}))
        path = self._path(user)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(record, ensure_ascii=False, default=str))
            write_whole(self.prompts_file(user), f"{draft.prompts.strip()}\n")
        except OSError as failed:
            raise RunError(f"The draft cannot be kept in {path}: {failed.strerror}.", fix="Free space, or choose another runs_dir.") from failed

    def _path(self, user: str) -> Path:
        return self.folder / f"{hashlib.sha256(user.encode()).hexdigest()[:16]}.json"

    def _load(self, user: str) -> Draft:
        try:
            record = json.loads(self._path(user).read_text("utf-8"))
            draft = Draft(**record)
            known = draft.command
        except (OSError, ValueError, TypeError, KeyError):
            return self.start
        given = {name: _retyped(known, name, value) for name, value in draft.given.items() if name in known.by_name}
        base = {name: _retyped(known, name, value) for name, value in draft.base.items() if name in known.by_name}
        aside = {name: tuple(value) if isinstance(value, list) else value for name, value in draft.aside.items()}
        return dataclasses.replace(draft, given=given, base=base, aside=aside)


def _retyped(known: Command, name: str, value: object) -> object:
    """JSON has no tuples; a value of an older version that fits no more becomes the default."""
    try:
        return typed(known.parameter(name), value)
    except ConfigError:
        return known.parameter(name).default
