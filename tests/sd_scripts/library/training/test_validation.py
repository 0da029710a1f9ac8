"""The loss on pictures that are kept aside: the same however it is measured, and without an effect on training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import TWO_BUCKETS, events, options, report_to, train

from sd_scripts.library.data.dataset import Listing
from sd_scripts.library.data.images import normalise
from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.families.base import Conditions
from sd_scripts.library.families.sd.family import SD
from sd_scripts.library.weights_file import read_weights
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command
from sd_scripts.survey.checks import survey
from sd_scripts.survey.validation_split import steady

KEPT = {"validation_split": 0.4, "validation_seed": 3}


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """The run folder that trainers of a test report to."""
    return report_to(tmp_path / "run", monkeypatch)


def losses(run_dir: Path) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in events(run_dir, "validation")}


def test_the_loss_is_the_one_computed_by_hand(tmp_path, run_dir):
    """A rate of 1e-20 changes no weight, so the model that is measured is the base model: its error at timesteps 200, 400, 600 and 800."""
    given = {**KEPT, "learning_rate": 1e-20, "max_train_steps": 1, "validate_every_n_steps": 1}
    assert train(tmp_path, **given) == 0
    config = parse_args(command("train_network"), options(tmp_path, **given))
    family = SD.load(config, device=torch.device("cpu"), weight_dtype=torch.float32)
    found = survey(config)
    listing = Listing(found.scan.validation, steady(found.blueprint))
    errors = []
    with torch.no_grad():
        for index, item in enumerate(listing.items):
            draws = [Draws(3, 0, place, (index,)) for place in range(5)]
            latents = family.sample_latents(*family.image_moments(normalise(listing.picture(item)[None])), draws[0])
            text = family.encode_text([item.caption])
            for place in range(1, 5):
                noised = family.add_noise(latents, draws[place], timesteps=torch.tensor([200 * place]))
                assert noised.timesteps.tolist() == [200 * place]
                predicted = family.predict(noised, text, Conditions.whole((64, 64), rows=1, device=torch.device("cpu")))
                errors.append(float(((predicted - noised.target) ** 2).mean()))
    assert losses(run_dir) == {1: pytest.approx(sum(errors) / len(errors), rel=1e-5)}


def test_measuring_disturbs_nothing(tmp_path):
    shared = {**KEPT, "network_dropout": 0.2, "flip_aug": True, "shuffle_caption": True, "max_train_steps": 4}
    assert train(tmp_path, output_name="often", validate_every_n_steps=1, **shared) == 0
    assert train(tmp_path, output_name="once", validate_every_n_steps=4, **shared) == 0
    often, once = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("often", "once"))
    assert all(often[key].equal(once[key]) for key in often)


def test_a_resumed_run_measures_the_same(tmp_path, run_dir):
    shared = {**KEPT, **TWO_BUCKETS, "max_train_steps": 4, "save_every_n_steps": 2, "save_state": True, "validate_every_n_steps": 1}
    assert train(tmp_path, output_name="whole", **shared) == 0
    whole = events(run_dir, "validation")
    assert train(tmp_path, output_name="rest", resume=tmp_path / "out" / "whole-step00000002-state", **shared) == 0
    rest = events(run_dir, "validation")[4:]
    told = [[(event["step"], event["loss"], event["best_loss"], event["best_step"]) for event in run] for run in (whole[2:], rest)]
    assert told[0] == told[1]
    lowest = min(whole, key=lambda event: event["loss"])
    assert (whole[-1]["best_step"], whole[-1]["best_loss"]) == (lowest["step"], lowest["loss"])


@pytest.mark.parametrize(
    "way", [{"cache_latents": True}, {"network_train_unet_only": True}, {"train_batch_size": 1}], ids=lambda way: next(iter(way))
)
def test_the_first_measurement_does_not_depend_on_the_way(tmp_path, run_dir, way):
    given = {**KEPT, "learning_rate": 1e-20, "max_train_steps": 1, "validate_every_n_steps": 1}
    assert train(tmp_path, output_name="plain", **given) == 0
    assert train(tmp_path, output_name="other", **given, **way) == 0
    plain, other = events(run_dir, "validation")
    assert other["loss"] == pytest.approx(plain["loss"], rel=1e-5)


def test_when_it_is_measured_and_how_much(tmp_path, run_dir):
    """Six training items in three batches make an epoch of 3 steps."""
    for name, given in (
        ("epochs", {}),
        ("second", {"validate_every_n_epochs": 2}),
        ("both", {"validate_every_n_steps": 2, "validate_every_n_epochs": 2}),
    ):
        assert train(tmp_path, output_name=name, max_train_steps=6, **KEPT, **given) == 0
    assert [event["step"] for event in events(run_dir, "validation")] == [3, 6, 6, 2, 4, 6]
    assert train(tmp_path, output_name="less", max_train_steps=3, train_batch_size=1, max_validation_steps=1, **KEPT) == 0
    shares = [(event["done"], event["total"]) for event in events(run_dir, "phase") if event["phase"] == "validating" and event["total"]]
    assert shares[-1] == (1, 1)


def test_curves_have_kohyas_tags(tmp_path):
    assert train(tmp_path, logging_dir=tmp_path / "logs", max_train_steps=3, validate_every_n_steps=2, validate_every_n_epochs=1, **KEPT) == 0
    (file,) = (tmp_path / "logs").glob("*/network_train/events.out.tfevents.*")
    found = EventAccumulator(str(file.parent))
    found.Reload()
    tags = {f"loss/validation/{kind}_{what}" for kind in ("step", "epoch") for what in ("average", "divergence")}
    assert tags <= set(found.Tags()["scalars"])


def test_the_file_says_how_many_pictures_were_kept(tmp_path):
    assert train(tmp_path, max_train_steps=1, **KEPT) == 0
    with safe_open(tmp_path / "out" / "cat.safetensors", "pt") as file:
        assert file.metadata()["ss_num_validation_images"] == "2"
