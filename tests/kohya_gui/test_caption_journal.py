"""The journal of captions: what it remembers over restarts, crashes and other writers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kohya_gui.caption_journal import DAY_SECONDS, Change, Journal
from sd_scripts.errors import RunError

HERE = ("/pictures",)


def change(name: str = "a.txt", before: bytes | None = b"old", after: bytes | None = b"new", folder: str = "/pictures") -> Change:
    return Change(f"{folder}/{name}", before, after)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "a.jsonl"


def test_changes_come_back_byte_for_byte_after_a_restart(path: Path) -> None:
    changes = [change("猫.txt", None, "猫\r\n".encode()), change("b.txt", b"K\xe4fer", b""), change("c.txt", b"\xef\xbb\xbfx", None)]
    Journal(path).record("front", "sks", changes)
    again = Journal(path)
    step = again.undoable(HERE)
    assert step is not None
    assert (step.kind, step.words, step.count) == ("front", "sks", 3)
    assert again.changes(step) == changes


def test_steps_are_taken_back_from_the_last_and_made_again_from_the_first(path: Path) -> None:
    journal = Journal(path)
    first, second, third = (journal.record("text", name, [change()]) for name in "abc")
    for step in (third, second):
        assert journal.undoable(HERE) == step
        journal.mark(step, "undone")
    assert [step.words for step in (journal.undoable(HERE), journal.redoable(HERE)) if step] == ["a", "b"]
    again = Journal(path)
    assert [step and step.words for step in (again.undoable(HERE), again.redoable(HERE))] == ["a", "b"]
    again.mark(second, "done")
    assert journal.undoable(HERE) == second
    assert first.state == "done"


def test_a_new_change_overtakes_what_was_taken_back_in_its_folder_alone(path: Path) -> None:
    journal = Journal(path)
    here, there = journal.record("text", "a", [change()]), journal.record("text", "b", [change(folder="/other")])
    for step in (here, there):
        journal.mark(step, "undone")
    journal.record("text", "c", [change()])
    for known in (journal, Journal(path)):
        assert known.redoable(HERE) is None
        assert [step.words for step in (known.redoable(["/other"]),) if step] == ["b"]


def test_a_step_that_came_to_nothing_is_not_offered(path: Path) -> None:
    journal = Journal(path)
    journal.mark(journal.record("text", "a", [change()]), "void")
    assert journal.undoable(HERE) is None
    assert journal.edited() == frozenset()


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_line_that_breaks_off_costs_only_its_own_step(path: Path, cut: int) -> None:
    journal = Journal(path)
    journal.record("text", "whole", [change()])
    journal.record("text", "broken", [change("b.txt")])
    os.truncate(path, path.stat().st_size - cut)
    after = Journal(path)
    assert [step.words for step in (after.undoable(HERE),) if step] == ["whole"]
    after.record("text", "next", [change("c.txt")])
    for known in (after, Journal(path)):
        step = known.undoable(HERE)
        assert step is not None
        assert (step.words, known.changes(step)) == ("next", [change("c.txt")])
        known_words = [row.words for row in known._steps.values()]
        assert known_words == ["whole", "next"]


def test_two_programs_see_each_others_steps(path: Path) -> None:
    one, other = Journal(path), Journal(path)
    one.record("text", "one", [change()])
    step = other.undoable(HERE)
    assert step is not None
    assert step.words == "one"
    other.mark(step, "undone")
    assert one.undoable(HERE) is None


def test_files_of_the_last_day_count_as_edited_until_they_are_taken_back(path: Path) -> None:
    journal = Journal(path)
    step = journal.record("front", "sks", [change("a.txt"), change("b.txt")])
    assert journal.edited() == {"/pictures/a.txt", "/pictures/b.txt"}
    assert journal.edited(now=step.time + DAY_SECONDS + 1) == frozenset()
    journal.mark(step, "undone")
    assert Journal(path).edited() == frozenset()


def test_a_change_that_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="No caption was changed"):
        Journal(tmp_path / "file" / "a.jsonl").record("text", "a", [change()])


def test_the_journal_is_for_its_owner_alone(path: Path) -> None:
    Journal(path).record("text", "a", [change()])
    assert path.stat().st_mode & 0o077 == 0
