"""A run's page as HTML, what its buttons do, and what a poll costs."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kohya_gui.app import make_desk
from kohya_gui.jobs.keeping import copy_kept, keep
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.notes import read_note, write_note
from kohya_gui.settings import ServerOptions, Settings
from kohya_gui.tabs.run_actions import PIECES, RunActions
from kohya_gui.tabs.run_charts import charts, curve_table
from kohya_gui.tabs.run_files import files, how_to_use, result
from kohya_gui.tabs.run_parts import header, log_text, speed, verdict
from kohya_gui.tabs.run_pictures import gallery, grid
from kohya_gui.tabs.run_timeline import timeline
from sd_scripts.errors import RunError
from sd_scripts.params.commands import COMMANDS
from tests.kohya_gui.small_runs import append_steps, append_validation, write_run


@pytest.fixture
def actions(tmp_path: Path) -> RunActions:
    """What answers the page, over runs in a folder of their own, read anew at each question."""
    desk = make_desk(Settings(runs_dir=tmp_path, output_dir=tmp_path / "out", allowed_roots=(tmp_path,)), ServerOptions())
    desk.views._fresh_s = 0.0
    return RunActions(desk)


def seen_of(answer: dict[str, Any]) -> dict[str, str]:
    """The digests that a page remembers."""
    return {name: digest for name, (digest, _) in answer["pieces"].items()}


def test_the_header_says_state_step_and_numbers(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    write_note(run, title="My cat", text="too <dark>", tags="good")
    text = header(RunView(run).refresh(), now=0)
    for words in (
        "finished",
        "20</b> of 40 steps",
        "epoch 1 of 2",
        "50 %",
        "2 it/s",
        "0.0001",
        "My cat",
        "too &lt;dark&gt;",
        ">good<",
        "LoRA · Stable",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"sample_steps": [10, 21, 30]}, "next sample in 1 step"),
        ({"sample_epochs": [1, 2], "steps_per_epoch": 20}, "next sample in 20 steps"),
    ],
)
def test_a_running_training_says_when_it_draws_next(tmp_path: Path, plan: dict[str, Any], words: str) -> None:
    view = RunView(write_run(tmp_path)).refresh()
    view.plan = plan
    assert "next sample" not in header(view, now=0)
    view.status = replace(view.status, state="running")
    assert words in header(view, now=0)


@pytest.mark.parametrize(("it_s", "words"), [(None, "–"), (2.5, "2.5 it/s"), (0.1, "10 s/step")])
def test_speed_is_told_by_the_larger_number(it_s: float | None, words: str) -> None:
    assert speed(it_s) == words


def test_a_failed_run_opens_with_reason_report_and_the_end_of_the_log(tmp_path: Path) -> None:
    text = verdict(RunView(write_run(tmp_path, state="failed", reason="The card is full.")).refresh(), root_path="/studio")
    for words in ("The card is full.", "steps 3/40", 'href="/studio/report?run=', "data-again"):
        assert words in text


def test_nothing_that_a_trainer_or_a_person_writes_becomes_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path, name="<i>cat", state="failed", reason="<script>x</script>", saves=(10,))
    write_note(run, title="<u>cat", text="<u>note", tags="<u>tag")
    view = RunView(run).refresh()
    text = verdict(view) + header(view, 0) + "".join(make(view, root_path="") for make in (gallery, grid, files, result)) + timeline(view, 0)
    for markup in ("<script>", "<b>a cat", "<i>cat", "<u>"):
        assert markup not in text


def test_a_finished_run_opens_with_its_file_and_the_last_pictures(tmp_path: Path) -> None:
    view = RunView(write_run(tmp_path, samples={10: 2, 20: 2})).refresh()
    text = result(view, root_path="/studio")
    for words in ("Your file is ready", "cat.safetensors", "/studio/file?run=", "step 20", "&lt;lora:cat:1&gt;", "Train again"):
        assert words in text
    assert text.count("<img") == 2


def test_a_run_that_goes_on_opens_without_a_file(tmp_path: Path) -> None:
    assert result(RunView(write_run(tmp_path, state="stopped")).refresh(), root_path="") == ""


def test_the_kept_file_is_shown_first_in_place_of_the_finished_one(tmp_path: Path) -> None:
    view = RunView(write_run(tmp_path, saves=(10,))).refresh()
    keep(view, str(tmp_path / "cat-step00000010.safetensors"))
    assert "cat-step00000010.safetensors" in result(view, root_path="")
    text = files(view, root_path="")
    assert text.index("cat-step00000010.safetensors") < text.index("cat.safetensors")
    assert "Copy as cat-kept.safetensors" in text
    copy_kept(view)
    text = files(view, root_path="")
    assert "Copy as" not in text
    assert "copy of the kept file" in text


def test_a_file_that_is_gone_offers_no_download(tmp_path: Path) -> None:
    view = RunView(write_run(tmp_path)).refresh()
    (tmp_path / "cat.safetensors").unlink()
    for text in (files(view, root_path=""), result(view, root_path=""), grid(view, root_path="")):
        assert "not there any more" in text
        assert "download=1" not in text


@pytest.mark.parametrize("row", [row for row in COMMANDS if row.kind == "train"], ids=lambda row: row.script)
def test_every_kind_of_file_has_words_on_its_use(row) -> None:
    text = how_to_use(row.script, f"/out/cat.{'pt' if row.method == 'embedding' else 'safetensors'}")
    assert text is not None
    folders = {"adapter": "models/loras", "embedding": "models/embeddings"}
    assert folders.get(row.method, "models/checkpoints") in text


def test_the_grid_has_a_column_per_checkpoint_and_a_row_per_prompt(tmp_path: Path) -> None:
    run = write_run(tmp_path, saves=(10, 20), samples={10: 2, 18: 1})
    append_validation(run, {10: 0.2, 20: 0.1})
    text = grid(RunView(run).refresh(), root_path="")
    assert text.count("data-keep=") == 2
    assert text.count("<img") == 3
    for words in ("lowest validation loss", "validation 0.1000", "not drawn", "also saved as cat-step00000020.safetensors", ">step 18<"):
        assert words in text


def test_curves_are_readable_as_text(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    append_validation(run, {10: 0.2, 20: 0.1})
    view = RunView(run).refresh()
    assert "Loss by step: " in charts(view)
    assert "Lowest validation loss: 0.1000 at step 20." in charts(view)
    assert "0.2000" in curve_table(view)


def test_the_timeline_tells_what_happened(tmp_path: Path) -> None:
    text = timeline(RunView(write_run(tmp_path, samples={10: 2})).refresh(), now=0)
    for words in ("2 samples drawn at step 10", "Saved cat.safetensors at step 20", "Put into the queue"):
        assert words in text


def test_a_progress_line_stands_once() -> None:
    assert log_text("a\nsteps 1/9\rsteps 2/9\rsteps 3/9\r\nb\n") == "a\nsteps 3/9\nb\n"


def test_a_poll_without_news_sends_nothing(actions: RunActions, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    first = actions.look({"id": run.name})
    assert set(first["pieces"]) == set(PIECES)
    again = actions.look({"id": run.name, "seen": seen_of(first), "log": first["log"]["at"]})
    assert again["pieces"] == {}
    assert "log" not in again


def test_a_poll_of_a_long_run_sends_a_few_kilobytes(actions: RunActions, tmp_path: Path) -> None:
    run = write_run(tmp_path, steps=10_000, total=20_000)
    wanted = ["header", "verdict", "result", "charts", "gallery"]
    seen = seen_of(actions.look({"id": run.name, "wanted": wanted}))
    append_steps(run, 10_000, 10_002, 20_000)
    sent = "".join(html for _, html in actions.look({"id": run.name, "wanted": wanted, "seen": seen})["pieces"].values())
    assert "10,002" in sent
    assert len(gzip.compress(sent.encode(), 5)) < 6_000


def test_a_new_viewer_gets_the_end_of_the_log_and_then_only_what_is_new(actions: RunActions, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    first = actions.look({"id": run.name})["log"]
    with (run / "log.txt").open("a") as file:
        file.write("one more line\n")
    second = actions.look({"id": run.name, "log": first["at"]})["log"]
    assert first["fresh"]
    assert "steps 3/40" in first["text"]
    assert (second["text"], second["fresh"]) == ("one more line\n", False)


def test_keeping_is_taken_back_by_the_same_button(actions: RunActions, tmp_path: Path) -> None:
    run, path = write_run(tmp_path), str(tmp_path / "cat.safetensors")
    assert "cat.safetensors is kept" in actions.keep(run.name, path)["told"]
    assert read_note(run).kept == path
    assert "no longer marked" in actions.keep(run.name, path)["told"]
    assert read_note(run).kept == ""


def test_only_known_buttons_do_something(actions: RunActions, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    with pytest.raises(RunError, match="no button"):
        actions.act(run.name, "explode")
    with pytest.raises(RunError, match="nothing to stop"):
        actions.act(run.name, "stop")


@pytest.mark.parametrize("run_id", ["", "none", "..", "../x", "/etc", "a/b"])
def test_a_run_that_is_none_is_told(actions: RunActions, run_id: str) -> None:
    assert "There is no run" in actions.look({"id": run_id})["none"]
