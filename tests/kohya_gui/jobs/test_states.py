"""The table of states and the file that holds one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from kohya_gui.jobs.locks import Held, locked
from kohya_gui.jobs.states import ALLOWED, Mark, Status, move, read_recorded, write_status, write_whole


def test_every_state_can_be_reached_from_queued():
    reached, frontier = {"queued"}, ["queued"]
    while frontier:
        fresh = set(ALLOWED[frontier.pop()]) - reached
        reached |= fresh
        frontier += fresh
    assert reached == set(ALLOWED)


def test_an_illegal_move_is_a_bug():
    with pytest.raises(AssertionError, match="finished -> running"):
        move(Status("finished"), "running")


def test_a_status_survives_its_file(tmp_path):
    status = Status("running", "why", "what", 3, 1.5, 2.5, None, Mark(1, 2.0), Mark(3, 4.0), 2, 100, 200)
    write_status(tmp_path, status)
    assert read_recorded(tmp_path) == status


def test_facts_of_a_newer_version_do_not_disturb(tmp_path):
    (tmp_path / "status.json").write_text(json.dumps({"state": "running", "colour": "blue"}))
    assert read_recorded(tmp_path) == Status("running")


def test_a_pid_that_was_given_out_again_is_not_the_same_process():
    mine = Mark.of(os.getpid())
    assert mine.alive
    assert not Mark(mine.pid, mine.started - 3600).alive


def test_a_process_that_ended_but_was_not_waited_for_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = Mark.of(process.pid)
    assert mark.alive
    process.stdin.close()
    process.wait()
    assert not mark.alive


def test_a_reader_never_sees_half_a_file(tmp_path):
    path, texts, seen = tmp_path / "status.json", ["a" * 50_000, "b" * 90_000], set()
    write_whole(path, texts[0])
    writer = threading.Thread(target=lambda: [write_whole(path, text) for _ in range(20) for text in texts])
    writer.start()
    while writer.is_alive():
        seen.add(path.read_text())
    assert seen <= set(texts)


def test_a_private_file_is_its_owners_alone(tmp_path):
    write_whole(tmp_path / "secret", "x", private=True)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_lock_is_refused_while_held_and_free_afterwards(tmp_path):
    path = tmp_path / "lock"
    with locked(path, note="me"):
        assert path.read_text() == "me"
        with pytest.raises(Held), locked(path):
            pass
    with locked(path):
        pass
