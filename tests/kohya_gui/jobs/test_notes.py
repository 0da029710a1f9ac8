"""Notes of runs."""

from __future__ import annotations

import pytest

from kohya_gui.jobs.notes import LONGEST_TITLE, MOST_TAGS, Note, choose, note_copy, read_note, write_note
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


def test_words_and_the_chosen_file_do_not_disturb_each_other(tmp_path):
    run = write_run(tmp_path)
    choose(run, "/out/cat.safetensors")
    note_copy(run, tmp_path / "cat-kept.safetensors")
    write_note(run, title="cat", text="", tags="")
    note = read_note(run)
    assert (note.title, note.kept, note.copy) == ("cat", "/out/cat.safetensors", str(tmp_path / "cat-kept.safetensors"))
    choose(run, "/out/other.safetensors")
    assert (read_note(run).title, read_note(run).copy) == ("cat", "")


def test_a_note_of_an_older_version_is_read(tmp_path):
    run = write_run(tmp_path)
    (run / "note.json").write_text('{"title": "cat", "text": "", "tags": []}')
    assert read_note(run) == Note("cat")
