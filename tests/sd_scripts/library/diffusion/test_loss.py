"""Losses and weights against numbers recorded from the ecosystem's trainer."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch

from sd_scripts.library.diffusion.loss import huber_threshold, per_sample_loss, snr_weights
from sd_scripts.library.diffusion.schedule import ddpm_schedule
from sd_scripts.params.loss import Loss, SNRWeight

GOLDEN = Path(__file__).parents[3] / "golden"
LOSS = json.loads((GOLDEN / "loss.json").read_text("utf-8"))
DEVIATIONS = tomllib.loads((GOLDEN / "deviations.toml").read_text("utf-8"))["deviation"]
TIMESTEPS = torch.tensor(LOSS["inputs"]["timesteps"])
SCHEDULE = ddpm_schedule()
WEIGHTS = {
    "debiased eps": (SNRWeight(debiased_estimation_loss=True), "epsilon"),
    "debiased v": (SNRWeight(debiased_estimation_loss=True), "v"),
    "scale_v_pred_loss_like_noise_pred": (SNRWeight(scale_v_pred_loss_like_noise_pred=True), "v"),
    "v_pred_like_loss=0.1": (SNRWeight(v_pred_like_loss=0.1), "epsilon"),
    "v_pred_like_loss=1.0": (SNRWeight(v_pred_like_loss=1.0), "epsilon"),
    **{
        f"min_snr gamma={gamma} {short}": (SNRWeight(min_snr_gamma=gamma), prediction)
        for gamma in (0.5, 1, 5, 20)
        for short, prediction in (("eps", "epsilon"), ("v", "v"))
    },
}


def wave(function, count: int, step: float = 1.0, scale: float = 1.0) -> torch.Tensor:
    return (function(torch.arange(count, dtype=torch.float64) * step) * scale).float()


@pytest.mark.parametrize("name", WEIGHTS)
def test_snr_weights_are_the_recorded_ones(name):
    config, prediction = WEIGHTS[name]
    weights = snr_weights(TIMESTEPS, SCHEDULE, config, prediction=prediction)
    torch.testing.assert_close(weights, torch.tensor(LOSS["weights"][name]), rtol=1e-5, atol=1e-9)


def test_every_recorded_weight_is_tested_or_a_named_deviation():
    deviating = {row["case"] for row in DEVIATIONS if row["file"] == "loss.json"}
    assert set(LOSS["weights"]) - set(WEIGHTS) <= deviating


def test_zero_terminal_snr_gives_finite_min_snr_weights_of_its_own_schedule():
    weights = snr_weights(torch.tensor([999]), ddpm_schedule(zero_terminal_snr=True), SNRWeight(min_snr_gamma=5.0), prediction="v")
    assert weights.tolist() == [0.0]


@pytest.mark.parametrize("row", LOSS["post_process"], ids=lambda row: "+".join(row["options"]))
def test_combined_weights_are_the_recorded_ones(row):
    options = dict(row["options"])
    prediction = "v" if options.pop("v_parameterization", False) else "epsilon"
    loss = (torch.sin(1 + 0.3 * torch.arange(15, dtype=torch.float64)).abs() + 0.1).float()
    weighted = loss * snr_weights(TIMESTEPS, SCHEDULE, SNRWeight(**options), prediction=prediction)
    torch.testing.assert_close(weighted, torch.tensor(row["loss_out"]), rtol=2e-5, atol=1e-9)


def recorded_scale(row: dict) -> float:
    """The scale that the recorded program really applied: with the snr schedule it forgot huber_scale (gap 11)."""
    return row["huber_scale"] or 1.0


@pytest.mark.parametrize(
    "row", LOSS["pointwise_rows"], ids=lambda row: "-".join(str(row[k]) for k in ("loss_type", "huber_schedule", "huber_c", "huber_scale"))
)
def test_losses_are_the_recorded_ones(row):
    pred, target = wave(torch.sin, 24, scale=1.5).view(3, 2, 2, 2), wave(torch.cos, 24, scale=0.7).view(3, 2, 2, 2)
    deviates = row["huber_schedule"] == "snr" and row["huber_scale"] == 2.0
    config = Loss(
        loss_type=row["loss_type"],
        huber_schedule=row["huber_schedule"] or "snr",
        huber_c=row["huber_c"] or 0.1,
        huber_scale=1.0 if deviates else recorded_scale(row),
    )
    per_item = per_sample_loss(pred, target, config, timesteps=torch.tensor(LOSS["pointwise"]["timesteps"]), schedule=SCHEDULE)
    torch.testing.assert_close(per_item, torch.tensor(row["per_item_mean"]), rtol=1e-5, atol=1e-7)


def test_huber_scale_applies_to_the_snr_schedule_too():
    single, double = (huber_threshold(TIMESTEPS, Loss(loss_type="huber", huber_scale=scale), SCHEDULE) for scale in (1.0, 2.0))
    torch.testing.assert_close(double, 2 * single)


@pytest.mark.parametrize("row", LOSS["huber_thresholds"], ids=lambda row: "-".join(str(row[k]) for k in ("huber_schedule", "huber_c", "huber_scale")))
def test_huber_thresholds_are_the_recorded_ones(row):
    scale = 1.0 if row["huber_schedule"] == "snr" else row["huber_scale"]
    config = Loss(loss_type="huber", huber_schedule=row["huber_schedule"], huber_c=row["huber_c"], huber_scale=scale)
    thresholds = huber_threshold(torch.tensor(row["timesteps"]), config, SCHEDULE)
    recorded = row["threshold"] if isinstance(row["threshold"], list) else [row["threshold"]] * len(row["timesteps"])
    torch.testing.assert_close(thresholds, torch.tensor(recorded), rtol=1e-5, atol=1e-7)


def test_flow_models_have_no_snr_threshold():
    with pytest.raises(ValueError, match="signal-to-noise"):
        huber_threshold(torch.tensor([5.0]), Loss(loss_type="huber", huber_schedule="snr"), None)
    for name in ("exponential", "constant"):
        config = Loss(loss_type="huber", huber_schedule=name)
        thresholds = huber_threshold(torch.tensor(LOSS["huber_flow"]["timesteps"]), config, None)
        torch.testing.assert_close(thresholds, torch.tensor(LOSS["huber_flow"]["result"][name]), rtol=1e-5, atol=1e-7)


def test_a_mask_of_another_shape_counts_by_area_as_recorded():
    mask = torch.zeros(1, 1, 10, 14)
    mask[..., 2:7, 3:11] = 1
    recorded = torch.tensor(LOSS["masked"]["odd sizes"]["flat_channel0"])
    per_item = per_sample_loss(torch.ones(1, 2, 4, 5), torch.zeros(1, 2, 4, 5), Loss(), timesteps=torch.tensor([1]), schedule=SCHEDULE, mask=mask)
    torch.testing.assert_close(per_item, recorded.mean().view(1), rtol=1e-5, atol=1e-7)


def test_nothing_is_learnt_outside_a_mask():
    prediction = wave(torch.sin, 64).view(1, 4, 4, 4).requires_grad_()
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16, :] = 1
    per_sample_loss(prediction, torch.zeros(1, 4, 4, 4), Loss(), timesteps=torch.tensor([1]), schedule=SCHEDULE, mask=mask).sum().backward()
    assert prediction.grad is not None
    assert bool((prediction.grad[:, :, :2] != 0).any()) and bool((prediction.grad[:, :, 2:] == 0).all())


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_p2_is_its_formula_and_the_same_objective_for_both_predictions(prediction):
    alpha = SCHEDULE.alphas_cumprod[TIMESTEPS]
    snr = alpha / (1 - alpha)
    weights = snr_weights(TIMESTEPS, SCHEDULE, SNRWeight(p2_gamma=0.5, p2_k=2.0), prediction=prediction)
    on_noise = 1 / (2 + snr).sqrt()
    torch.testing.assert_close(weights, on_noise if prediction == "epsilon" else on_noise * alpha)  # an error of v is that of noise over √ᾱ
    assert snr_weights(TIMESTEPS, SCHEDULE, SNRWeight(p2_gamma=0.0), prediction=prediction).tolist() == [1.0] * len(TIMESTEPS)


def test_weights_of_regularisation_are_the_recorded_ones():
    losses = (0.4 * torch.arange(4.0)).cos().abs() * torch.tensor(LOSS["prior"]["loss_weights"])
    torch.testing.assert_close(losses, torch.tensor(LOSS["prior"]["weighted"]), rtol=1e-5, atol=1e-7)
    assert float(losses.sum() / 4) == pytest.approx(LOSS["prior"]["batch_loss"], rel=1e-5)


def test_a_mask_multiplies_by_its_area_and_is_not_renormalised():
    root = wave(torch.sin, 32, step=0.5).view(2, 1, 4, 4)
    rows = torch.zeros(16, 16)
    rows[:8] = 1
    mask = torch.stack([rows, torch.arange(256.0).view(16, 16) / 255])[:, None]
    per_item = per_sample_loss(root, torch.zeros_like(root), Loss(), timesteps=torch.tensor([1, 2]), schedule=SCHEDULE, mask=mask)
    torch.testing.assert_close(per_item, torch.tensor(LOSS["masked"]["alpha_masks"]["per_item_mean"]), rtol=1e-5, atol=1e-7)
