"""Distance between prediction and target, and how much each timestep counts. Where the prediction comes from lives in the families."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from sd_scripts.library.diffusion.schedule import NoiseSchedule
from sd_scripts.params.loss import Loss, SNRWeight

Prediction = Literal["epsilon", "v"]
MAX_SNR = 1000.0
"""Cap that keeps the first timesteps' weights finite in half precision, as in the ecosystem's debiased and v-scaling weights."""


def min_snr_weight(snr: Tensor, gamma: float, *, prediction: Prediction) -> Tensor:
    """Weight per sample that keeps low-noise timesteps from dominating the loss.

    Args:
        snr: signal-to-noise ratio ᾱ/(1 − ᾱ) at each sample's timestep, (batch,), float32, in [0, ∞).
        gamma: the cap, above 0; the paper uses 5.
        prediction: what the model predicts. "v" is velocity, √ᾱ·noise − √(1 − ᾱ)·latents.

    Returns:
        (batch,), float32. epsilon: in (0, 1], 1 where snr ≤ gamma. v: in [0, gamma/(gamma + 1)].

    Raises:
        ValueError: gamma is not above 0.

    Source: Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", arXiv:2303.09556: min(SNR, γ) on the loss of
    x0. An epsilon loss is SNR times that one and a v loss SNR + 1 times, hence the divisors.
    """
    if gamma <= 0:
        raise ValueError(f"gamma must be above 0, got {gamma}")
    if prediction == "epsilon":
        return torch.clamp(gamma / snr, max=1.0)  # min(snr, gamma) / snr, without 0/0 at snr = 0
    return torch.clamp(snr, max=gamma) / (snr + 1.0)


def v_scale(snr: Tensor) -> Tensor:
    """snr/(snr + 1), the factor that makes a v loss count like a noise loss, (batch,); snr is capped at 1000."""
    capped = snr.clamp(max=MAX_SNR)
    return capped / (capped + 1)


def debiased_weight(snr: Tensor, *, prediction: Prediction) -> Tensor:
    """1/√snr for epsilon, 1/(snr + 1) for v, (batch,); snr is capped at 1000.

    Source: Yu et al. 2024, "Unmasking Bias in Diffusion Model Training", arXiv:2310.08442.
    """
    capped = snr.clamp(max=MAX_SNR)
    return 1 / (capped + 1) if prediction == "v" else 1 / capped.sqrt()


def p2_weight(snr: Tensor, gamma: float, k: float, *, prediction: Prediction) -> Tensor:
    """1/(k + snr)^gamma on a noise loss, (batch,), float32, finite for k above 0; a v loss gets the same objective by snr/(snr + 1) times that.

    Source: Choi et al. 2022, "Perception Prioritized Training of Diffusion Models", arXiv:2204.00227, equation 8.
    """
    weight = (k + snr) ** -gamma
    return weight * snr / (snr + 1) if prediction == "v" else weight


def snr_weights(timesteps: Tensor, schedule: NoiseSchedule, config: SNRWeight, *, prediction: Prediction) -> Tensor:
    """All weights by signal-to-noise ratio that are switched on, multiplied: (batch,), float32, on the timesteps' device.

    0 and None mean off. The SNR is that of the schedule in use, so after zero-terminal-SNR rescaling.
    """
    snr = schedule.snr.to(timesteps.device)[timesteps]
    weights = torch.ones_like(snr)
    if config.min_snr_gamma:
        weights = weights * min_snr_weight(snr, config.min_snr_gamma, prediction=prediction)
    if config.scale_v_pred_loss_like_noise_pred:
        weights = weights * v_scale(snr)
    if config.v_pred_like_loss:
        weights = weights * (1 + config.v_pred_like_loss / v_scale(snr))
    if config.debiased_estimation_loss:
        weights = weights * debiased_weight(snr, prediction=prediction)
    if config.p2_gamma:
        weights = weights * p2_weight(snr, config.p2_gamma, config.p2_k, prediction=prediction)
    return weights


def huber_threshold(timesteps: Tensor, config: Loss, schedule: NoiseSchedule | None) -> Tensor:
    """Error at which the Huber losses turn from squared to linear, per sample, (batch,), float32.

    constant: huber_c. exponential: falls from 1 to huber_c over the timesteps. snr: (1 − c)/(1 + σ)² + c with σ = √((1 − ᾱ)/ᾱ).
    Each times huber_scale.

    Raises:
        ValueError: schedule "snr" for a family that has none (`schedule` is None).
    """
    if config.huber_schedule == "constant":
        threshold = torch.full(timesteps.shape, config.huber_c, dtype=torch.float32, device=timesteps.device)
    elif config.huber_schedule == "exponential":
        threshold = torch.exp(math.log(config.huber_c) / 1000 * timesteps.float())
    elif schedule is not None:
        alpha = schedule.alphas_cumprod.to(timesteps.device)[timesteps]
        sigmas = ((1 - alpha) / alpha).sqrt()
        threshold = (1 - config.huber_c) / (1 + sigmas) ** 2 + config.huber_c
    else:
        raise ValueError("huber_schedule snr needs a schedule with a signal-to-noise ratio")
    return threshold * config.huber_scale


def elementwise_loss(model_pred: Tensor, target: Tensor, config: Loss, threshold: Tensor | None) -> Tensor:
    """Distance per element, float32, shape of `model_pred`. `threshold` (batch,) is needed by huber and smooth_l1 alone.

    huber is 2c(√(d² + c²) − c), smooth_l1 2(√(d² + c²) − c): the pseudo-Huber forms of Charbonnier et al. 1997.
    """
    difference = model_pred.float() - target.float()
    if config.loss_type == "l2":
        return difference**2
    if config.loss_type == "l1":
        return difference.abs()
    if threshold is None:
        raise ValueError(f"loss_type {config.loss_type} needs a threshold")
    c = threshold.view(-1, *[1] * (model_pred.ndim - 1))
    distance = 2 * ((difference**2 + c**2).sqrt() - c)
    return c * distance if config.loss_type == "huber" else distance


def per_sample_loss(
    model_pred: Tensor, target: Tensor, config: Loss, *, timesteps: Tensor, schedule: NoiseSchedule | None, mask: Tensor | None = None
) -> Tensor:
    """Mean distance of each sample, (batch,), float32; timestep and prior weights are not in it yet.

    Args:
        model_pred: what the model returned, (batch, channels, height, width), any float dtype.
        target: what it should have returned, same shape.
        config: loss_type and the huber options.
        timesteps: (batch,), int64 (DDPM) or float 0…1000 (flow).
        schedule: for huber_schedule snr; None for flow models.
        mask: (batch, 1, height, width) at any size, in [0, 1]; resized by area. The mean is not renormalised: masked parts count as 0.
    """
    huber = config.loss_type in ("huber", "smooth_l1")
    loss = elementwise_loss(model_pred, target, config, huber_threshold(timesteps, config, schedule) if huber else None)
    if mask is not None:
        loss = loss * functional.interpolate(mask.float(), size=loss.shape[-2:], mode="area")
    return loss.flatten(1).mean(dim=1)
