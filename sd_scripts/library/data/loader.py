"""Batches read ahead by worker processes, in order. What is in them is dataset.py's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
from torch.utils.data import DataLoader, Sampler

from sd_scripts.errors import RunError, TrainingError
from sd_scripts.library.data.dataset import Batch, Dealer, Order

READ_AHEAD = 2
"""Batches that each worker prepares beyond the one in use."""


def worker_count(wanted: int, *, processes: int) -> int:
    """Workers for one training process: as many as asked for, but not more than its share of the machine's processors."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(wanted, available // processes or 1))


def load(dealer: Dealer, orders: Iterable[Order], *, workers: int, pin_memory: bool = False) -> Iterator[Batch]:
    """The batches of `orders`, in order, until they end. Workers live for the whole run: epochs are no seam for them.

    Raises:
        DataError: a picture cannot be read. It is raised when its batch is due, not when a worker met it.
    """
    dataset: Any = dealer  # torch wants its own Dataset class, but asks for item access alone
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=None,
        sampler=_InOrder(orders),
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        prefetch_factor=READ_AHEAD if workers else None,
        worker_init_fn=_start_worker if workers else None,
    )
    try:
        for batch in loader:
            if isinstance(batch, TrainingError):
                raise batch
            yield batch
    except ConnectionError as error:  # killed while it sent a batch: torch's own word comes later, or never
        raise RuntimeError("DataLoader worker was killed while it sent a batch") from error


def as_worker_death(error: BaseException) -> RunError | None:
    """The error as users are told it, if a worker was killed; None if it is something else. torch raises it anywhere in the main thread."""
    if not (isinstance(error, RuntimeError) and "DataLoader worker" in str(error)):
        return None
    first_line = str(error).partition("\n")[0]
    fix = "Lower max_data_loader_n_workers, or set it to 0: memory or shared memory may have run out."
    return RunError(f"A process that reads pictures died ({first_line.rstrip('. ')}).", fix=fix)


class _InOrder(Sampler[Order]):
    def __init__(self, orders: Iterable[Order]) -> None:
        self.orders = orders

    def __iter__(self) -> Iterator[Order]:
        return iter(self.orders)


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """Ctrl-C in a terminal reaches workers too; stopping is the trainer's to decide, which ends them by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)
