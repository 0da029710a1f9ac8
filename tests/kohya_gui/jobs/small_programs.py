"""Small programs in the place of trainers, and waiting for what they do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from kohya_gui.jobs.runs import read_status
from kohya_gui.jobs.states import write_whole

PROGRAM = """
import json, os, pathlib, signal, subprocess, sys, time
run = pathlib.Path(os.environ["STUDIO_RUN_DIR"])
def tell(kind, **fields):
    with open(run / "events.jsonl", "a") as file:
        file.write(json.dumps({"t": time.time(), "kind": kind, **fields}) + "\\n")
def wait_for_stop():
    while not (run / "control" / "stop").exists():
        time.sleep(0.01)
"""
DIES = "print('step 1', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
FOREVER = "tell('phase', phase='training', done=0, total=0); print('up', flush=True)\nwhile True: time.sleep(0.05)"
OBEYS = "tell('phase', phase='training', done=0, total=0); wait_for_stop(); tell('done', exit_code=3, reason='stopped on request', step=7)"
LAUNCHES = "print('launcher', flush=True); sys.exit(subprocess.Popen([sys.executable, '-c', os.environ['CHILD']], start_new_session=True).wait())"


def wait_until(condition: Callable[[], object], what: str, limit_s: float = 15) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit_s} s for {what}"
        time.sleep(0.01)


def ask_to_stop(run: Path, *, hard: bool = False, grace_s: float = 60) -> None:
    write_whole(run / "control" / "stop", json.dumps({"t": time.time()}))
    write_whole(run / "stop.json", json.dumps({"t": time.time(), "hard": hard, "grace_s": grace_s}))


def state(run: Path) -> str:
    return read_status(run).state


def in_state(run: Path, *states: str) -> None:
    wait_until(lambda: state(run) in states, f"{run.name} to be {states}, it is {read_status(run)}")
