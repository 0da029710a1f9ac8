"""Noise for DDPM families: the draw with its options, diffusing latents, the velocity target, timesteps. Losses live in loss.py."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sd_scripts.library.diffusion.draws import Draws, randn_per_item
from sd_scripts.library.transfer import to_device
from sd_scripts.params.noise import NoiseDDPM, Timesteps
from sd_scripts.survey.timestep_curves import timestep_at, timestep_range

DEFAULT_MULTIRES_DISCOUNT = 0.3


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Diffuse clean latents to their timesteps: √ᾱ · latents + √(1 − ᾱ) · noise.

    Args:
        latents: clean latents times the VAE's scale, (batch, channels, height/8, width/8), any float dtype, variance near 1.
        noise: standard normal, same shape and device. Offsets and multi-resolution noise are already in it.
        timesteps: (batch,), int64, in [0, steps); 0 is almost clean.
        alphas_cumprod: ᾱ of the whole schedule, (steps,), float32, falling from just below 1 (0 at the end with zero terminal SNR).

    Returns:
        Noisy latents with shape, dtype and device of `latents`. Factors and sum are float32; one rounding at the end.

    Raises:
        ValueError: latents and noise differ in shape, which would broadcast in silence.

    Source: Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239, equation 4.
    """
    signal, spread = _factors(latents, noise, timesteps, alphas_cumprod)
    return (signal * latents.float() + spread * noise.float()).to(latents.dtype)


def velocity(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """What a v-prediction model is to return: √ᾱ · noise − √(1 − ᾱ) · latents. Arguments, dtype and errors as for `add_noise`.

    Source: Salimans and Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models", arXiv:2202.00512, appendix D.
    """
    signal, spread = _factors(latents, noise, timesteps, alphas_cumprod)
    return (signal * noise.float() - spread * latents.float()).to(latents.dtype)


def _factors(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
    if latents.shape != noise.shape:
        raise ValueError(f"latents {tuple(latents.shape)} and noise {tuple(noise.shape)} differ in shape")
    alpha = alphas_cumprod.to(latents.device)[timesteps.to(latents.device)].view(-1, 1, 1, 1)
    return alpha.sqrt(), (1 - alpha).sqrt()


def offset_noise(noise: Tensor, gauss: Tensor, offset: float | Tensor) -> Tensor:
    """Shift whole channels of the noise, so that overall brightness is learned: noise + offset · gauss.

    Args:
        noise: (batch, channels, height, width).
        gauss: standard normal, (batch, channels, 1, 1).
        offset: strength; a number, or broadcastable to `gauss`.

    Source: Guttenberg 2023, "Diffusion with Offset Noise" (crosslabs.org).
    """
    return noise + offset * gauss


def adaptive_offset(latents: Tensor, offset: float | Tensor, scale: float) -> Tensor:
    """Offset per channel that follows the latents' own mean: max(0, offset + scale · |mean|), (batch, channels, 1, 1)."""
    return (offset + scale * latents.mean(dim=(2, 3), keepdim=True).abs()).clamp(min=0)


def multires_noise(noise: Tensor, ratios: list[float], discount: float, generator: torch.Generator) -> Tensor:
    """Add noise drawn at coarser and coarser sizes, and divide by the standard deviation of the whole tensor.

    Args:
        noise: (batch, channels, height, width), float32.
        ratios: one per level i, in [2, 4): the level's sides are the full ones divided by ratio**i (at least 1).
            A level with a side of 1 is the last.
        discount: level i counts discount**i.
        generator: draws the coarse noise, CPU.

    Source: Whitaker 2023, "Multi-Resolution Noise for Diffusion Model Training" (wandb.ai/johnowhitaker).
    """
    height, width = noise.shape[-2:]
    total = noise
    for level, ratio in enumerate(ratios):
        size = max(1, int(height / ratio**level)), max(1, int(width / ratio**level))
        coarse = torch.randn((*noise.shape[:2], *size), generator=generator)
        total = total + functional.interpolate(coarse.to(noise.device), size=(height, width), mode="bilinear") * discount**level
        if 1 in size:
            break
    return total / total.std()


def draw_noise(latents: Tensor, config: NoiseDDPM, draws: Draws) -> Tensor:
    """Noise of one micro-batch with its options, (batch, channels, height, width), float32 on the latents' device.

    Multi-resolution noise is normalised per item, so that a batch's split over processes does not change it. The random strength of the offset
    is one number for the whole batch.
    """
    shape = latents.shape[1:]
    noise = randn_per_item(draws.items("noise"), shape)
    if config.noise_offset:
        offset = config.noise_offset
        if config.noise_offset_random_strength:
            offset = offset * float(torch.rand(1, generator=draws.batch("noise_offset_strength")))
        gauss = randn_per_item(draws.items("noise_offset"), (shape[0], 1, 1))
        scale = config.adaptive_noise_scale
        noise = offset_noise(noise, gauss, adaptive_offset(latents.float().cpu(), offset, scale) if scale else offset)
    if config.multires_noise_iterations:
        noise = _multires_items(noise, config, draws)
    return to_device(noise, latents.device)


def _multires_items(noise: Tensor, config: NoiseDDPM, draws: Draws) -> Tensor:
    discount = config.multires_noise_discount or DEFAULT_MULTIRES_DISCOUNT
    generator = draws.batch("multires_ratio")
    ratios = [2 + 2 * float(torch.rand(1, generator=generator)) for _ in range(config.multires_noise_iterations or 0)]
    items = zip(noise, draws.items("multires"), strict=True)
    return torch.cat([multires_noise(item[None], ratios, discount, item_generator) for item, item_generator in items])


def perturb_input(noise: Tensor, config: NoiseDDPM, draws: Draws) -> Tensor:
    """Noise for the model's input only, perturbed by `ip_noise_gamma`; the target keeps the original. Same shape and device.

    Source: Ning et al. 2023, "Input Perturbation Reduces Exposure Bias in Diffusion Models", arXiv:2301.11706, algorithm 1.
    """
    gamma = config.ip_noise_gamma
    if not gamma:
        return noise
    if config.ip_noise_gamma_random_strength:
        gamma = gamma * float(torch.rand(1, generator=draws.batch("ip_noise_strength")))
    return noise + gamma * to_device(randn_per_item(draws.items("ip_noise"), noise.shape[1:]), noise.device)


def draw_timesteps(config: Timesteps, draws: Draws) -> Tensor:
    """A timestep per item in [min_timestep, max_timestep), drawn evenly or by `timestep_curve`: (batch,), int64, on the CPU."""
    generators = draws.items("timesteps")
    if config.timestep_curve == "uniform":
        low, high = timestep_range(config)
        return torch.cat([torch.randint(low, high, (1,), generator=generator) for generator in generators])
    uniform = [float(torch.rand(1, generator=generator, dtype=torch.float64)) for generator in generators]
    return torch.tensor([timestep_at(config, number) for number in uniform], dtype=torch.int64)
