"""Batches are a function of seed and epoch, contain every picture as often as it repeats, and are the same for any number of processes."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice, takewhile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.library.data.batches import Group, batches_from, group_items, share_of, steps_per_epoch
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.items import Item, Scan
from sd_scripts.survey.plan import batches_of

ORDER = json.loads((Path(__file__).parents[3] / "golden" / "steps.json").read_text("utf-8"))["order"]
BUCKETS = ((64, 64), (64, 128), (128, 64))


def groups_of(counts: list[int]) -> tuple[Group, ...]:
    """One bucket for each count of pictures, numbered through; batches of two."""
    starts = [sum(counts[:place]) for place in range(len(counts))]
    return tuple(Group(0, BUCKETS[place], 2, tuple(range(start, start + counts[place]))) for place, start in enumerate(starts))


groups_of_pictures = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(groups_of)


def one_epoch(groups, *, epoch: int = 1, **options):
    """The batches of one epoch."""
    start = (epoch - 1) * steps_per_epoch(groups, processes=options["processes"], accumulation=options["accumulation"])
    return list(takewhile(lambda batch: batch.epoch == epoch, batches_from(groups, start_step=start, **options)))


@given(groups=groups_of_pictures, processes=st.integers(1, 3), accumulation=st.integers(1, 3), epoch=st.integers(1, 4))
def test_an_epoch_has_every_picture_once_per_repeat(groups, processes, accumulation, epoch):
    batches = one_epoch(groups, epoch=epoch, seed=1, processes=processes, accumulation=accumulation)
    assert Counter(entry for batch in batches for entry in batch.entries) == Counter(entry for group in groups for entry in group.entries)


@given(groups=groups_of_pictures, processes=st.integers(1, 3), accumulation=st.integers(1, 3), skipped=st.integers(0, 12))
def test_starting_later_gives_the_rest_of_the_same_run(groups, processes, accumulation, skipped):
    options = {"seed": 7, "processes": processes, "accumulation": accumulation}
    whole = list(islice(batches_from(groups, **options), 60))
    rest = list(islice(batches_from(groups, start_step=skipped, **options), 10))
    assert rest == [batch for batch in whole if batch.step > skipped][:10]


@given(groups=groups_of_pictures, processes=st.integers(1, 4), accumulation=st.integers(1, 3))
def test_a_step_counts_all_its_pictures_and_closes_once(groups, processes, accumulation):
    batches = one_epoch(groups, seed=3, processes=processes, accumulation=accumulation)
    for step in {batch.step for batch in batches}:
        window = [batch for batch in batches if batch.step == step]
        assert sum(len(batch.entries) for batch in window) == window[0].window_items
        assert [batch.closes_window for batch in window] == [False] * (len(window) - 1) + [True]
        assert [batch.first_index for batch in window] == [sum(len(b.entries) for b in window[:place]) for place in range(len(window))]
    assert [batch.closes_epoch for batch in batches] == [False] * (len(batches) - 1) + [True]


@given(groups=groups_of_pictures, processes=st.integers(1, 5))
def test_the_processes_share_a_batch_without_loss_and_each_has_something_to_do(groups, processes):
    for batch in one_epoch(groups, seed=3, processes=processes, accumulation=1):
        shares = [share_of(batch, rank=rank, processes=processes) for rank in range(processes)]
        assert tuple(entry for share in shares for entry in share.entries[: share.counted]) == batch.entries
        assert all(share.entries for share in shares)


@given(groups=groups_of_pictures)
def test_two_processes_see_the_batches_of_one_with_twice_the_size(groups):
    doubled = tuple(Group(group.dataset, group.bucket, group.batch_size * 2, group.entries) for group in groups)
    assert one_epoch(groups, seed=5, processes=2, accumulation=2) == one_epoch(doubled, seed=5, processes=1, accumulation=2)


@pytest.mark.parametrize("recorded", [name for name in ORDER if name.startswith("epoch")])
def test_an_epoch_consists_of_the_recorded_batches_in_another_order(recorded):
    """The reference program draws its order from Python's global state; what a batch holds is the same: one bucket, its last batch short."""
    names = [f"i{number:03d}.png" for number in range(5)]
    sizes = [(512, 512)] * 3 + [(768, 512)] * 2
    dataset = Dataset((512, 512), 2, enable_bucket=True, subsets=(Subset(Path("a")),))
    items = tuple(Item(Path(name), size, "", 0, 0, 2, False) for name, size in zip(names, sizes, strict=True))
    groups = group_items(items, Blueprint((dataset,)))
    ours = [[names[entry] for entry in batch.entries] for batch in one_epoch(groups, seed=0, processes=1, accumulation=1)]
    for batches in (ours, ORDER[recorded]):
        assert Counter(name for batch in batches for name in batch) == Counter(names * 2)
        assert all(len({name > "i002.png" for name in batch}) == 1 for batch in batches)
    assert sorted(map(len, ours)) == sorted(map(len, ORDER[recorded]))


def test_epochs_differ_in_order_and_a_seed_repeats_it():
    groups = (Group(0, (64, 64), 2, tuple(range(20))),)
    first, second, other = (
        [b.entries for b in one_epoch(groups, epoch=epoch, seed=seed, processes=1, accumulation=1)] for epoch, seed in ((1, 0), (2, 0), (1, 1))
    )
    assert first != second and first != other
    assert first == [b.entries for b in one_epoch(groups, epoch=1, seed=0, processes=1, accumulation=1)]


@given(
    sizes=st.lists(st.tuples(st.integers(100, 900), st.integers(100, 900)), min_size=1, max_size=12),
    repeats=st.integers(1, 3),
    batch_size=st.integers(1, 3),
    processes=st.integers(1, 3),
)
def test_the_counts_are_those_of_the_plan(sizes, repeats, batch_size, processes):
    subsets = (Subset(Path("a")),)
    blueprint = Blueprint((Dataset((256, 256), batch_size, enable_bucket=True, min_bucket_reso=128, max_bucket_reso=512, subsets=subsets),))
    items = tuple(Item(Path(f"{number}.png"), size, "", 0, 0, repeats, False) for number, size in enumerate(sizes))
    groups = group_items(items, blueprint)
    planned = batches_of(blueprint, Scan(items), processes)
    assert [(group.bucket, len(group.entries), group.batches(processes)) for group in groups] == [(b.bucket, b.items, b.batches) for b in planned]
