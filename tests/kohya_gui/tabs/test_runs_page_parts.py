"""The list of runs, the trash, and runs side by side, as HTML and as answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_gui.app import make_desk
from kohya_gui.jobs.keeping import keep
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.notes import read_note, write_note
from kohya_gui.jobs.runs import list_runs
from kohya_gui.settings import ServerOptions, Settings
from kohya_gui.tabs.compare import comparison
from kohya_gui.tabs.desk import LOCAL_USER
from kohya_gui.tabs.runs import runs_table
from kohya_gui.tabs.runs_actions import RunsActions
from sd_scripts.errors import RunError
from tests.kohya_gui.small_runs import append_validation, write_run


@pytest.fixture
def actions(tmp_path: Path) -> RunsActions:
    """What answers the page, over runs in a folder of their own."""
    return RunsActions(make_desk(Settings(runs_dir=tmp_path, output_dir=tmp_path / "out", allowed_roots=(tmp_path,)), ServerOptions()))


def rows(actions: RunsActions, words: str = "", state: str = "") -> int:
    """How many runs fit."""
    return runs_table(actions.desk, words=words, state=state)[0].count("<tr data-id")


def test_the_list_shows_runs_newest_first_and_what_will_be_there(actions: RunsActions, tmp_path: Path) -> None:
    assert "No runs yet" in runs_table(actions.desk)[0]
    write_run(tmp_path, name="old")
    write_run(tmp_path, name="new", state="stopped")
    text, count = runs_table(actions.desk)
    assert count == 2
    assert text.index(">new<") < text.index(">old<")
    for words in ("stopped", "finished", "20 / 40", 'class="spark"', "LoRA · Stable Diffusion"):
        assert words in text


def test_runs_are_found_by_state_words_family_and_what_is_kept(actions: RunsActions, tmp_path: Path) -> None:
    cat, dog = write_run(tmp_path, name="cat"), write_run(tmp_path, name="dog", state="failed")
    write_note(cat, title="", text="too dark", tags="good")
    keep(RunView(dog).refresh(), str(tmp_path / "dog.safetensors"))
    assert rows(actions) == 2
    assert (rows(actions, "dark good"), rows(actions, "stable lora"), rows(actions, "dark dog")) == (1, 2, 0)
    assert (rows(actions, state="failed"), rows(actions, state="kept"), rows(actions, state="paused")) == (1, 1, 0)
    assert "dog.safetensors" in runs_table(actions.desk)[0]
    assert "No run fits" in runs_table(actions.desk, words="nothing")[0]


def test_a_long_list_is_shown_in_parts(actions: RunsActions, tmp_path: Path) -> None:
    for number in range(3):
        write_run(tmp_path, name=f"cat{number}", steps=1)
    text, _ = runs_table(actions.desk, most=2)
    assert text.count("<tr data-id") == 2
    assert "Show 1 older run<" in text


def test_a_list_without_news_sends_nothing(actions: RunsActions, tmp_path: Path) -> None:
    write_run(tmp_path)
    seen = actions.list({})["seen"]
    assert actions.list({"seen": seen}) == {"seen": seen}


def test_a_deletion_says_what_it_moves_before_it_does(actions: RunsActions, tmp_path: Path) -> None:
    run = write_run(tmp_path, saves=(10,))
    keep(RunView(run).refresh(), str(tmp_path / "cat-step00000010.safetensors"))
    words = actions.removal({"ids": [run.name]})["words"]
    for part in ("Delete this run?", "2 files", str(tmp_path), "stays where it is in any case: cat-step00000010.safetensors"):
        assert part in words
    assert list_runs(tmp_path)


def test_runs_go_come_back_and_go_for_good(actions: RunsActions, tmp_path: Path) -> None:
    ids = [write_run(tmp_path, name=name).name for name in ("cat", "dog")]
    assert "2 runs are in the trash" in actions.put_away({"ids": ids})["told"]
    assert "Trash: 2 runs" in actions.list({})["trash"]
    assert (tmp_path / "cat.safetensors").is_file()
    actions.bring_back({"ids": ids[:1]})
    assert [run.id for run in list_runs(tmp_path)] == ids[:1]
    assert "Deleted for good" in actions.erase({"ids": ids[1:]})["told"]
    assert actions.list({})["trash"] == ""


def test_a_run_that_waits_is_not_deleted(actions: RunsActions, tmp_path: Path) -> None:
    run = write_run(tmp_path, state="queued")
    with pytest.raises(RunError, match="Stop it first"):
        actions.removal({"ids": [run.name]})
    assert "Stop it first" in actions.put_away({"ids": [run.name]})["told"]
    assert run.is_dir()


@pytest.mark.parametrize("ids", [None, [], [1], ["../etc"], ["nothing"]])
def test_only_runs_are_deleted(actions: RunsActions, ids: object) -> None:
    with pytest.raises(RunError):
        actions.removal({"ids": ids})


def test_train_again_fills_the_form_and_undo_brings_back_what_it_had(actions: RunsActions, tmp_path: Path) -> None:
    run, drafts = write_run(tmp_path), actions.desk.drafts
    before = drafts.read(LOCAL_USER)
    answer = actions.again({"id": run.name}, LOCAL_USER)
    assert answer["href"] == "/"
    assert "settings of" in answer["said"]
    assert drafts.read(LOCAL_USER).given["network_dim"] == 4
    assert drafts.step(LOCAL_USER, back=True) == before


def test_a_note_that_is_too_long_is_refused(actions: RunsActions, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    actions.keep_note({"id": run.name, "title": "cat", "tags": "a, b", "text": ""})
    with pytest.raises(RunError, match="too long"):
        actions.keep_note({"id": run.name, "title": "x" * 200})
    assert read_note(run).tags == ("a", "b")
    assert actions.note({"id": run.name})["note"] == {"title": "cat", "tags": "a, b", "text": ""}


def test_runs_side_by_side_at_a_step_that_all_drew(actions: RunsActions, tmp_path: Path) -> None:
    left, right = write_run(tmp_path, name="left", samples={10: 1, 15: 1}), write_run(tmp_path, name="right", samples={5: 1, 10: 1})
    append_validation(left, {10: 0.25})
    text = comparison(actions.desk, [left.name, right.name])
    for words in ("Settings that differ", "output_name", "0.2500 at step 10", "step 15, not drawn by all", "as in the first run"):
        assert words in text
    assert '<option value="10" selected>' in text
    assert '<tbody data-step="10">' in text
    assert '<tbody data-step="15" hidden>' in text


def test_comparing_needs_two_runs_that_are_there(actions: RunsActions, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    text = comparison(actions.desk, [run.name, run.name, "gone"])
    assert "Choose two to four runs" in text
    assert "There is no run" in text
