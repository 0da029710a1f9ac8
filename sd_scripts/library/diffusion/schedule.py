"""The DDPM noise schedule of Stable Diffusion, and its zero-terminal-SNR form. How noise is added with it lives in noise.py."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TRAIN_TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """Variance per timestep: `betas` and `alphas_cumprod`, both (1000,), float32, on the CPU; timestep 0 is almost clean."""

    betas: Tensor
    alphas_cumprod: Tensor

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio ᾱ/(1 − ᾱ), (1000,), float32; 0 at the end of a zero-terminal-SNR schedule."""
        return self.alphas_cumprod / (1 - self.alphas_cumprod)


def ddpm_schedule(*, zero_terminal_snr: bool = False) -> NoiseSchedule:
    """Stable Diffusion's schedule: β from 0.00085 to 0.012, linear in its square root, 1000 steps.

    With `zero_terminal_snr` the last timestep is pure noise (`rescale_zero_terminal_snr`).

    Source: Rombach et al. 2022, arXiv:2112.10752, "scaled linear" schedule of the published configurations.
    """
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_TIMESTEPS, dtype=torch.float32) ** 2
    schedule = NoiseSchedule(betas, torch.cumprod(1 - betas, dim=0))
    return rescale_zero_terminal_snr(schedule) if zero_terminal_snr else schedule


def rescale_zero_terminal_snr(schedule: NoiseSchedule) -> NoiseSchedule:
    """Shift and scale √ᾱ so that its last value is 0 and its first stays.

    Source: Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are Flawed", arXiv:2305.08891, algorithm 1.
    """
    root = schedule.alphas_cumprod.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    root = (root - last) * (first / (first - last))
    alphas_cumprod = root**2
    alphas = torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])
    return NoiseSchedule(1 - alphas, alphas_cumprod)
