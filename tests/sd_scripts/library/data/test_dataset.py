"""A batch's pictures, captions and weights follow from its place in the run; an unreadable picture is named when its batch is due."""

from __future__ import annotations

import multiprocessing
from itertools import islice
from pathlib import Path

import pytest
import torch
from tiny_runs import draw_pictures

from sd_scripts.errors import DataError
from sd_scripts.library.data.batches import GlobalBatch, batches_from, group_items
from sd_scripts.library.data.dataset import Dealer, Listing, Order
from sd_scripts.library.data.images import load_image
from sd_scripts.library.data.loader import as_worker_death, load, worker_count
from sd_scripts.survey.datasets import Blueprint, CaptionRules, Dataset, Subset
from sd_scripts.survey.items import scan


def listing(folder: Path, **subset: object) -> Listing:
    """The test pictures as one subset at 64 px without buckets."""
    blueprint = Blueprint((Dataset((64, 64), 2, subsets=(Subset(draw_pictures(folder), caption_extension=".txt", **subset),)),))
    return Listing(scan(blueprint).items, blueprint)


def dealer(found: Listing, **options: object) -> Dealer:
    """Deals for one process with seed 5."""
    return Dealer(found, 5, options.pop("rank", 0), options.pop("processes", 1), 100, **options)


def plan(*entries: int, epoch: int = 1, step: int = 1, first_index: int = 0) -> GlobalBatch:
    """A batch that is a step of its own."""
    return GlobalBatch(epoch, step, 0, (64, 64), entries, first_index, len(entries), True, False)


def order(*entries: int, **place: int) -> Order:
    """The same, with its pixels."""
    return Order(plan(*entries, **place), pixels=True)


def test_a_batch_holds_pictures_captions_and_weights_in_order(tmp_path):
    batch = dealer(listing(tmp_path)).deal(order(1, 0))
    assert batch.captions == ("cat, number 1, red, blue", "cat, number 0, red, blue")
    assert torch.equal(batch.pixels[0], torch.from_numpy(load_image(tmp_path / "1.png")).permute(2, 0, 1))
    assert batch.loss_weights.tolist() == [1.0, 1.0] and batch.indices == (0, 1)


def test_pixels_that_nobody_ordered_are_not_read(tmp_path):
    found = listing(tmp_path)
    (tmp_path / "1.png").unlink()
    batch = dealer(found).deal(Order(plan(1, 0), pixels=False))
    assert batch.pixels is None and batch.captions[0] == "cat, number 1, red, blue"


def test_regularisation_pictures_weigh_what_was_asked_for(tmp_path):
    subsets = (Subset(draw_pictures(tmp_path / "a")), Subset(draw_pictures(tmp_path / "b"), is_reg=True))
    blueprint = Blueprint((Dataset((64, 64), 2, subsets=subsets),))
    found = Listing(scan(blueprint).items, blueprint)
    first_reg = next(number for number, item in enumerate(found.items) if item.is_reg)
    assert dealer(found, prior_loss_weight=0.25).deal(order(0, first_reg)).loss_weights.tolist() == [1.0, 0.25]


def test_what_only_fills_up_weighs_nothing(tmp_path):
    batch = dealer(listing(tmp_path), rank=1, processes=2).deal(order(3))
    assert batch.loss_weights.tolist() == [0.0] and len(batch.items) == 1


def test_augmentation_depends_on_the_place_and_not_on_the_process(tmp_path):
    found = listing(tmp_path, flip_aug=True, random_crop=True, color_aug=True, captions=CaptionRules(shuffle_caption=True))
    whole = dealer(found).deal(order(0, 1, 2, 3, step=9))
    shares = [dealer(found, rank=rank, processes=2).deal(order(0, 1, 2, 3, step=9)) for rank in range(2)]
    assert torch.equal(whole.pixels, torch.cat([share.pixels for share in shares]))
    assert whole.captions == shares[0].captions + shares[1].captions


def test_augmentation_differs_from_step_to_step(tmp_path):
    found = listing(tmp_path, flip_aug=True, captions=CaptionRules(shuffle_caption=True))
    batches = [dealer(found).deal(order(0, 1, step=step)) for step in range(1, 9)]
    assert len({batch.captions for batch in batches}) > 4
    assert len({batch.flipped for batch in batches}) > 1


def test_a_mirrored_picture_is_the_mirror_image(tmp_path):
    found = listing(tmp_path)
    straight, mirrored = found.picture(found.items[0]), found.picture(found.items[0], flip=True)
    assert torch.equal(straight.flip(-1), mirrored)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_named_when_its_batch_is_due(workers, tmp_path):
    found = listing(tmp_path)
    data = bytearray((tmp_path / "3.png").read_bytes())
    data[60:100] = bytes(40)
    (tmp_path / "3.png").write_bytes(bytes(data))
    batches = load(dealer(found), [order(0, 1), order(2, 3)], workers=workers)
    assert len(next(batches).items) == 2
    with pytest.raises(DataError, match=r"3\.png"):
        next(batches)


def test_workers_deliver_in_order(tmp_path):
    found = listing(tmp_path)
    plans = list(islice(batches_from(group_items(found.items, found.blueprint), seed=1, processes=1, accumulation=1), 9))
    assert [batch.plan for batch in load(dealer(found), [Order(plan, pixels=True) for plan in plans], workers=2)] == plans


def test_a_killed_worker_is_told_as_such(tmp_path):
    found = listing(tmp_path)
    batches = load(dealer(found), [order(0, 1, step=step) for step in range(50)], workers=1)
    next(batches)
    with pytest.raises(RuntimeError) as caught:  # torch raises it from a signal handler: anywhere from the kill on
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        list(batches)
    told = as_worker_death(caught.value)
    assert told is not None and "max_data_loader_n_workers" in told.fix


def test_workers_are_no_more_than_the_machine_has_processors():
    assert worker_count(0, processes=1) == 0
    assert 1 <= worker_count(10_000, processes=1) < 10_000
    assert worker_count(10_000, processes=10_000) == 1
