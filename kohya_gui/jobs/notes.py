"""What a person says of a run, and runs put away. A run's own files stay as the trainer wrote them; what it trained lies elsewhere and stays too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kohya_gui.jobs.runs import RUN_FILE, read_status
from kohya_gui.jobs.states import write_whole
from sd_scripts.errors import RunError

NOTE_FILE = "note.json"
TRASH = ".trash"
LONGEST_TITLE, LONGEST_NOTE, MOST_TAGS = 120, 20_000, 20


@dataclass(frozen=True, slots=True)
class Note:
    """A name in the place of the output's, words, and tags."""

    title: str = ""
    text: str = ""
    tags: tuple[str, ...] = ()

    def matches(self, words: str, *more: str) -> bool:
        """Whether every word occurs in the note or in `more`, in any case."""
        everything = " ".join((self.title, self.text, *self.tags, *more)).casefold()
        return all(word in everything for word in words.casefold().split())


def read_note(run: Path) -> Note:
    """The note of a run; an empty one where there is none."""
    try:
        record = json.loads((run / NOTE_FILE).read_text("utf-8"))
        return Note(str(record["title"]), str(record["text"]), tuple(map(str, record["tags"])))
    except (OSError, ValueError, KeyError, TypeError):
        return Note()


def write_note(run: Path, *, title: str, text: str, tags: str) -> Note:
    """Keep a note with the run; `tags` are separated by commas.

    Raises:
        RunError: it is too long, or cannot be written.
    """
    names = tuple(dict.fromkeys(tag.strip() for tag in tags.split(",") if tag.strip()))
    if len(title) > LONGEST_TITLE or len(text) > LONGEST_NOTE or len(names) > MOST_TAGS:
        raise RunError(
            f"The note is too long: {len(title)} letters of name, {len(text):,} of text, {len(names)} tags.",
            fix=f"At most {LONGEST_TITLE}, {LONGEST_NOTE:,} and {MOST_TAGS}.",
        )
    note = Note(" ".join(title.split()), text.strip(), names)
    try:
        write_whole(run / NOTE_FILE, json.dumps(asdict(note), ensure_ascii=False))
    except OSError as failed:
        raise RunError(f"The note cannot be kept in {run}: {failed.strerror}.", fix="Free space, or look at the folder's permissions.") from failed
    return note


def put_away(run: Path) -> Path:
    """Move a run out of the list, into the trash beside it. Returns where it lies then.

    Raises:
        RunError: it is still running, or cannot be moved.
    """
    status = read_status(run)
    if status.is_active or status.state == "queued":
        raise RunError(f"The run {run.name} is {status.state}.", fix="Stop it first.")
    return _moved(run, run.parent / TRASH)


def bring_back(runs_dir: Path, name: str) -> Path:
    """Move a run from the trash back into the list.

    Raises:
        RunError: it is not in the trash, or a run of that name is in the list.
    """
    if name not in in_trash(runs_dir):
        raise RunError(f"There is no run {name!r} in the trash.")
    return _moved(runs_dir / TRASH / name, runs_dir)


def in_trash(runs_dir: Path) -> Sequence[str]:
    """Names of the runs that were put away, newest first."""
    trash = runs_dir / TRASH
    return sorted((path.name for path in trash.iterdir() if (path / RUN_FILE).is_file()), reverse=True) if trash.is_dir() else ()


def _moved(run: Path, folder: Path) -> Path:
    target = folder / run.name
    if target.exists():
        raise RunError(f"{target} exists already.", fix="Move it away first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run.rename(target)
    except OSError as failed:
        raise RunError(f"{run} cannot be moved to {folder}: {failed.strerror}.", fix="Close programs that have its files open.") from failed
    return target
