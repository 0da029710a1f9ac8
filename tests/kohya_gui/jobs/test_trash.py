"""The trash: nothing is lost, nothing is overwritten, and what is kept stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kohya_gui.jobs.notes import choose
from kohya_gui.jobs.runs import list_runs
from kohya_gui.jobs.trash import belongings, bring_back, erase, in_trash, put_away, trash_bytes
from sd_scripts.errors import RunError
from tests.kohya_gui.small_runs import write_run


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_goes_to_the_trash_and_comes_back_whole(tmp_path):
    run = write_run(tmp_path)
    before = files_of(run)
    lies = put_away(run)
    assert list_runs(tmp_path) == []
    assert list(in_trash(tmp_path)) == [run.name]
    assert (tmp_path / "cat.safetensors").is_file()  # what it trained stays
    assert lies.is_dir()
    assert bring_back(tmp_path, run.name) == ()
    assert files_of(run) == before
    assert [summary.id for summary in list_runs(tmp_path)] == [run.name]


def test_what_it_made_goes_along_if_asked_and_comes_back(tmp_path):
    run = write_run(tmp_path, saves=(10,))
    names = {"cat.safetensors", "cat-step00000010.safetensors", "cat_000010_00.png"}
    assert {path.name for path in belongings(run).paths} == names
    put_away(run, with_files=True)
    assert not names & set(files_of(tmp_path))
    assert trash_bytes(tmp_path, run.name) > len("cat.safetensorscat-step00000010.safetensors")
    bring_back(tmp_path, run.name)
    assert names <= set(files_of(tmp_path))
    assert list((tmp_path / ".trash").glob("*")) == []


def test_the_chosen_file_is_never_put_away(tmp_path):
    run = write_run(tmp_path, saves=(10,))
    chosen = tmp_path / "cat-step00000010.safetensors"
    choose(run, str(chosen))
    put_away(run, with_files=True)
    erase(tmp_path, run.name)
    assert chosen.read_text() == chosen.name
    assert not (tmp_path / "cat.safetensors").exists()


def test_a_later_file_of_that_name_is_not_this_runs(tmp_path):
    run = write_run(tmp_path)
    later = tmp_path / "cat.safetensors"
    later.write_text("X" * len("cat.safetensors"))
    os.utime(later, (time.time() + 60, time.time() + 60))
    put_away(run, with_files=True)
    assert later.is_file()


def test_a_place_that_is_taken_is_left_alone(tmp_path):
    run = write_run(tmp_path)
    put_away(run, with_files=True)
    newer = tmp_path / "cat.safetensors"
    newer.write_text("newer")
    (blocked,) = bring_back(tmp_path, run.name)
    assert newer.read_text() == "newer"
    assert blocked.read_text() == "cat.safetensors"
    put_away(run, with_files=True)
    erase(tmp_path, run.name)
    assert not blocked.exists()
    assert newer.is_file()


def test_erasing_removes_the_run_and_what_went_with_it(tmp_path):
    run = write_run(tmp_path)
    put_away(run, with_files=True)
    assert erase(tmp_path, run.name) > 0
    assert list(in_trash(tmp_path)) == []
    assert list(tmp_path.rglob("*.safetensors")) == []


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
def test_only_runs_come_back_or_go_for_good(tmp_path, name):
    for act in (bring_back, erase):
        with pytest.raises(RunError, match="no run"):
            act(tmp_path, name)
