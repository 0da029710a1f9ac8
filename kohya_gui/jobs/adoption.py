"""Starting supervisors: for a run that is queued, and for one whose supervisor died. A run without a supervisor is found by whoever looks next."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from kohya_gui.jobs.runs import list_runs, read_status
from kohya_gui.jobs.states import Status, read_recorded
from sd_scripts.errors import RunError

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds both packages and the scripts."""
SUPERVISOR_LOG = "supervisor.log"
_TAKEOVER_S = 30.0


def spawn_supervisor(run: Path, *, secrets: Mapping[str, str] | None = None) -> Status:
    """Start a supervisor for `run`, wait until it has taken the run over, and return the status then.

    Args:
        run: an absolute run folder, queued or unsupervised.
        secrets: environment variables for the processes that stand in no file of the run.

    Raises:
        RunError: it could not be started, or ended without writing anything down.
    """
    before = read_recorded(run)
    process = _spawn(run, secrets or {})
    deadline = time.monotonic() + _TAKEOVER_S
    while time.monotonic() < deadline:
        status = read_recorded(run)
        if status.supervisor != before.supervisor or status.state != before.state:
            return read_status(run)
        if process.poll() is not None:
            status = read_status(run)
            if status.state == "queued":
                raise RunError(f"The supervisor of {run.name} ended at once: {_last_words(run)}.", fix="Run setup.py again.")
            return status
        time.sleep(0.02)
    raise RunError(f"The supervisor of {run.name} did not answer within {_TAKEOVER_S:.0f} seconds.", fix=f"Look into {run / SUPERVISOR_LOG}.")


def adopt(run: Path) -> Status:
    """The run's true status, after giving it a new supervisor if its own one died.

    Raises:
        RunError: the folder is no run folder, or no supervisor can be started.
    """
    status = read_status(run)
    return spawn_supervisor(run) if status.unsupervised else status


def adopt_all(runs_dir: Path) -> list[Path]:
    """Give every run that lost its supervisor a new one; return those runs. For the start of whatever looks at runs."""
    lost = [summary.path for summary in list_runs(runs_dir) if summary.status.unsupervised]
    for run in lost:
        adopt(run)
    return lost


def _spawn(run: Path, secrets: Mapping[str, str]) -> subprocess.Popen[bytes]:
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, **secrets, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    with (run / SUPERVISOR_LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kohya_gui.jobs.process", str(run)],
            cwd=run,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True, name=f"reaper of {run.name}").start()
    return process


def _last_words(run: Path) -> str:
    lines = (run / SUPERVISOR_LOG).read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else "it said nothing"
