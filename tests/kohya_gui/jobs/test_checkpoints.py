"""Checkpoints with what is known of each, and the one that a person keeps."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kohya_gui.jobs.checkpoints import checkpoints, condition
from kohya_gui.jobs.keeping import copy_kept, keep, release
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.notes import read_note
from sd_scripts.errors import RunError
from tests.kohya_gui.small_runs import append_event, append_validation, write_run


def view_of(folder: Path, **facts: object) -> RunView:
    """A run with checkpoints after steps 10, 20 (twice: the last one is the finished file too)."""
    return RunView(write_run(folder, saves=(10, 20), **facts)).refresh()  # type: ignore[arg-type]


def names(paths: list[str]) -> list[str]:
    return [Path(path).name for path in paths]


def test_a_column_per_step_the_finished_file_first(tmp_path):
    found = checkpoints(view_of(tmp_path))
    assert [checkpoint.step for checkpoint in found] == [10, 20]
    assert names([file.path for file in found[1].files]) == ["cat.safetensors", "cat-step00000020.safetensors"]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ({10: 2, 20: 2}, [{0: 10, 1: 10}, {0: 20, 1: 20}]),
        ({8: 1, 9: 1, 15: 1}, [{0: 9}, {0: 15}]),
        ({0: 1, 20: 1}, [{}, {0: 20}]),
        ({10: 1}, [{0: 10}, {}]),
        ({10: 1, 30: 1}, [{0: 10}, {}]),
    ],
)
def test_a_picture_stands_for_the_next_checkpoint_alone(tmp_path, drawn, expected):
    found = checkpoints(view_of(tmp_path, samples=drawn))
    assert [{index: sample.step for index, sample in checkpoint.samples.items()} for checkpoint in found] == expected


def test_the_best_has_the_lowest_validation_loss(tmp_path):
    run = write_run(tmp_path, saves=(10, 20))
    append_validation(run, {5: 0.1, 9: 0.3, 20: 0.4})
    found = checkpoints(RunView(run).refresh())
    assert [(checkpoint.validation.step, checkpoint.best) for checkpoint in found if checkpoint.validation] == [(9, True), (20, False)]


def test_one_measurement_is_no_best(tmp_path):
    run = write_run(tmp_path, saves=(10,))
    append_validation(run, {10: 0.1})
    assert not any(checkpoint.best for checkpoint in checkpoints(RunView(run).refresh()))


def test_a_pruned_checkpoint_is_no_column(tmp_path):
    view = view_of(tmp_path)
    append_event(view.run, "removed", path=str(tmp_path / "cat-step00000010.safetensors"))
    assert [checkpoint.step for checkpoint in checkpoints(view.refresh())] == [20]


def test_a_file_is_there_missing_or_another_one(tmp_path):
    view = view_of(tmp_path)
    file = tmp_path / "cat.safetensors"
    save = view.saves[str(file)]
    later = time.time() + 100
    assert condition(view, save) == "there"
    os.utime(file, (later, later))
    assert condition(view, save) == "there"  # copied back: its hash says so
    file.write_text("X" * save.bytes)
    os.utime(file, (later + 1, later + 1))
    assert condition(view, save) == "changed"
    file.write_text("short")
    assert condition(view, save) == "changed"
    file.unlink()
    assert condition(view, save) == "missing"


def test_the_kept_file_stands_for_its_column(tmp_path):
    view = view_of(tmp_path)
    path = str(tmp_path / "cat-step00000020.safetensors")
    assert keep(view, path).kept == path
    first, second = checkpoints(view, path)
    assert (first.kept, second.kept) == (False, True)
    assert names([file.path for file in second.files]) == ["cat-step00000020.safetensors", "cat.safetensors"]
    assert release(view).kept == ""


@pytest.mark.parametrize("path", ["", "/etc/passwd", "cat.safetensors"])
def test_only_a_file_of_the_run_is_kept(tmp_path, path):
    view = view_of(tmp_path)
    with pytest.raises(RunError, match="no such file"):
        keep(view, path)


def test_a_file_that_is_gone_is_not_kept(tmp_path):
    view = view_of(tmp_path)
    (tmp_path / "cat.safetensors").unlink()
    with pytest.raises(RunError, match="not what this run saved"):
        keep(view, str(tmp_path / "cat.safetensors"))
    assert read_note(view.run).kept == ""


def test_a_copy_replaces_nothing_and_is_made_once(tmp_path):
    view = view_of(tmp_path)
    keep(view, str(tmp_path / "cat-step00000010.safetensors"))
    other = tmp_path / "cat-kept.safetensors"
    other.write_text("of somebody else")
    copy = copy_kept(view)
    assert (copy.name, copy.read_text()) == ("cat-kept-2.safetensors", "cat-step00000010.safetensors")
    assert copy_kept(view) == copy
    assert other.read_text() == "of somebody else"
    assert read_note(view.run).copy == str(copy)
    assert not list(tmp_path.glob(".*"))


def test_without_a_chosen_file_there_is_nothing_to_copy(tmp_path):
    with pytest.raises(RunError, match="no chosen file"):
        copy_kept(view_of(tmp_path))
