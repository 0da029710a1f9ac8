"""Notes of runs, and the trash: nothing is lost, nothing is overwritten."""

from __future__ import annotations

import pytest

from kohya_gui.jobs.notes import LONGEST_TITLE, MOST_TAGS, Note, bring_back, in_trash, put_away, read_note, write_note
from kohya_gui.jobs.runs import list_runs
from sd_scripts.errors import RunError
from tests.kohya_gui.small_runs import write_run


def test_a_note_is_kept_with_the_run(tmp_path):
    run = write_run(tmp_path)
    assert read_note(run) == Note()
    write_note(run, title="  My   cat ", text="too dark\n", tags="good, cat,, good")
    assert read_note(run) == Note("My cat", "too dark", ("good", "cat"))


def test_a_torn_note_is_no_reason_to_fail(tmp_path):
    run = write_run(tmp_path)
    (run / "note.json").write_text("{")
    assert read_note(run) == Note()


@pytest.mark.parametrize("given", [{"title": "x" * (LONGEST_TITLE + 1)}, {"tags": ",".join(map(str, range(MOST_TAGS + 1)))}])
def test_a_note_that_is_too_long_is_refused_and_the_old_one_stays(tmp_path, given):
    run = write_run(tmp_path)
    write_note(run, title="old", text="", tags="")
    with pytest.raises(RunError, match="too long"):
        write_note(run, **{"title": "", "text": "", "tags": "", **given})
    assert read_note(run).title == "old"


@pytest.mark.parametrize(("words", "fits"), [("", True), ("CAT dark", True), ("good", True), ("dog", False), ("20 cat", True), ("cat dog", False)])
def test_search_looks_at_every_word(words, fits):
    assert Note("My cat", "too dark", ("good",)).matches(words, "2026_run") is fits


def test_a_run_goes_to_the_trash_and_comes_back_whole(tmp_path):
    run = write_run(tmp_path)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    lies = put_away(run)
    assert list_runs(tmp_path) == []
    assert list(in_trash(tmp_path)) == [run.name]
    assert (tmp_path / "cat.safetensors").is_file()  # what it trained stays
    assert lies.is_dir()
    assert {path.name: path.read_bytes() for path in bring_back(tmp_path, run.name).iterdir() if path.is_file()} == before
    assert [summary.id for summary in list_runs(tmp_path)] == [run.name]


def test_a_run_that_waits_stays(tmp_path):
    run = write_run(tmp_path, state="queued")
    with pytest.raises(RunError, match="Stop it first"):
        put_away(run)


def test_nothing_in_the_trash_is_overwritten(tmp_path):
    run = write_run(tmp_path)
    put_away(run)
    run.mkdir()
    with pytest.raises(RunError, match="exists already"):
        bring_back(tmp_path, run.name)


@pytest.mark.parametrize("name", ["", "..", "nothing", "../cat"])
def test_only_runs_come_back(tmp_path, name):
    with pytest.raises(RunError, match="no run"):
        bring_back(tmp_path, name)
