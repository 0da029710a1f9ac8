"""TensorBoard for the page: started when somebody asks, on a free port of this machine alone, stopped with the GUI; and where its logs may lie."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kohya_gui.jobs.adoption import ROOT
from kohya_gui.jobs.runs import CONFIG_FILE, list_runs, read_run
from kohya_gui.jobs.states import Mark
from sd_scripts.errors import ConfigError, RunError

PROGRAM = "kohya_gui.jobs.board_process"
START_LIMIT_S = 60.0
_STOP_S = 5.0
_LAST_LINES = 12
_NEWEST_RUNS = 30
_MOST_FILES = 20_000

BoardState = Literal["absent", "off", "starting", "running", "failed"]


@dataclass(frozen=True, slots=True)
class BoardView:
    """How it stands. `folder` is what is shown; `reason` what it said when it failed."""

    state: BoardState
    folder: Path | None = None
    reason: str = ""


@dataclass
class Board:
    """One per server. `log` is the file that takes what TensorBoard says.

    `starts` counts how often it was started. Requests reach it at `address`, whose path holds a secret: others who use this machine can find its
    port, and are told nothing there.
    """

    log: Path
    starts: int = 0
    _process: subprocess.Popen[str] | None = None
    _mark: Mark | None = None
    _folder: Path | None = None
    _port: int | None = None
    _prefix: str = ""
    _started: float = 0.0
    _reason: str = ""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def start(self, folder: Path) -> None:
        """Show the logs in `folder`; in place of those of another folder, if it is running.

        Raises:
            RunError: TensorBoard is not installed, or could not be started.
            ConfigError: there is no such folder.
        """
        if not is_installed():
            raise RunError("TensorBoard is not installed.", fix="Run python setup.py again.")
        if not folder.is_dir():
            raise ConfigError("logging_dir", f"{folder} is no folder.", fix="Choose a folder that exists.")
        with self._lock:
            if self.view().state in ("starting", "running") and self._folder == folder:
                return
            self.stop()
            self._prefix, self._folder, self._started = f"/{secrets.token_urlsafe(24)}", folder, time.monotonic()
            self._process, self.starts = self._spawn(), self.starts + 1
            # Until its parent has waited for it, nobody else can get the number of a process; after that the mark tells them apart.
            self._mark = Mark.of(self._process.pid)
            threading.Thread(target=self._hear, args=(self._process,), daemon=True, name="tensorboard").start()

    def stop(self) -> None:
        """End it, if it was started."""
        with self._lock:
            process, mark = self._process, self._mark
            self._process, self._mark, self._port, self._reason, self._folder = None, None, None, "", None
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            if mark is not None and mark.alive:
                process.kill()
                process.wait()

    def view(self) -> BoardView:
        """How it stands now."""
        with self._lock:
            if self._process is None:
                return BoardView("failed", None, self._reason) if self._reason else BoardView("off" if is_installed() else "absent")
            if self._process.poll() is not None:
                return BoardView("failed", self._folder, self._last_words(self._process.returncode))
            if self._port is not None:
                return BoardView("running", self._folder)
            if time.monotonic() > self._started + START_LIMIT_S:
                folder = self._folder
                self.stop()
                self._reason = f"It did not answer within {START_LIMIT_S:.0f} seconds."
                return BoardView("failed", folder, self._reason)
            return BoardView("starting", self._folder)

    @property
    def address(self) -> str | None:
        """Where this server, and nobody else, reaches it; None unless it is running."""
        with self._lock:
            running = self._process is not None and self._process.poll() is None and self._port is not None
            return f"http://127.0.0.1:{self._port}{self._prefix}" if running else None

    def _spawn(self) -> subprocess.Popen[str]:
        paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONIOENCODING": "utf-8"}
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("wb") as said:
                process = subprocess.Popen(
                    [sys.executable, "-m", PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env=environment,
                    encoding="utf-8",
                    start_new_session=True,  # Ctrl-C in the terminal is for the GUI, which then ends it
                )
        except OSError as failed:
            raise RunError(f"TensorBoard could not be started: {failed.strerror or failed}.", fix="Run python setup.py again.") from failed
        with contextlib.suppress(BrokenPipeError):  # it has ended already; `view` has its last words
            if process.stdin is not None:
                process.stdin.write(json.dumps({"folder": str(self._folder), "prefix": self._prefix}) + "\n")
                process.stdin.flush()
        return process

    def _hear(self, process: subprocess.Popen[str]) -> None:
        """Wait for the port that it prints, which it does once it answers."""
        line = process.stdout.readline() if process.stdout is not None else ""
        try:
            port = int(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError):
            return
        with self._lock:
            if process is self._process:
                self._port = port

    def _last_words(self, exit_code: int) -> str:
        lines = self.log.read_text("utf-8", "replace").strip().splitlines() if self.log.exists() else []
        return "\n".join(lines[-_LAST_LINES:]) or f"It ended with exit code {exit_code} and said nothing."


def is_installed() -> bool:
    """Whether TensorBoard can be started."""
    return importlib.util.find_spec("tensorboard") is not None


def has_logs(folder: Path) -> bool:
    """Whether there are curves in a folder or below it. A folder without end is not searched to its end."""
    seen = 0
    for _, _, names in os.walk(folder):
        if any(".tfevents." in name for name in names):
            return True
        seen += len(names)
        if seen > _MOST_FILES:
            return False
    return False


def log_folders(runs_dir: Path, first: Iterable[Path] = ()) -> list[Path]:
    """Folders that may have curves: `first`, then where the newest runs were told to write theirs. Only those that exist, each once."""
    return list(dict.fromkeys(folder for folder in (*first, *_folders_of_runs(runs_dir)) if folder.is_dir()))


def _folders_of_runs(runs_dir: Path) -> Iterator[Path]:
    for summary in list_runs(runs_dir)[:_NEWEST_RUNS]:
        try:
            found = next(_values("logging_dir", tomllib.loads((summary.path / CONFIG_FILE).read_text("utf-8"))), "")
            if found:
                yield Path(read_run(summary.path)["cwd"], found).absolute()
        except (OSError, ValueError, KeyError, RunError):
            continue


def _values(key: str, table: Mapping[str, Any]) -> Iterator[str]:
    """Every text under `key` in a TOML table and its tables."""
    for name, value in table.items():
        if name == key and isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _values(key, value)
