"""The supervisor with real processes: every way in which a run can end, told truly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kohya_gui.jobs.adoption import adopt, spawn_supervisor
from kohya_gui.jobs.process import supervise
from kohya_gui.jobs.promise import Promised
from kohya_gui.jobs.runs import active_run, create_run, read_run, read_status
from kohya_gui.jobs.states import read_recorded, write_whole
from kohya_gui.jobs.tree import living
from tests.kohya_gui.jobs.small_programs import DIES, FOREVER, LAUNCHES, OBEYS, PROGRAM, ask_to_stop, in_state, state, wait_until


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes run folders of small Python programs, and checks at the end that none of their processes is left."""
    made: list[Path] = []

    def make(program: str, *, runs_dir: Path = tmp_path / "runs", child: str = "", promised: tuple[Promised, ...] = ()) -> Path:
        run = create_run(runs_dir, argv=[sys.executable, "-c", PROGRAM + program], environment={"CHILD": PROGRAM + child}, promised=promised)
        made.append(run)
        return run

    yield make
    left = [process for run in made for process in living(read_run(run)["id"])]
    for process in left:
        process.kill()
    assert left == []


def test_a_trainer_killed_from_outside_is_failed_and_says_so(make):
    run = make(DIES)
    status = supervise(run)
    assert (status.state, status.exit_code) == ("failed", -9)
    assert "killed by signal 9" in status.reason
    assert "step 1" in (run / "log.txt").read_text("utf-8")


def test_the_trainers_own_word_counts_not_the_exit_status(make):
    status = supervise(make("tell('error', code='memory', text='Out of memory at 24 GB.', fix='Lower it.', exit_code=4, step=3); sys.exit(1)"))
    assert (status.state, status.exit_code, status.reason, status.fix) == ("failed", 4, "Out of memory at 24 GB.", "Lower it.")


def test_an_exit_without_a_word_is_failed_even_with_status_zero(make):
    status = supervise(make("pass"))
    assert (status.state, status.exit_code) == ("failed", 1)
    assert "without saying that it was done" in status.reason


def test_a_command_that_does_not_exist_is_failed_with_its_name(tmp_path):
    status = supervise(create_run(tmp_path, argv=["/no/such/launcher"]))
    assert status.state == "failed"
    assert "/no/such/launcher" in status.reason


def save_program(path: Path, *, finite: bool = True, cut: int = 0) -> str:
    return f"""
import hashlib
header = b'{{"w":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}'
data = len(header).to_bytes(8, 'little') + header + b'12345678'
path = pathlib.Path({str(path)!r})
path.write_bytes(data)
facts = dict(bytes=len(data), tensors=1, sha256=hashlib.sha256(data).hexdigest(), finite={finite})
tell('save', path=str(path), what='weights', step=4, epoch=1, final=True, **facts)
if {cut}: path.write_bytes(data[:-{cut}])
tell('done', exit_code=0, reason='trained 4 steps', step=4)
"""


def test_finished_means_that_the_promised_file_is_what_was_written(make, tmp_path):
    path = tmp_path / "cat.safetensors"
    status = supervise(make(save_program(path), promised=(Promised(str(path), "weights"),)))
    assert (status.state, status.exit_code, status.reason) == ("finished", 0, "Trained 4 steps.")


@pytest.mark.parametrize(("program", "reason"), [({"cut": 3}, "bytes"), ({"finite": False}, "NaN")])
def test_a_damaged_file_makes_a_done_run_failed(make, tmp_path, program, reason):
    path = tmp_path / "cat.safetensors"
    status = supervise(make(save_program(path, **program)))
    assert status.state == "failed"
    assert reason in status.reason


def test_a_promised_file_that_is_missing_makes_a_done_run_failed(make, tmp_path):
    promised = (Promised(str(tmp_path / "absent.safetensors"), "weights"),)
    status = supervise(make("tell('done', exit_code=0, reason='', step=4)", promised=promised))
    assert status.state == "failed"
    assert "absent.safetensors is missing" in status.reason


def test_a_soft_stop_lets_the_trainer_save(make):
    run = make(OBEYS)
    spawn_supervisor(run)
    in_state(run, "running")
    ask_to_stop(run)
    in_state(run, "stopped")
    status = read_status(run)
    assert (status.exit_code, status.reason) == (3, "Stopped on request.")


def test_a_trainer_that_does_not_listen_is_ended_after_the_grace(make):
    run = make(FOREVER)
    spawn_supervisor(run)
    in_state(run, "running")
    ask_to_stop(run, grace_s=0.2)
    in_state(run, "stopped")
    assert read_status(run).exit_code == 3


def test_a_hard_stop_ends_ranks_in_sessions_of_their_own(make):
    run = make(LAUNCHES, child=FOREVER)
    spawn_supervisor(run)
    wait_until(lambda: len(living(read_run(run)["id"])) == 2, "both processes")
    ask_to_stop(run, hard=True)
    in_state(run, "stopped")
    assert living(read_run(run)["id"]) == []


def test_when_the_launcher_is_killed_the_trainers_remains_are_ended(make):
    run = make(LAUNCHES, child=FOREVER)
    spawn_supervisor(run)
    wait_until(lambda: len(living(read_run(run)["id"])) == 2, "both processes")
    os.kill(read_status(run).launcher.pid, signal.SIGKILL)
    in_state(run, "interrupted")
    assert "signal 9" in read_status(run).reason
    assert living(read_run(run)["id"]) == []


