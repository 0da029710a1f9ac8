"""What a person says of a run: a name, words, tags, and which checkpoint is the chosen one. A run's own files stay as the trainer wrote them."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kohya_gui.jobs.states import write_whole
from sd_scripts.errors import RunError
from sd_scripts.params.events import NOTE_FILE

LONGEST_TITLE, LONGEST_NOTE, MOST_TAGS = 120, 20_000, 20
_WRITING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Note:
    """A name in the place of the output's, words, and tags.

    `kept` is the absolute path of the chosen checkpoint, which the trainer does not replace by newer ones; `copy` that of its copy under a name of
    its own. Both are "" where there is none.
    """

    title: str = ""
    text: str = ""
    tags: tuple[str, ...] = ()
    kept: str = ""
    copy: str = ""

    def matches(self, words: str, *more: str) -> bool:
        """Whether every word occurs in the note or in `more`, in any case."""
        everything = " ".join((self.title, self.text, *self.tags, *more)).casefold()
        return all(word in everything for word in words.casefold().split())


def read_note(run: Path) -> Note:
    """The note of a run; an empty one where there is none."""
    try:
        record = json.loads((run / NOTE_FILE).read_text("utf-8"))
        tags = tuple(map(str, record.get("tags", ())))
        return Note(str(record.get("title", "")), str(record.get("text", "")), tags, str(record.get("kept", "")), str(record.get("copy", "")))
    except (OSError, ValueError, AttributeError, TypeError):
        return Note()


def write_note(run: Path, *, title: str, text: str, tags: str) -> Note:
    """Keep words with the run; `tags` are separated by commas.

    Raises:
        RunError: they are too long, or cannot be written.
    """
    names = tuple(dict.fromkeys(tag.strip() for tag in tags.split(",") if tag.strip()))
    if len(title) > LONGEST_TITLE or len(text) > LONGEST_NOTE or len(names) > MOST_TAGS:
        raise RunError(
            f"The note is too long: {len(title)} letters of name, {len(text):,} of text, {len(names)} tags.",
            fix=f"At most {LONGEST_TITLE}, {LONGEST_NOTE:,} and {MOST_TAGS}.",
        )
    return _changed(run, title=" ".join(title.split()), text=text.strip(), tags=names)


def choose(run: Path, kept: str) -> Note:
    """Note which checkpoint is the chosen one, "" for none; a copy of another one is no longer this run's. Raises RunError."""
    copy = read_note(run).copy if kept and kept == read_note(run).kept else ""
    return _changed(run, kept=kept, copy=copy)


def note_copy(run: Path, copy: Path) -> Note:
    """Note where the copy of the chosen checkpoint lies. Raises RunError."""
    return _changed(run, copy=str(copy))


def _changed(run: Path, **facts: object) -> Note:
    with _WRITING:
        note = replace(read_note(run), **facts)
        try:
            write_whole(run / NOTE_FILE, json.dumps(asdict(note), ensure_ascii=False))
        except OSError as failed:
            raise RunError(
                f"The note cannot be kept in {run}: {failed.strerror}.", fix="Free space, or look at the folder's permissions."
            ) from failed
    return note
