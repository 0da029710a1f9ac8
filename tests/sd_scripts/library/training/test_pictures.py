"""Pictures go through the VAE once where their pixels never change, and what is learnt from does not depend on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import build_sd15_micro
from tiny_runs import draw_pictures

from sd_scripts.errors import Diverged
from sd_scripts.library.data.batches import GlobalBatch
from sd_scripts.library.data.dataset import Dealer, Listing
from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.families.sd import SD
from sd_scripts.library.training import pictures
from sd_scripts.library.training.pictures import Pictures, can_keep
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.families.sd import FACTS
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.items import scan
from sd_scripts.survey.plan import Plan, make_plan

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> SD:
    """A real model, small."""
    model = build_sd15_micro(tmp_path_factory.mktemp("model") / "micro.safetensors")
    return SD.load(make_config(command("train_network"), {"pretrained_model_name_or_path": str(model)}), device=CPU, weight_dtype=torch.float32)


def listing(folder: Path, **subset: object) -> Listing:
    """The test pictures at 64 px."""
    blueprint = Blueprint((Dataset((64, 64), 2, subsets=(Subset(draw_pictures(folder), **subset),)),))
    return Listing(scan(blueprint).items, blueprint)


def plan(*entries: int, step: int = 1) -> GlobalBatch:
    """A batch that is a step of its own."""
    return GlobalBatch(1, step, 0, (64, 64), entries, 0, len(entries), True, False)


def latents(made: Pictures, batch: GlobalBatch) -> torch.Tensor:
    """What the model would learn from at `batch`."""
    return made(made.dealer.deal(made.order(batch)), Draws(5, 1, batch.step, tuple(range(len(batch.entries)))))


def both(sd: SD, found: Listing) -> tuple[Pictures, Pictures]:
    """One that keeps, one that does not."""
    dealer = Dealer(found, 5, 0, 1, 100)
    return Pictures(sd, dealer, CPU, keep=True), Pictures(sd, dealer, CPU, keep=False)


def test_kept_pictures_give_the_latents_of_fresh_ones(sd, tmp_path):
    kept, fresh = both(sd, listing(tmp_path, flip_aug=True))
    for batch in (plan(0, 1), plan(1, 2, step=2), plan(2, 0, step=3), plan(0, 1, step=4)):
        torch.testing.assert_close(latents(kept, batch), latents(fresh, batch), rtol=1e-4, atol=1e-5)


def test_what_is_kept_does_not_depend_on_what_came_before(sd, tmp_path):
    found = listing(tmp_path)
    through, resumed = both(sd, found)[0], both(sd, found)[0]
    latents(through, plan(0, 1))
    latents(through, plan(1, 2, step=2))
    assert torch.equal(latents(through, plan(2, 0, step=3)), latents(resumed, plan(2, 0, step=3)))


def test_pixels_are_ordered_once_for_each_side_of_a_picture(sd, tmp_path):
    kept, fresh = both(sd, listing(tmp_path, flip_aug=True))
    plans = [plan(0, 1, step=step) for step in range(1, 9)]
    seen: set[tuple[int, bool]] = set()
    for batch in plans:
        shown = set(kept.dealer.shown(batch))
        assert kept.order(batch).pixels == bool(shown - seen) and fresh.order(batch).pixels
        seen |= shown
    assert len(seen) == 4


def test_a_picture_that_the_vae_cannot_take_is_named(sd, tmp_path, monkeypatch):
    kept, _ = both(sd, listing(tmp_path))
    monkeypatch.setattr(sd, "image_moments", lambda images: (torch.full((1, 4, 8, 8), torch.nan), torch.zeros(1, 4, 8, 8)))
    with pytest.raises(Diverged, match=r"NaN or Inf of .*1\.png"):
        latents(kept, plan(1, 0))


def plan_of(found: Listing, epochs: int) -> Plan:
    """The run's plan, as long as asked."""
    config = make_config(command("train_network"), {"max_train_epochs": epochs})
    return make_plan(config, found.blueprint, scan(found.blueprint), processes=1)


@pytest.mark.parametrize(
    ("subset", "epochs", "kept"),
    [({}, 2, True), ({"flip_aug": True}, 2, True), ({}, 1, False), ({"num_repeats": 2}, 1, True), ({"random_crop": True}, 2, False)],
)
def test_pictures_are_kept_if_they_come_again_unchanged(subset, epochs, kept, tmp_path):
    found = listing(tmp_path, **subset)
    assert can_keep(found, plan_of(found, epochs), FACTS) == kept


def test_no_more_is_kept_than_memory_has_room_for(tmp_path, monkeypatch):
    found = listing(tmp_path)
    bytes_each = 2 * 4 * 8 * 8 * 4
    monkeypatch.setattr(pictures, "MOST_BYTES", bytes_each * len(found.items))
    assert can_keep(found, plan_of(found, 2), FACTS)
    assert not can_keep(replace(found, items=[*found.items, found.items[0]]), plan_of(found, 2), FACTS)
