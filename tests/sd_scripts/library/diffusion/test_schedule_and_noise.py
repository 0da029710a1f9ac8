"""Schedule and noise against numbers recorded from the ecosystem's trainer, and against their definitions."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.diffusion.noise import (
    adaptive_offset,
    add_noise,
    draw_noise,
    draw_timesteps,
    multires_noise,
    offset_noise,
    perturb_input,
    velocity,
)
from sd_scripts.library.diffusion.schedule import ddpm_schedule
from sd_scripts.params.noise import NoiseDDPM, Timesteps
from sd_scripts.survey.timestep_curves import timestep_range, timestep_shares

GOLDEN = Path(__file__).parents[3] / "golden"
SCHEDULES = json.loads((GOLDEN / "schedules.json").read_text("utf-8"))
LOSS = json.loads((GOLDEN / "loss.json").read_text("utf-8"))
DRAWS = Draws(seed=3, epoch=1, step=7, indices=(0, 1))
LATENTS = torch.sin(0.01 * torch.arange(2 * 4 * 8 * 8, dtype=torch.float64)).float().view(2, 4, 8, 8)


def close(actual: torch.Tensor, expected: list[float], rtol: float = 1e-5) -> None:
    torch.testing.assert_close(actual.flatten(), torch.tensor(expected), rtol=rtol, atol=1e-7)


@pytest.mark.parametrize(("name", "zero"), [("ddpm", False), ("zero_terminal_snr", True)])
def test_the_schedule_is_the_recorded_one(name, zero):
    schedule, recorded = ddpm_schedule(zero_terminal_snr=zero), SCHEDULES[name]
    at = torch.tensor(recorded["timesteps"])
    rounding = 3e-6 if zero else 1e-9  # 1 − ᾱ(t)/ᾱ(t−1) in float32: the order of operations shows in the last bits
    torch.testing.assert_close(schedule.betas[at], torch.tensor(recorded["betas"]), rtol=1e-5, atol=rounding)
    close(schedule.alphas_cumprod[at], recorded["alphas_cumprod"])


@pytest.mark.parametrize(("suffix", "zero"), [("", False), ("_zero_snr", True)])
def test_noisy_latents_and_velocity_are_the_recorded_ones(suffix, zero):
    recorded, schedule = SCHEDULES["add_noise"], ddpm_schedule(zero_terminal_snr=zero)
    latents = torch.sin(torch.arange(8.0)).view(2, 1, 2, 2)
    noise = torch.cos(torch.arange(8.0)).view(2, 1, 2, 2)
    timesteps = torch.tensor(recorded["timesteps" + suffix])
    close(add_noise(latents, noise, timesteps, schedule.alphas_cumprod), recorded["noisy" + suffix])
    close(velocity(latents, noise, timesteps, schedule.alphas_cumprod), recorded["velocity" + suffix])


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        add_noise(torch.zeros(2, 4, 8, 8), torch.zeros(1, 4, 8, 8), torch.tensor([1, 2]), ddpm_schedule().alphas_cumprod)


@pytest.mark.parametrize("case", ["offset 0.1", "offset 0.05 adaptive 0.5", "offset 0.05 adaptive -10 (clamped)"])
def test_offset_noise_is_the_recorded_one(case):
    recorded = LOSS["noise"][case]
    gauss = torch.tensor(recorded["gauss_2x4"]).view(2, 4, 1, 1)
    words = case.split()
    offset = adaptive_offset(LATENTS, float(words[1]), float(words[3])) if "adaptive" in case else float(words[1])
    close(offset_noise(torch.zeros(2, 4, 8, 8), gauss, offset)[:, :, 0, 0], recorded["per_channel_result"])


@pytest.mark.parametrize("case", [name for name in LOSS["noise"] if name.startswith("multires")])
def test_multires_noise_is_the_recorded_one(case):
    recorded = LOSS["noise"][case]
    words = case.split()
    generator = torch.Generator().manual_seed(recorded["torch_seed"])
    strengths = random.Random(recorded["python_seed"])
    shape = (1, 4, 64, 64) if "1,4,64,64" in case else (2, 4, 8, 8)
    ratios = [2 + 2 * strengths.random() for _ in range(int(words[words.index("iterations") + 1]))]
    noise = multires_noise(torch.randn(shape, generator=generator), ratios, float(words[-1]), generator)
    close(noise.flatten()[:8], recorded["first8"])
    assert float(noise.abs().sum()) == pytest.approx(recorded["sum_abs"], rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"noise_offset": 0.1},
        {"noise_offset": 0.1, "noise_offset_random_strength": True, "adaptive_noise_scale": 0.2},
        {"multires_noise_iterations": 6, "multires_noise_discount": 0.8},
    ],
)
def test_noise_does_not_depend_on_how_a_batch_is_split(options):
    config = NoiseDDPM(**options)
    whole = draw_noise(LATENTS, config, DRAWS)
    halves = [draw_noise(LATENTS[i : i + 1], config, Draws(seed=3, epoch=1, step=7, indices=(i,))) for i in (0, 1)]
    torch.testing.assert_close(whole, torch.cat(halves))
    assert not torch.equal(whole, draw_noise(LATENTS, NoiseDDPM(), DRAWS))


def test_input_perturbation_adds_independent_noise_of_its_strength():
    noise = torch.zeros(2, 4, 64, 64)
    assert perturb_input(noise, NoiseDDPM(), DRAWS) is noise
    assert float(perturb_input(noise, NoiseDDPM(ip_noise_gamma=0.1), DRAWS).std()) == pytest.approx(0.1, rel=0.02)
    weaker = perturb_input(noise, NoiseDDPM(ip_noise_gamma=0.1, ip_noise_gamma_random_strength=True), DRAWS)
    assert 0 < float(weaker.std()) < 0.1


@given(low=st.integers(0, 999), width=st.integers(1, 1000), seed=st.integers(0, 2**32))
def test_timesteps_stay_in_their_range(low, width, seed):
    high = min(1000, low + width)
    drawn = draw_timesteps(Timesteps(min_timestep=low, max_timestep=high), Draws(seed=seed, epoch=0, step=0, indices=(0, 1, 2)))
    assert drawn.dtype == torch.int64
    assert bool(((drawn >= low) & (drawn < high)).all())


def test_timesteps_cover_the_whole_schedule_evenly():
    drawn = draw_timesteps(Timesteps(), Draws(seed=0, epoch=0, step=0, indices=tuple(range(4000))))
    assert (int(drawn.min()) < 5, int(drawn.max()) > 994) == (True, True)
    assert float(drawn.float().mean()) == pytest.approx(499.5, abs=15)


@pytest.mark.parametrize("case", LOSS["sampler"], ids=lambda case: "+".join(case["options"]) or "plain")
def test_whole_draws_have_the_recorded_statistics(case):
    """The reference program draws in another order, so its numbers are a sample of the same distribution: spread of the noise, and timestep range."""
    names = {field.name for field in dataclasses.fields(Timesteps)}
    timesteps = Timesteps(**{name: value for name, value in case["options"].items() if name in names})
    noise_options = NoiseDDPM(**{name: value for name, value in case["options"].items() if name not in names})
    noise = draw_noise(LATENTS.repeat(50, 1, 1, 1), noise_options, Draws(seed=3, epoch=1, step=7, indices=tuple(range(100))))
    assert float(noise.std()) == pytest.approx(case["noise"]["std"], abs=0.1)
    low, high = case["timestep_range_of_5000"]
    drawn = draw_timesteps(timesteps, Draws(seed=1, epoch=0, step=0, indices=tuple(range(2000))))
    assert (int(drawn.min()), int(drawn.max())) == (pytest.approx(low, abs=5), pytest.approx(high, abs=5))
    assert low <= int(drawn.min()) and int(drawn.max()) <= high


CURVES = [
    Timesteps(timestep_curve="logit_normal", timestep_curve_mean=0.5, timestep_curve_std=0.8),
    Timesteps(timestep_curve="low_noise", timestep_curve_power=2.0, min_timestep=100, max_timestep=900),
    Timesteps(timestep_curve="high_noise", timestep_curve_power=0.5),
    Timesteps(timestep_curve="cosmap"),
    Timesteps(min_timestep=200, max_timestep=600),
]


@pytest.mark.parametrize("config", CURVES, ids=lambda config: config.timestep_curve)
def test_timesteps_are_drawn_as_often_as_the_preview_shows(config):
    low, high = timestep_range(config)
    drawn = draw_timesteps(config, Draws(seed=2, epoch=0, step=0, indices=tuple(range(6000))))
    seen = torch.histc(drawn.float(), bins=8, min=low, max=high) / len(drawn)
    shown = torch.tensor([share for _, share in timestep_shares(config, 8)])
    assert float(shown.sum()) == pytest.approx(1)
    torch.testing.assert_close(seen, shown, atol=0.025, rtol=0)