def test_a_trainer_without_its_supervisor_is_adopted_and_ends_well(make):
    run = make(OBEYS)
    first = spawn_supervisor(run).supervisor
    in_state(run, "running")
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: read_status(run).unsupervised, "the loss to be seen")
    assert state(run) == "running"
    second = adopt(run).supervisor
    assert second != first
    ask_to_stop(run)
    in_state(run, "stopped")


def test_a_run_that_ended_while_nobody_watched_is_settled_by_its_own_word(make):
    run = make("tell('phase', phase='training', done=0, total=0); wait_for_stop(); tell('done', exit_code=0, reason='done', step=9)")
    supervisor = spawn_supervisor(run).supervisor
    in_state(run, "running")
    os.kill(supervisor.pid, signal.SIGKILL)
    (run / "control" / "stop").touch()
    in_state(run, "finished")
    adopt(run)
    wait_until(lambda: read_recorded(run).state == "finished", "status.json to say it")


def test_everything_killed_at_once_is_interrupted_and_resumable(make):
    run = make(FOREVER)
    supervisor = spawn_supervisor(run).supervisor
    in_state(run, "running")
    os.kill(supervisor.pid, signal.SIGKILL)
    os.kill(read_status(run).launcher.pid, signal.SIGKILL)
    in_state(run, "interrupted")
    assert read_status(run).is_resumable


def test_the_run_lives_on_when_its_starter_is_killed(make, tmp_path):
    run = make(OBEYS)
    program = f"import pathlib; from kohya_gui.jobs.adoption import spawn_supervisor; spawn_supervisor(pathlib.Path({str(run)!r})); input()"
    starter = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    in_state(run, "running")
    starter.kill()
    starter.communicate()
    ask_to_stop(run)
    in_state(run, "stopped")


def test_a_second_run_beside_a_living_one_is_refused_with_its_name(make):
    first, second = make(FOREVER), make(FOREVER)
    spawn_supervisor(first)
    in_state(first, "running")
    assert active_run(first.parent).path == first
    refused = supervise(second)
    assert refused.state == "failed"
    assert first.name in refused.reason
    ask_to_stop(first, hard=True)
    in_state(first, "stopped")


def test_two_supervisors_never_have_the_same_run(make):
    run = make(OBEYS)
    spawn_supervisor(run)
    in_state(run, "running")
    other = subprocess.run([sys.executable, "-m", "kohya_gui.jobs.process", str(run)], capture_output=True, text=True, check=False)
    assert (other.returncode, "has a supervisor already" in other.stderr) == (1, True)
    ask_to_stop(run)
    in_state(run, "stopped")


@pytest.mark.parametrize("victim", ["supervisor", "launcher", "trainer", "all"])
@pytest.mark.parametrize("moment", [0.0, 0.15, 0.4])
def test_whoever_is_killed_whenever_the_state_is_true_and_nothing_is_left(make, victim, moment):
    run = make(LAUNCHES, child=FOREVER)
    spawn_supervisor(run)
    threading.Event().wait(moment)
    for pid in victims(run, victim):
        kill(pid)
    adopt(run)
    if victim == "supervisor":
        assert read_status(run).is_active
        ask_to_stop(run, hard=True)
    in_state(run, "stopped" if victim == "supervisor" else "failed", "interrupted", "stopped")
    adopt(run)
    wait_until(lambda: not read_recorded(run).is_active, "status.json to be settled")
    wait_until(lambda: not living(read_run(run)["id"]), "the processes to be gone")


def victims(run: Path, victim: str) -> list[int]:
    status = read_status(run)
    wait_until(lambda: read_recorded(run).launcher is not None, "a launcher")
    launcher = read_recorded(run).launcher.pid
    trainers = [process.pid for process in living(read_run(run)["id"]) if process.pid != launcher]
    return {
        "supervisor": [status.supervisor.pid],
        "launcher": [launcher],
        "trainer": trainers or [launcher],
        "all": [status.supervisor.pid, launcher, *trainers],
    }[victim]


def kill(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        process.kill()
        process.wait(5)
    except psutil.NoSuchProcess:
        return


@pytest.mark.parametrize("name", ["with spaces", 'it\'s "quoted"', "Füße", "猫の訓練", "a & b; $(c) %d"])
def test_paths_of_any_letters_work(make, tmp_path, name):
    run = make("print('läuft 猫', flush=True); tell('done', exit_code=0, reason='ok', step=1)", runs_dir=tmp_path / name)
    assert spawn_supervisor(run).supervisor is not None
    in_state(run, "finished")
    assert "läuft 猫" in (run / "log.txt").read_text("utf-8")


def test_a_resumed_attempt_is_not_judged_by_the_first_ones_word(make):
    run = make("tell('phase', phase='training', done=0, total=0); wait_for_stop(); tell('done', exit_code=3, reason='paused', step=2)")
    spawn_supervisor(run)
    in_state(run, "running")
    ask_to_stop(run)
    in_state(run, "paused")
    record = {**read_run(run), "argv": [sys.executable, "-c", PROGRAM + DIES]}
    write_whole(run / "run.json", json.dumps(record))
    write_whole(run / "status.json", json.dumps({**json.loads((run / "status.json").read_text()), "state": "queued"}))
    status = supervise(run)
    assert (status.state, status.exit_code, status.attempt) == ("failed", -9, 2)
