"""kohya's sampler names: timesteps and noise levels as recorded, and every one of them solves a problem with a known answer."""

import json

import pytest
import torch

from sd_scripts.errors import ConfigError
from sd_scripts.library.diffusion.samplers import SAMPLERS, build_sampler
from sd_scripts.params.samples import Samples
from sd_scripts.params.spec import section_of
from tests.tiny_models import GOLDEN

RECORDED = json.loads((GOLDEN / "schedules.json").read_text("utf-8"))["preview_schedulers"]
# The reference program cannot build it with today's diffusers; here it works.
RUNNING = [name for name, case in RECORDED.items() if "raises" not in case]
DETERMINISTIC = [name for name in SAMPLERS if not name.endswith("_a") and not name.startswith("k_")]


def test_every_choice_of_the_option_is_a_sampler():
    assert set(section_of(Samples).param("sample_sampler").choices) == set(SAMPLERS)


@pytest.mark.parametrize("name", RUNNING)
def test_ten_steps_are_the_recorded_ones(name):
    sampler, recorded = build_sampler(name, prediction="epsilon"), RECORDED[name]
    sampler.set_timesteps(10)
    torch.testing.assert_close(sampler.timesteps.double(), torch.tensor(recorded["timesteps_10"]).double(), atol=1e-4, rtol=1e-5)
    assert float(sampler.init_noise_sigma) == pytest.approx(recorded["init_noise_sigma"], rel=1e-6)
    if "sigmas_10" in recorded:
        torch.testing.assert_close(sampler.sigmas.double(), torch.tensor(recorded["sigmas_10"]).double(), atol=1e-5, rtol=1e-5)


def sample(name, prediction, *, steps=20):
    """Draw from a model that knows its one picture, 0.5 everywhere."""
    sampler = build_sampler(name, prediction=prediction)
    sampler.set_timesteps(steps)
    start = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    latents = start * sampler.init_noise_sigma
    for timestep in sampler.timesteps:
        scaled = sampler.scale_model_input(latents, timestep)
        index = timestep.double().clamp(0, 999)
        low, high = sampler.alphas_cumprod[int(index.floor())], sampler.alphas_cumprod[int(index.ceil())]
        alpha = torch.exp(torch.lerp(low.log(), high.log(), float(index - index.floor())))
        noise = (scaled - alpha.sqrt() * 0.5) / (1 - alpha).sqrt()
        model_pred = noise if prediction == "epsilon" else alpha.sqrt() * noise - (1 - alpha).sqrt() * 0.5
        latents = sampler.step(model_pred.float(), timestep, latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_perfect_model_is_sampled_to_its_picture(name, prediction):
    torch.testing.assert_close(sample(name, prediction), torch.full((1, 4, 4, 4), 0.5), atol=0.1, rtol=0)


def test_linear_multistep_integrates_a_cubic_derivative_exactly():
    sampler = build_sampler("lms", prediction="epsilon")
    sampler.set_timesteps(8)
    position = torch.zeros(1, dtype=torch.float64)
    exact = [sigma**4 / 4 for sigma in sampler.sigmas.double()]
    for index, timestep in enumerate(sampler.timesteps):
        if index == 3:  # from here on, four points are known
            position = exact[3].view(1)
        position = sampler.step(sampler.sigmas[index].double().view(1) ** 3, timestep, position, return_dict=False)[0]
    torch.testing.assert_close(position[0], exact[-1], atol=1e-6 * float(exact[3]), rtol=0)


def test_an_unknown_sampler_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no sampler 'magic'.*euler_a"):
        build_sampler("magic", prediction="epsilon")
