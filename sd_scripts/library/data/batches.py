"""Which pictures make up each batch, in which order: a function of seed and epoch alone. No picture is opened here.

A batch is global: it is cut from one bucket for all processes together, and each process takes its share. So N processes train as one with N times
the batch. Batches that are accumulated into one optimizer step form a window; windows may mix buckets, and an epoch's last one may be short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from sd_scripts.survey.buckets import choose
from sd_scripts.survey.datasets import Blueprint, Size
from sd_scripts.survey.items import Item
from sd_scripts.survey.randomness import seed_for


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that may share a batch: one bucket (width, height) of one dataset. `entries` are item numbers, one per repeat."""

    dataset: int
    bucket: Size
    batch_size: int
    entries: tuple[int, ...]

    def batches(self, processes: int) -> int:
        """Global batches per epoch."""
        return -(-len(self.entries) // (self.batch_size * processes))


@dataclass(frozen=True, slots=True)
class GlobalBatch:
    """One micro-batch over all processes.

    `epoch` and `step` are 1-based; `step` is the optimizer step that the batch takes part in, `micro_step` its place in that step's window. `entries`
    are item numbers; the first has place `first_index` among the `window_items` pictures of the whole step.
    """

    epoch: int
    step: int
    micro_step: int
    bucket: Size
    entries: tuple[int, ...]
    first_index: int
    window_items: int
    closes_window: bool
    closes_epoch: bool


@dataclass(frozen=True, slots=True)
class Share:
    """What one process does of a global batch: item numbers, and how many of them count. The rest only lets the process take part in the sums."""

    entries: tuple[int, ...]
    first_index: int
    counted: int


def group_items(items: Sequence[Item], blueprint: Blueprint) -> tuple[Group, ...]:
    """Sort the pictures, repeats included, into the buckets of their datasets. The order of groups and entries is that of the listing."""
    entries: dict[tuple[int, Size], list[int]] = {}
    for number, item in enumerate(items):
        dataset = blueprint.datasets[item.dataset]
        bucket = choose(item.size, dataset, random_crop=dataset.subsets[item.subset].random_crop).bucket
        entries.setdefault((item.dataset, bucket), []).extend([number] * item.repeats)
    sizes = [dataset.batch_size for dataset in blueprint.datasets]
    return tuple(Group(dataset, bucket, sizes[dataset], tuple(numbers)) for (dataset, bucket), numbers in sorted(entries.items()) if numbers)


def steps_per_epoch(groups: Sequence[Group], *, processes: int, accumulation: int) -> int:
    """Optimizer steps per epoch, the short last one included."""
    return -(-sum(group.batches(processes) for group in groups) // accumulation)


def batches_from(groups: Sequence[Group], *, seed: int, processes: int, accumulation: int, start_step: int = 0) -> Iterator[GlobalBatch]:
    """All batches of a run after `start_step` optimizer steps, epoch after epoch, without end. The same wherever it starts."""
    per_epoch = steps_per_epoch(groups, processes=processes, accumulation=accumulation)
    epoch, skipped = start_step // per_epoch + 1, start_step % per_epoch
    while True:
        windows = _windows(_shuffled(groups, seed=seed, epoch=epoch, processes=processes), accumulation)
        for place, window in enumerate(windows):
            if place >= skipped:
                yield from _of_window(window, epoch=epoch, step=(epoch - 1) * per_epoch + place + 1, closes_epoch=place == per_epoch - 1)
        epoch, skipped = epoch + 1, 0


def share_of(batch: GlobalBatch, *, rank: int, processes: int) -> Share:
    """The part of a global batch that process `rank` does. A process without a picture repeats one that does not count, so that all take part."""
    size = -(-len(batch.entries) // processes)
    entries = batch.entries[rank * size : (rank + 1) * size]
    if entries:
        return Share(entries, batch.first_index + rank * size, len(entries))
    return Share(batch.entries[-1:], batch.first_index + len(batch.entries), 0)


def _shuffled(groups: Sequence[Group], *, seed: int, epoch: int, processes: int) -> list[tuple[Size, tuple[int, ...]]]:
    random = Random(seed_for(seed, "order", epoch=epoch))
    batches: list[tuple[Size, tuple[int, ...]]] = []
    for group in groups:
        entries = list(group.entries)
        random.shuffle(entries)
        size = group.batch_size * processes
        batches += [(group.bucket, tuple(entries[start : start + size])) for start in range(0, len(entries), size)]
    random.shuffle(batches)
    return batches


def _windows(batches: list[tuple[Size, tuple[int, ...]]], accumulation: int) -> Iterator[list[tuple[Size, tuple[int, ...]]]]:
    for start in range(0, len(batches), accumulation):
        yield batches[start : start + accumulation]


def _of_window(window: list[tuple[Size, tuple[int, ...]]], *, epoch: int, step: int, closes_epoch: bool) -> Iterator[GlobalBatch]:
    total = sum(len(entries) for _, entries in window)
    first_index = 0
    for micro_step, (bucket, entries) in enumerate(window):
        last = micro_step == len(window) - 1
        yield GlobalBatch(epoch, step, micro_step, bucket, entries, first_index, total, last, last and closes_epoch)
        first_index += len(entries)
