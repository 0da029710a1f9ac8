"""The supervisor: `python -m kohya_gui.jobs.process RUN_DIR` starts a run's launcher, waits for it, and writes what became of it.

It outlives the page and the GUI. Killed itself, it is replaced by another one that adopts what still lives (`adoption`). What to start stands
in run.json; what came of it goes into status.json. Output goes straight into log.txt, so nobody's death can break a pipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from kohya_gui.jobs.locks import TRAINING_LOCK, Held, locked
from kohya_gui.jobs.outcome import End, Outcome, conclude, has_word
from kohya_gui.jobs.runs import LOCK_FILE, STOP_FILE, read_run
from kohya_gui.jobs.states import Mark, Status, move, read_recorded, write_status
from kohya_gui.jobs.tail import EVENTS_FILE, LOG_FILE
from kohya_gui.jobs.tree import end, living
from sd_scripts.errors import RunError, TrainingError
from sd_scripts.params.events import CONTROL_FOLDER, RUN_DIR_VARIABLE, RUN_ID_VARIABLE

STOP_GRACE_S = 300.0
"""How long a soft stop may take: a step to its end, and a save."""
_REMAINS_GRACE_S = 30.0
_TICK_S = 0.2
_LOCK_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class StopRequest:
    """stop.json: since when somebody wants the run to end, and whether at once."""

    t: float
    hard: bool = False
    grace_s: float = STOP_GRACE_S


def supervise(run: Path) -> Status:
    """Bring the run to its end and return the last status: start it if it is queued, adopt it if a dead supervisor left it.

    Raises:
        RunError: the folder is no run folder, or a living supervisor has it.
    """
    run = Path(run).absolute()
    try:
        with locked(run / LOCK_FILE, wait_s=_LOCK_WAIT_S), ExitStack() as stack:
            status = read_recorded(run)
            try:
                stack.enter_context(locked(run.parent / TRAINING_LOCK, wait_s=_LOCK_WAIT_S, note=run.name))
            except Held:
                if status.state == "queued":
                    return _refuse(run, status)
            return Supervisor(run, status).supervise()
    except Held:
        raise RunError(f"{run} has a supervisor already.") from None
    except FileNotFoundError:
        raise RunError(f"{run} is no run folder.") from None


class Supervisor:
    """One run under watch. The caller holds the run's lock."""

    def __init__(self, run: Path, status: Status) -> None:
        self.run, self.status = run, status
        self.record = read_run(run)

    def supervise(self) -> Status:
        """Start or adopt, watch, conclude. A run that has ended already is left as it is."""
        if self.status.state == "queued":
            return self._start()
        if self.status.is_active:
            return self._adopt()
        return self.status

    def _start(self) -> Status:
        self._clear_for_attempt()
        self._write(
            move(
                self.status,
                "starting",
                reason="",
                fix="",
                exit_code=None,
                started=time.time(),
                ended=None,
                supervisor=Mark.of(os.getpid()),
                launcher=None,
                attempt=self.status.attempt + 1,
                events_offset=_size(self.run / EVENTS_FILE),
                log_offset=_size(self.run / LOG_FILE),
            )
        )
        try:
            launcher = self._launch()
        except OSError as failed:
            what = self.record["argv"][0] if self.record["argv"] else "an empty command"
            return self._finish(Outcome("failed", f"{what} could not be started: {failed.strerror or failed}.", "Run setup.py again.", 1))
        self._write(replace(self.status, launcher=Mark.of(launcher.pid)))
        self._watch(lambda: launcher.poll() is not None)
        return self._conclude(launcher.returncode)

    def _adopt(self) -> Status:
        """Watch on in the place of a supervisor that died. A trainer whose launcher is dead as well is ended: half a run is not worth its risk."""
        launcher = self.status.launcher or self._find_launcher()
        self._write(replace(self.status, supervisor=Mark.of(os.getpid()), launcher=launcher))
        if launcher is not None:
            self._watch(lambda: not launcher.alive)
        return self._conclude(None)

    def _clear_for_attempt(self) -> None:
        """Take away what an earlier attempt left: requests, errors of ranks, and half a last line that would swallow the next event."""
        for path in [self.run / STOP_FILE, *self.run.glob("error-*.json"), *(self.run / CONTROL_FOLDER).glob("*")]:
            path.unlink(missing_ok=True)
        events = self.run / EVENTS_FILE
        if events.exists() and events.stat().st_size and not events.read_bytes().endswith(b"\n"):
            with events.open("ab") as file:
                file.write(b"\n")

    def _launch(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO_RUN_")}
        environment |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **self.record["environment"]}
        environment |= {RUN_DIR_VARIABLE: str(self.run), RUN_ID_VARIABLE: self.record["id"]}
        with (self.run / LOG_FILE).open("ab") as log:
            return subprocess.Popen(
                self.record["argv"],
                cwd=self.record["cwd"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _find_launcher(self) -> Mark | None:
        """The topmost living process of a run whose supervisor died before it could write down whom it had started."""
        processes = {process.pid: process for process in living(self.record["id"])}
        for process in processes.values():
            try:
                if process.ppid() not in processes:
                    return Mark.of(process.pid)
            except psutil.NoSuchProcess:
                continue
        return None

    def _watch(self, ended: Callable[[], bool]) -> None:
        while not ended():
            if self.status.state == "starting" and self._gave_signs_of_life():
                self._write(move(self.status, "running"))
            self._serve_stop()
            time.sleep(_TICK_S)

    def _gave_signs_of_life(self) -> bool:
        return _size(self.run / LOG_FILE) > self.status.log_offset or self._listens()

    def _listens(self) -> bool:
        """Whether the trainer is far enough to hear a request: it has written events."""
        return _size(self.run / EVENTS_FILE) > self.status.events_offset

    def _serve_stop(self) -> None:
        request = read_stop(self.run)
        if request is None:
            return
        if self.status.state != "stopping":
            self._write(move(self.status, "stopping"))
        if request.hard or not self._listens() or time.time() > request.t + request.grace_s:
            self._end_processes(grace_s=0)

    def _end_processes(self, *, grace_s: float) -> bool:
        """End every process of the run; return whether there was any."""
        root = self.status.launcher.pid if self.status.launcher is not None and self.status.launcher.alive else None
        found = living(self.record["id"], root=root)
        if found:
            end(lambda: living(self.record["id"], root=root), grace_s=grace_s)
        return bool(found)

    def _conclude(self, exit_code: int | None) -> Status:
        asked = read_stop(self.run) is not None
        launcher_died = (exit_code is None or exit_code < 0) and not has_word(self.run, self.status)
        remains = self._end_processes(grace_s=_REMAINS_GRACE_S)
        return self._finish(
            conclude(self.run, self.record, self.status, End(exit_code, asked, remains_ended=remains and launcher_died and not asked))
        )

    def _finish(self, outcome: Outcome) -> Status:
        self._write(move(self.status, outcome.state, reason=outcome.reason, fix=outcome.fix, exit_code=outcome.exit_code, ended=time.time()))
        return self.status

    def _write(self, status: Status) -> None:
        write_status(self.run, status)
        self.status = status


def read_stop(run: Path) -> StopRequest | None:
    """The request to end this attempt, if somebody made one."""
    try:
        return StopRequest(**json.loads((run / STOP_FILE).read_text("utf-8")))
    except FileNotFoundError:
        return None


def _refuse(run: Path, status: Status) -> Status:
    other = (run.parent / TRAINING_LOCK).read_text("utf-8")
    refused = move(
        status, "failed", reason=f"Another training is running: {other}.", fix="Wait for it to end, or stop it.", exit_code=1, ended=time.time()
    )
    write_status(run, refused)
    return refused


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def main(argv: list[str]) -> int:
    """Supervise the run folder named on the command line. 0: its end is written down; 1: it is not, and the reason is on stderr."""
    try:
        supervise(Path(argv[0]))
    except TrainingError as refused:
        print(refused, file=sys.stderr)
        return 1
    except Exception:  # noqa: BLE001, the border of this process: its log is the only place where a bug of ours can be seen
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
