"""Run folders: made, listed, and read as they truly are. Whoever starts or ends processes is elsewhere: `executor`, `process`."""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
import re
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from kohya_gui.jobs.outcome import End, conclude
from kohya_gui.jobs.promise import Promised, as_records
from kohya_gui.jobs.states import STATUS_FILE, Status, read_recorded, write_status, write_whole
from kohya_gui.jobs.tree import living
from sd_scripts.errors import RunError
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import dumps
from sd_scripts.params.events import CONTROL_FOLDER
from sd_scripts.params.saving import Saving

RUN_FILE, CONFIG_FILE, LOCK_FILE, STOP_FILE = "run.json", "config.toml", "lock", "stop.json"
_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "gradio")
_NO_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]+|^\.+|[. ]+$')
_NAME_BYTES = 80


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One row of the list of runs: the folder's name is the run's `id`."""

    id: str
    path: Path
    name: str
    command: str
    status: Status


def create_run(runs_dir: Path, config: Config | None = None, *, argv: Sequence[str], **facts: Any) -> Path:
    """Make a run folder and fill it; see `make_run_folder` and `fill_run`. For commands that need not know the folder's path."""
    name = (config[Saving].output_name if config is not None else None) or "run"
    run = make_run_folder(runs_dir, name)
    fill_run(run, config, argv=argv, **facts)
    return run


def make_run_folder(runs_dir: Path, name: str) -> Path:
    """Make an empty folder for a new run, exclusively, and return its absolute path. It is no run before it is filled.

    Raises:
        RunError: the folder cannot be made.
    """
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}_{_folder_name(name)}"
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = runs_dir.absolute() / (stem if number == 1 else f"{stem}-{number}")
            if _made(path):
                return path
    except OSError as failed:
        raise RunError(f"The run folder in {runs_dir} cannot be made: {failed.strerror}.", fix="Choose another runs folder.") from failed
    raise AssertionError("unreachable")


def fill_run(
    run: Path,
    config: Config | None,
    *,
    argv: Sequence[str],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    promised: Iterable[Promised] = (),
    dataset: Iterable[str] = (),
) -> None:
    """Write what is asked into a new run folder; the run is `queued` then.

    Args:
        run: the folder.
        config: what is asked; written as config.toml, without secrets.
        argv: the launch command.
        cwd: the working directory of the processes; relative paths in the config start there. Default: the current one.
        environment: variables set for the processes, no secrets among them.
        promised: the files that will exist at the end.
        dataset: the dataset listing, a line per item; only its hash is kept.

    Raises:
        RunError: the folder cannot be written.
    """
    text = dumps(config) if config is not None else ""
    record = {
        "id": uuid.uuid4().hex,
        "name": (config[Saving].output_name if config is not None else None) or "run",
        "command": config.command.script if config is not None else "",
        "argv": list(argv),
        "cwd": str((cwd or Path.cwd()).absolute()),
        "environment": dict(environment or {}),
        "promise": as_records(promised),
        "versions": _versions(),
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "dataset_sha256": hashlib.sha256("\n".join(dataset).encode("utf-8", "surrogateescape")).hexdigest(),
    }
    try:
        (run / CONTROL_FOLDER).mkdir(exist_ok=True)
        if config is not None:
            write_whole(run / CONFIG_FILE, text)
        write_whole(run / RUN_FILE, json.dumps(record, indent=1, ensure_ascii=False))
        write_status(run, Status(created=time.time()))
    except OSError as failed:
        raise RunError(f"{run} cannot be written: {failed.strerror}.", fix="Free space, or choose another runs folder.") from failed


def read_run(run: Path) -> dict[str, Any]:
    """run.json.

    Raises:
        RunError: the folder is no run folder.
    """
    try:
        record = json.loads((run / RUN_FILE).read_text("utf-8"))
    except (OSError, ValueError) as failed:
        raise RunError(f"{run} is no run folder: {failed}.") from failed
    return record


def read_status(run: Path) -> Status:
    """The run's state as it truly is, whatever the last writer of status.json had time to write. Writes nothing.

    While the recorded supervisor lives, the record is true. If it died, the run goes on as long as any of its processes does; with none left, the
    outcome follows from what they wrote. Both are marked `unsupervised`, for `adoption.adopt`.

    Raises:
        RunError: the folder is no run folder.
    """
    try:
        status = read_recorded(run)
    except (OSError, ValueError) as failed:
        raise RunError(f"{run} is no run folder: {failed}.") from failed
    if not status.is_active or (status.supervisor is not None and status.supervisor.alive):
        return status
    fresh = read_recorded(run)
    if fresh != status:
        return fresh if not fresh.is_active else replace(fresh, unsupervised=not (fresh.supervisor and fresh.supervisor.alive))
    record = read_run(run)
    if (status.launcher is not None and status.launcher.alive) or living(record["id"]):
        return replace(status, unsupervised=True)
    outcome = conclude(run, record, status, End(stop_asked=(run / STOP_FILE).exists()))
    return replace(status, state=outcome.state, reason=outcome.reason, fix=outcome.fix, exit_code=outcome.exit_code, unsupervised=True)


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """All runs in a folder, newest first. Folders that are no runs, or are just being made, are passed over."""
    summaries = []
    for path in runs_dir.iterdir() if runs_dir.is_dir() else ():
        if (path / STATUS_FILE).is_file() and (path / RUN_FILE).is_file():
            try:
                record = read_run(path)
                summaries.append(RunSummary(path.name, path, str(record.get("name", "")), str(record.get("command", "")), read_status(path)))
            except RunError:
                continue
    return sorted(summaries, key=lambda summary: (summary.status.created, summary.id), reverse=True)


def active_run(runs_dir: Path) -> RunSummary | None:
    """The run whose processes live, if there is one."""
    return next((summary for summary in list_runs(runs_dir) if summary.status.is_active), None)


def _made(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def _folder_name(name: str) -> str:
    safe = _NO_NAME.sub("_", name).encode("utf-8")[:_NAME_BYTES].decode("utf-8", "ignore")
    return safe or "run"


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0], "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
