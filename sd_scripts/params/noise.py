"""Options: the noise that is added, and which timesteps are trained."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Noise")
class NoiseDDPM:
    """The noise that is added: only for DDPM families."""

    noise_offset: float | None = param(
        None,
        "Also shift the brightness of the noise, so that very dark and very bright pictures can be learned. 0.05 to 0.1 is usual; 0 or empty is off.",
        min=0,
        max=1,
        step=0.01,
    )
    noise_offset_random_strength: bool = param(
        False, "Vary that shift from 0 to its value.", label="Random offset strength", when={"noise_offset": True}
    )
    adaptive_noise_scale: float | None = param(
        None,
        "Add this times the picture's mean brightness to the noise offset.",
        label="Adaptive noise scale",
        min=-1,
        max=1,
        step=0.001,
        when={"noise_offset": True},
    )
    multires_noise_iterations: int | None = param(
        None,
        "Mix noise of this many sizes, another way to learn dark and bright. 6 to 10 is usual; 0 or empty is off.",
        label="Multires noise: sizes",
        min=0,
        max=64,
        step=1,
    )
    multires_noise_discount: float = param(
        0.3,
        "How much each coarser size counts: 0.8 is strong, 0.3 suits few pictures. 0 means 0.3.",
        label="Multires noise: discount",
        min=0,
        max=1,
        step=0.05,
        when={"multires_noise_iterations": True},
    )
    ip_noise_gamma: float | None = param(
        None,
        "Disturb the noise that the model sees but not the target, which makes it forgive its own errors. 0.1 is usual; 0 or empty is off.",
        label="Input perturbation",
        min=0,
        max=1,
        step=0.01,
    )
    ip_noise_gamma_random_strength: bool = param(
        False, "Vary that disturbance from 0 to its value.", label="Random perturbation", when={"ip_noise_gamma": True}
    )
    zero_terminal_snr: bool = param(
        False,
        "Let the last timestep be pure noise, for true black and white. For v-prediction models that were trained so.",
        label="Zero terminal SNR",
    )


@section("Timesteps")
class Timesteps:
    """Which noise levels are trained."""

    min_timestep: int | None = param(
        None, "Lowest timestep trained, from 0. Higher leaves fine detail as it is.", label="Lowest timestep", min=0, max=999, step=10
    )
    max_timestep: int | None = param(
        None, "Timesteps below this are trained, up to 1000. Lower leaves composition as it is.", label="Highest timestep", min=1, max=1000, step=10
    )
    timestep_curve: Literal["uniform", "logit_normal", "low_noise", "high_noise", "cosmap"] = param(
        "uniform",
        "How often each of these timesteps is drawn. low_noise favours fine detail, high_noise composition, logit_normal and cosmap the middle.",
        label="Timestep curve",
        own=True,
    )
    timestep_curve_mean: float = param(
        0.0,
        "Where logit_normal has its middle: below 0 towards fine detail, above 0 towards composition.",
        label="Curve: middle",
        step=0.1,
        own=True,
        when={"timestep_curve": "logit_normal"},
    )
    timestep_curve_std: float = param(
        1.0,
        "How wide logit_normal is: smaller keeps closer to its middle.",
        label="Curve: width",
        min=0,
        exclusive_min=True,
        step=0.1,
        own=True,
        when={"timestep_curve": "logit_normal"},
    )
    timestep_curve_power: float = param(
        1.0,
        "How strongly low_noise and high_noise favour their end; 0 is even.",
        label="Curve: strength",
        min=0,
        max=20,
        step=0.5,
        own=True,
        when={"timestep_curve": ("low_noise", "high_noise")},
    )
