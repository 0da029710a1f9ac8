"""Options: the distance between prediction and target, and how much each timestep counts."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Loss")
class Loss:
    """Distance between prediction and target."""

    loss_type: Literal["l1", "l2", "huber", "smooth_l1"] = param(
        "l2", "How errors are measured. l2 is the usual; huber and smooth_l1 forgive outliers, which helps with pictures of mixed quality."
    )
    huber_schedule: Literal["constant", "exponential", "snr"] = param(
        "snr", "How huber's threshold changes with the noise level.", when={"loss_type": ("huber", "smooth_l1")}
    )
    huber_c: float = param(
        0.1,
        "Error at which huber turns from squared to linear: smaller forgives more.",
        label="Huber threshold",
        min=0,
        exclusive_min=True,
        step=0.01,
        when={"loss_type": ("huber", "smooth_l1")},
    )
    huber_scale: float = param(1.0, "Factor on that threshold.", min=0, exclusive_min=True, step=0.1, when={"loss_type": ("huber", "smooth_l1")})


@section("SNR weighting")
class SNRWeight:
    """Weight of each timestep by its signal-to-noise ratio: only for families that have one."""

    min_snr_gamma: float | None = param(
        None,
        "Let steps with little noise count less, so that learning is steadier. 5 is the paper's value, 0 or empty is off.",
        label="Min-SNR gamma",
        min=0,
        max=20,
        step=0.5,
    )
    debiased_estimation_loss: bool = param(
        False, "Weight timesteps so that each counts alike for the final picture. An alternative to min-SNR.", label="Debiased loss"
    )
    p2_gamma: float | None = param(
        None,
        "Weight each timestep by 1/(p2_k + SNR) to this power, so that noisy steps, which decide what is seen, count more. 1 is the paper's value; "
        "0 or empty is off.",
        label="P2 gamma",
        min=0,
        max=5,
        step=0.1,
        own=True,
    )
    p2_k: float = param(
        1.0,
        "What P2 weighting adds to the SNR: smaller favours the noisiest steps more.",
        label="P2 k",
        min=0,
        exclusive_min=True,
        step=0.1,
        own=True,
        when={"p2_gamma": True},
    )
    scale_v_pred_loss_like_noise_pred: bool = param(
        False,
        "Weight the loss of a v-prediction model as that of a noise-prediction one.",
        label="Weight v like noise",
    )
    v_pred_like_loss: float | None = param(
        None,
        "Add this much of a v-prediction loss to a noise-prediction model's.",
        label="V-like loss",
        min=0,
        step=0.1,
    )
