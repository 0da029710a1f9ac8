"""What a run came to, told from records, exit codes and the launcher's own words in the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_gui.jobs.outcome import End, conclude
from kohya_gui.jobs.states import Status

SIMPLE = "subprocess.CalledProcessError: Command '['python', 'x']' died with <Signals.SIGKILL: 9>.\n"
ELASTIC = "Root Cause (first observed failure):\n[0]:\n  rank      : 1 (local_rank: 1)\n  exitcode  : -9 (pid: 31479)\n  traceback : Signal 9\n"
STOPPED = {"kind": "done", "exit_code": 3, "reason": "stopped on request", "step": 7}
OUT_OF_MEMORY = {"kind": "error", "code": "memory", "text": "Out of memory.", "fix": "Lower it.", "exit_code": 4, "step": 7}


def end_of(run: Path, *events: dict[str, object], log: str = "", end: End, status: Status = Status("running")) -> tuple[str, int | None, str]:
    (run / "events.jsonl").write_text("".join(json.dumps({"t": 1, **event}) + "\n" for event in events))
    (run / "log.txt").write_text(log)
    outcome = conclude(run, {"cwd": str(run)}, status, end)
    return outcome.state, outcome.exit_code, outcome.reason


@pytest.mark.parametrize("log", [SIMPLE, ELASTIC])
def test_a_killed_trainer_is_told_by_its_launcher(tmp_path, log):
    state, code, reason = end_of(tmp_path, log=log, end=End(1))
    assert (state, code) == ("failed", -9)
    assert "killed by signal 9 (SIGKILL)" in reason


def test_a_rank_that_was_killed_is_no_stop_on_request(tmp_path):
    state, _, reason = end_of(tmp_path, STOPPED, log=ELASTIC, end=End(1))
    assert (state, "killed by signal 9" in reason) == ("interrupted", True)


def test_a_rank_that_was_killed_is_the_cause_of_the_others_errors(tmp_path):
    worker = {**OUT_OF_MEMORY, "text": "A process that reads pictures died.", "exit_code": 1}
    assert end_of(tmp_path, worker, log=ELASTIC, end=End(1))[:2] == ("failed", -9)


def test_an_error_of_its_own_counts_before_the_signal_that_ended_it(tmp_path):
    assert end_of(tmp_path, OUT_OF_MEMORY, log=ELASTIC.replace("-9", "-6"), end=End(1))[:2] == ("failed", 4)


def test_a_stop_that_was_asked_for_is_one(tmp_path):
    assert end_of(tmp_path, STOPPED, end=End(1, stop_asked=True)) == ("stopped", 3, "Stopped on request.")


def test_another_ranks_error_comes_before_the_stop_that_it_caused(tmp_path):
    (tmp_path / "error-1.json").write_text(json.dumps({key: value for key, value in OUT_OF_MEMORY.items() if key != "kind"}))
    assert end_of(tmp_path, STOPPED, end=End(1)) == ("failed", 4, "Out of memory.")


def test_what_a_trainer_says_while_it_is_ended_after_its_launcher_is_not_the_cause(tmp_path):
    state, _, reason = end_of(tmp_path, {**OUT_OF_MEMORY, "text": "A worker died."}, end=End(-9, remains_ended=True))
    assert (state, reason.startswith("The launcher was killed by signal 9")) == ("interrupted", True)


def test_an_end_that_nobody_saw_is_interrupted(tmp_path):
    assert end_of(tmp_path, end=End())[0] == "interrupted"


def test_the_word_of_an_earlier_attempt_does_not_count(tmp_path):
    size = len(json.dumps({"t": 1, **OUT_OF_MEMORY})) + 1
    assert end_of(tmp_path, OUT_OF_MEMORY, end=End(-15), status=Status("running", events_offset=size))[1] == -15


def test_half_a_last_line_is_no_word(tmp_path):
    (tmp_path / "error-0.json").write_text('{"code": "mem')
    assert end_of(tmp_path, end=End(1))[:2] == ("failed", 1)
