"""What goes with a picture pixel by pixel: holes for inpainting and conditioning pictures follow its cut, its mirror and its place in the run."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import draw_pictures

from sd_scripts.errors import DataError
from sd_scripts.library.data.batches import GlobalBatch, batches_from, group_items
from sd_scripts.library.data.dataset import Dealer, Listing, Order
from sd_scripts.library.data.holes import WHOLE_RATE, draw_hole
from sd_scripts.library.data.images import load_image
from sd_scripts.library.data.loader import load
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.items import Scan, scan


def look(folder: Path, **subset: object) -> tuple[Scan, Blueprint]:
    own = Subset(draw_pictures(folder / "pictures"), caption_extension=".txt", **subset)
    blueprint = Blueprint((Dataset((64, 64), 2, subsets=(own,)),))
    return scan(blueprint), blueprint


def listing(folder: Path, **subset: object) -> Listing:
    found, blueprint = look(folder, **subset)
    return Listing(found.items, blueprint)


def plan(*entries: int, epoch: int = 1, step: int = 1, first_index: int = 0) -> Order:
    return Order(GlobalBatch(epoch, step, 0, (64, 64), entries, first_index, len(entries), True, False), pixels=True)


def dealer(found: Listing, **options: object) -> Dealer:
    return Dealer(found, 5, options.pop("rank", 0), options.pop("processes", 1), 100, **options)


def test_holes_are_never_empty_a_quarter_is_everything_and_the_rest_leaves_something():
    shares = [float((draw_hole((96, 64), Random(seed)) == 255).mean()) for seed in range(800)]
    assert all(draw_hole((96, 64), Random(seed)).shape == (64, 96) for seed in range(3))
    whole = sum(share == 1 for share in shares) / len(shares)
    assert min(shares) > 0 and abs(whole - WHOLE_RATE) < 0.05
    assert 0.15 < np.mean([share for share in shares if share < 1]) < 0.5


def test_a_hole_follows_from_its_place_in_the_run(tmp_path):
    deal = dealer(listing(tmp_path), inpainting=True).deal
    first = deal(plan(0, 1)).inpaint_masks
    assert first.shape == (2, 1, 64, 64) and first.dtype == torch.uint8 and set(first.unique().tolist()) <= {0, 255}
    assert torch.equal(first, deal(plan(0, 1)).inpaint_masks)
    holes = torch.stack([deal(plan(0, step=step)).inpaint_masks for step in range(1, 9)])
    assert len({hole.numpy().tobytes() for hole in holes}) > 4
    alone = deal(plan(1, first_index=1)).inpaint_masks
    assert torch.equal(first[1:], alone), "the picture's index in the step decides, not how the step is cut"


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_processes_do_not_change_holes(tmp_path, workers):
    found = listing(tmp_path, flip_aug=True)
    groups = group_items(found.items, found.blueprint)
    plans = [plan for plan, _ in zip(batches_from(groups, seed=5, processes=1, accumulation=1), range(5), strict=False)]
    orders = [Order(plan, pixels=False) for plan in plans]
    expected = [dealer(found, inpainting=True).deal(order).inpaint_masks for order in orders]
    got = [batch.inpaint_masks for batch in load(dealer(found, inpainting=True), iter(orders), workers=workers)]
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
    halves = [dealer(found, inpainting=True, rank=rank, processes=2).deal(orders[0]).inpaint_masks for rank in (0, 1)]
    assert torch.equal(torch.cat(halves)[: len(expected[0])], expected[0])


def test_a_mask_file_is_the_hole_cut_and_mirrored_with_its_picture(tmp_path):
    found = listing(tmp_path, conditioning_data_dir=_copies(tmp_path), random_crop=True, flip_aug=True)
    for step in range(1, 9):
        batch = dealer(found, inpainting=True, conditioning=True).deal(plan(2, 3, step=step))
        assert batch.pixels is not None and torch.equal(batch.conditioning, batch.pixels)
        assert torch.equal(batch.inpaint_masks[:, 0], batch.pixels[:, 0])


def test_nothing_is_given_unless_asked_for(tmp_path):
    batch = dealer(listing(tmp_path, conditioning_data_dir=_copies(tmp_path))).deal(plan(0))
    assert batch.inpaint_masks is None and batch.conditioning is None and batch.masks is None


def test_a_picture_without_its_conditioning_picture_is_named(tmp_path):
    found = listing(tmp_path)
    with pytest.raises(DataError, match="no conditioning picture") as refused:
        dealer(found, conditioning=True).deal(plan(0))
    assert refused.value.path == found.items[0].path


def test_a_mask_of_another_shape_is_refused_and_one_of_another_size_is_told(tmp_path):
    folder = _copies(tmp_path)
    Image.new("L", (32, 32)).save(folder / "0.png")
    Image.new("L", (64, 20)).save(folder / "1.png")
    found, _ = look(tmp_path, conditioning_data_dir=folder)
    wrong = [problem for problem in found.problems if problem.severity == "error"]
    assert len(wrong) == 1 and "1.png" in wrong[0].message and "64×20" in wrong[0].message and "64×64" in wrong[0].message
    assert any("0.png has a mask of another size" in problem.message for problem in found.problems)


def _copies(folder: Path) -> Path:
    """The pictures themselves as what goes with them. All are at least as large as the training size, so a random cut leaves their pixels alone."""
    pictures = draw_pictures(folder / "pictures", ((64, 64), (64, 64), (160, 128), (128, 160), (100, 90)))
    (folder / "beside").mkdir(exist_ok=True)
    for path in pictures.glob("*.png"):
        Image.fromarray(load_image(path)).save(folder / "beside" / path.name)
    return folder / "beside"
