"""What a run uses of the machine: processor, memory, number of processes, and the accelerator where its tool can be asked."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass

import psutil

from kohya_gui.jobs.devices import GpuUse, gpu_use
from kohya_gui.jobs.states import Mark

_LIST_EVERY_S = 2.0
_GPU_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all processes of a run together. `cpu_percent` is of the whole machine (0 to 100); `rss_bytes` counts shared pages once per process."""

    cpu_percent: float | None = None
    rss_bytes: int = 0
    processes: int = 0
    gpus: tuple[GpuUse, ...] = ()


class UsageMeter:
    """Measures the tree below one process again and again; a first measurement has no processor share, since that needs two."""

    def __init__(self) -> None:
        self._tree: dict[int, psutil.Process] = {}
        self._listed_at = 0.0
        self._root: Mark | None = None
        self._gpus: tuple[GpuUse, ...] = ()
        self._gpus_at = 0.0
        self._asking = threading.Lock()

    def measure(self, root: Mark | None) -> Usage:
        """What the tree uses now. Never waits for the accelerator's tool: its last answer is given, and a new one asked for beside."""
        if root is None:
            return Usage()
        self._list_tree(root)
        shares, rss, count = [], 0, 0
        for process in list(self._tree.values()):
            try:
                with process.oneshot():
                    shares.append(process.cpu_percent(None))
                    rss += process.memory_info().rss
                    count += 1
            except psutil.Error:
                self._tree.pop(process.pid, None)
        self._ask_gpus()
        return Usage(sum(shares) / (os.cpu_count() or 1) if shares else None, rss, count, self._gpus)

    def _list_tree(self, root: Mark) -> None:
        if root == self._root and time.monotonic() - self._listed_at < _LIST_EVERY_S:
            return
        if root != self._root:
            self._tree = {}
        self._root, self._listed_at = root, time.monotonic()
        try:
            top = psutil.Process(root.pid)
            found = {process.pid: process for process in [top, *top.children(recursive=True)]} if root.alive else {}
        except psutil.Error:
            found = {}
        self._tree = {pid: self._tree.get(pid, process) for pid, process in found.items()}

    def _ask_gpus(self) -> None:
        if time.monotonic() - self._gpus_at >= _GPU_EVERY_S and self._asking.acquire(blocking=False):
            threading.Thread(target=self._answer, daemon=True, name="accelerator use").start()

    def _answer(self) -> None:
        try:
            self._gpus = gpu_use()
        finally:
            self._gpus_at = time.monotonic()
            self._asking.release()
