"""What a user has open on the Dataset page, in a file per user: the document as edited, what is chosen, what can be undone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_gui.dataset_document import Document, Kind
from kohya_gui.jobs.states import write_whole
from sd_scripts.errors import RunError, TrainingError
from sd_scripts.survey.dataset_config import Spot

MOST_UNDONE = 60
LONGEST_HISTORY = 4_000_000
"""Letters of documents that are kept for undoing; of a large document fewer steps are."""


@dataclass(frozen=True)
class Edition:
    """A document with what belongs to it: `file`, from which it was opened or to which it was saved ("" without one), and `saved`, its text then.

    `begun` is its text as it was made of the Train page's folders, "" for one that was not.
    """

    document: Document = field(default_factory=Document)
    file: str = ""
    saved: str = ""
    begun: str = ""

    @property
    def is_changed(self) -> bool:
        """Whether it says something that its file does not."""
        return self.document.text != self.saved

    @property
    def is_own_work(self) -> bool:
        """Whether it says something that neither its file nor the Train page does."""
        return self.document.text not in (self.saved, self.begun)


@dataclass(frozen=True)
class State:
    """What a page shows. `chosen` is the table whose pictures or options are shown, `view` which of these, `only` a filter of pictures.

    `trained` marks what the Train page trained on when its pictures were last shown here, see `dataset_train.mark`.
    """

    edition: Edition = field(default_factory=Edition)
    chosen: Spot = ()
    view: str = "pictures"
    only: str = ""
    page: int = 0
    past: tuple[Edition, ...] = ()
    undone: tuple[Edition, ...] = ()
    typing: str = ""
    trained: str = ""

    @property
    def document(self) -> Document:
        """The document as edited."""
        return self.edition.document

    def edited(self, edition: Edition, *, typing: str = "") -> State:
        """The state after an edit, which can be undone. What is typed into one place letter by letter (`typing`) is one edit."""
        if edition == self.edition:
            return self
        past = self.past if typing and typing == self.typing else (*self.past, self.edition)[-MOST_UNDONE:]
        while past and sum(len(row.document.text) for row in past) > LONGEST_HISTORY:
            past = past[1:]
        return dataclasses.replace(self, edition=edition, past=past, undone=(), typing=typing).settled()

    def with_document(self, document: Document, *, typing: str = "") -> State:
        """The state after an edit of the document."""
        return self.edited(dataclasses.replace(self.edition, document=document), typing=typing)

    def stepped(self, *, back: bool) -> State:
        """The state with the last edit undone, or with the one that was undone last done again; as it is where there is none."""
        source = self.past if back else self.undone
        if not source:
            return self
        past, undone = (self.past[:-1], (*self.undone, self.edition)) if back else ((*self.past, self.edition), self.undone[:-1])
        return dataclasses.replace(self, edition=source[-1], past=past, undone=undone, typing="").settled()

    def settled(self) -> State:
        """The state with a choice that exists: the nearest table, where the chosen one is gone."""
        spot = self.chosen
        while spot and not self.document.has(spot):
            spot = (*spot[:-1], spot[-1] - 1) if spot[-1] > 0 else spot[:-1]
        return self if spot == self.chosen else dataclasses.replace(self, chosen=spot, only="", page=0)


@dataclass
class States:
    """States by user, each in a file in `folder`."""

    folder: Path
    _cache: dict[str, State] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def read(self, user: str) -> State:
        """The user's state; an empty one where there is none or its file cannot be read any more."""
        with self._lock:
            if user not in self._cache:
                self._cache[user] = _load(self._path(user))
            return self._cache[user]

    def update(self, user: str, change: Callable[[State], State]) -> State:
        """Replace the state by what `change` makes of it, undisturbed by other events of the same page.

        Raises:
            RunError: it cannot be kept.
        """
        with self._lock:
            before = self.read(user)
            state = change(before)
            if state != before:
                self._keep(user, state)
            return state

    def _keep(self, user: str, state: State) -> None:
        path = self._path(user)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(dataclasses.asdict(state), ensure_ascii=False))
        except OSError as failed:
            raise RunError(f"The dataset cannot be kept in {path}: {failed.strerror}.", fix="Free space, or choose another runs_dir.") from failed
        self._cache[user] = state

    def _path(self, user: str) -> Path:
        return self.folder / f"{hashlib.sha256(user.encode()).hexdigest()[:16]}.dataset.json"


def _load(path: Path) -> State:
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        editions = {name: tuple(map(_edition, record[name])) for name in ("past", "undone")}
        made = State(_edition(record["edition"]), tuple(map(int, record["chosen"])), str(record["view"]), str(record["only"]), int(record["page"]))
        made.document.checked()
        return dataclasses.replace(made, **editions, trained=str(record.get("trained", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TrainingError):
        return State()


def _edition(record: dict[str, Any]) -> Edition:
    kind: Kind = "json" if record["document"]["kind"] == "json" else "toml"
    return Edition(Document(str(record["document"]["text"]), kind), str(record["file"]), str(record["saved"]), str(record.get("begun", "")))
