"""The processes of a run: who they are, and how they are ended, all of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable

import psutil

from sd_scripts.params.events import RUN_ID_VARIABLE

_ROUNDS = 200
_ROUND_S = 0.05


def living(run_id: str, *, root: int | None = None) -> list[psutil.Process]:
    """Every process of a run except the caller: those that carry its id in their environment, and the descendants of `root`.

    The id finds ranks that the launcher put into sessions of their own and children whose parent died; descent finds those that cleared their
    environment. Zombies are not alive.
    """
    found: dict[int, psutil.Process] = {}
    mine = os.getpid()
    for process in psutil.process_iter():
        if process.pid != mine and _carries(process, run_id):
            found[process.pid] = process
    for process in [*found.values(), *([_process(root)] if root and _process(root) else [])]:
        if process is not None:
            found.update({child.pid: child for child in [process, *_descendants(process)] if child.pid != mine})
    return [process for process in found.values() if _runs(process)]


def end(find: Callable[[], list[psutil.Process]], *, grace_s: float) -> int:
    """Ask the processes that `find` names to end, wait up to `grace_s` seconds, then kill them; return how many had to be killed.

    Asked are only those without a parent among them: a trainer ends its own workers, and takes the death of one for a fault. `find` is asked again
    until it finds none, since a dying tree may still start children.

    Raises:
        RuntimeError: some could not be ended (another user's, or stuck in the kernel).
    """
    processes = find()
    if grace_s > 0:
        _signal(_tops(processes), hard=False)
        deadline = time.monotonic() + grace_s
        while processes and time.monotonic() < deadline:
            psutil.wait_procs(processes, timeout=_ROUND_S)
            processes = find()
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        if not processes:
            return len(killed)
        killed.update(process.pid for process in processes)
        _signal(processes, hard=True)
        psutil.wait_procs(processes, timeout=_ROUND_S)
        processes = find()
    raise RuntimeError(f"processes {sorted(process.pid for process in processes)} do not end")


def _carries(process: psutil.Process, run_id: str) -> bool:
    try:
        return process.environ().get(RUN_ID_VARIABLE) == run_id
    except (psutil.Error, OSError):
        return False


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _tops(processes: list[psutil.Process]) -> list[psutil.Process]:
    pids = {process.pid for process in processes}
    return [process for process in processes if _parent(process) not in pids]


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], *, hard: bool) -> None:
    for process in processes:
        try:
            if hard:
                process.kill()
            else:
                process.send_signal(signal.SIGTERM)
        except psutil.Error:
            continue
