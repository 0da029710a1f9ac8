"""A run's page as HTML, and what a poll costs."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kohya_gui.app import make_desk
from kohya_gui.jobs.monitor import RunView
from kohya_gui.settings import ServerOptions, Settings
from kohya_gui.tabs.run import PIECES, Watcher
from kohya_gui.tabs.run_parts import charts, files, gallery, header, log_text, verdict
from kohya_gui.tabs.runs import runs_table
from tests.kohya_gui.small_runs import append_steps, write_run


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    """The handlers of the page, over runs in a folder of their own."""
    return Watcher(make_desk(Settings(runs_dir=tmp_path, output_dir=tmp_path / "out", allowed_roots=(tmp_path,)), ServerOptions()))


def is_sent(value: object) -> bool:
    """Whether a poll's answer is text for a piece of the page."""
    return isinstance(value, str) and bool(value)


def test_the_header_says_state_step_and_numbers(tmp_path: Path) -> None:
    text = header(RunView(write_run(tmp_path)).refresh(), now=0)
    for words in ("finished", ">20</b> of 40 steps", "epoch 1 of 2", "50 %", "2 it/s", "0.0001"):
        assert words in text


def test_a_failed_run_opens_with_reason_and_the_end_of_the_log(tmp_path: Path) -> None:
    text = verdict(RunView(write_run(tmp_path, state="failed", reason="The card is full.")).refresh())
    assert "The card is full." in text
    assert "steps 3/40" in text


def test_nothing_that_a_trainer_writes_becomes_markup(tmp_path: Path) -> None:
    view = RunView(write_run(tmp_path, state="failed", reason="<script>x</script>")).refresh()
    text = verdict(view) + gallery(view, root_path="") + files(view, root_path="")
    assert "<script>" not in text
    assert "<b>a cat" not in text


def test_finished_files_have_a_download_and_words_on_their_use(tmp_path: Path) -> None:
    text = files(RunView(write_run(tmp_path)).refresh(), root_path="/studio")
    assert 'href="/studio/file?run=' in text
    assert "&lt;lora:cat:1&gt;" in text


def test_charts_are_readable_as_text(tmp_path: Path) -> None:
    assert "Loss by step: " in charts(RunView(write_run(tmp_path)).refresh())


def test_a_progress_line_stands_once() -> None:
    assert log_text("a\nsteps 1/9\rsteps 2/9\rsteps 3/9\r\nb\n") == "a\nsteps 3/9\nb\n"


def test_a_poll_without_news_sends_nothing(watcher: Watcher, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    seen = watcher.poll(run.name, {})[0]
    again = watcher.poll(run.name, seen)
    assert not [value for value in again[1:] if is_sent(value)]


def test_a_poll_of_a_long_run_sends_a_few_kilobytes(watcher: Watcher, tmp_path: Path) -> None:
    run = write_run(tmp_path, steps=10_000, total=20_000)
    watcher.desk.views._fresh_s = 0.0
    seen = watcher.poll(run.name, {})[0]
    append_steps(run, 10_000, 10_002, 20_000)
    answer = watcher.poll(run.name, seen)
    sent = "".join(value for value in answer[1:] if is_sent(value))
    assert "10,002" in sent
    assert len(gzip.compress(sent.encode(), 5)) < 6_000


def test_a_new_viewer_gets_the_end_of_the_log_and_then_only_what_is_new(watcher: Watcher, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    first = watcher.poll(run.name, {})
    with (run / "log.txt").open("a") as file:
        file.write("one more line\n")
    second = watcher.poll(run.name, first[0])[1 + len(PIECES)]
    assert "steps 3/40" in first[1 + len(PIECES)]
    assert "one more line" in second
    assert "steps 3/40" not in second


@pytest.mark.parametrize("run_id", ["", "none", "..", "../x", "/etc", "a/b"])
def test_a_run_that_is_none_is_told(watcher: Watcher, run_id: str) -> None:
    assert "There is no run" in watcher.poll(run_id, {})[1]


def test_the_list_shows_runs_newest_first_and_what_will_be_there(watcher: Watcher, tmp_path: Path) -> None:
    assert "No runs yet" in runs_table(watcher.desk)
    write_run(tmp_path, name="old")
    write_run(tmp_path, name="new", state="stopped")
    text = runs_table(watcher.desk)
    assert "stopped" in text
    assert text.count("<tr>") == 3
