"""kohya's sampler names as diffusers schedulers on Stable Diffusion's noise schedule. The sampling loop is in training/preview.py."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_dpmsolver_singlestep import DPMSolverSinglestepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler, EulerDiscreteSchedulerOutput
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler
from diffusers.schedulers.scheduling_k_dpm_2_ancestral_discrete import KDPM2AncestralDiscreteScheduler
from diffusers.schedulers.scheduling_k_dpm_2_discrete import KDPM2DiscreteScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from torch import Tensor

from sd_scripts.errors import ConfigError
from sd_scripts.library.diffusion.schedule import BETA_END, BETA_START, TRAIN_TIMESTEPS

LMS_ORDER = 4
FEWEST_STEPS: Mapping[str, int] = {"pndm": 4}
"""PNDM starts with Runge-Kutta steps and needs four; the others work from one step on."""


class LinearMultistepScheduler(EulerDiscreteScheduler):
    """K-LMS: Euler's noise levels, with the derivative extrapolated through the last four points. diffusers' own needs scipy, a polynomial does not.

    Source: Karras et al. 2022, arXiv:2206.00364, section 3 (the ODE in σ), with Adams-Bashforth coefficients for uneven steps.
    """

    def set_timesteps(self, *arguments: Any, **settings: Any) -> None:
        """As the base class; forgets the derivatives of an earlier picture."""
        super().set_timesteps(*arguments, **settings)
        self._derivatives: list[Tensor] = []

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, *_: Any, return_dict: bool = True, **__: Any) -> Any:
        """From the noise level of `timestep` to the next lower one; `sample` in units of the noise level, any float dtype."""
        if self.step_index is None:
            self._init_step_index(timestep)
        index = self.step_index
        sigma = self.sigmas[index]
        if self.config["prediction_type"] == "epsilon":
            derivative = model_output
            denoised = sample - sigma * model_output
        else:
            denoised = model_output * (-sigma / (sigma**2 + 1) ** 0.5) + sample / (sigma**2 + 1)
            derivative = (sample - denoised) / sigma
        self._derivatives = [derivative, *self._derivatives[: LMS_ORDER - 1]]
        coefficients = _lms_coefficients(self.sigmas.double().cpu().numpy(), index, len(self._derivatives))
        previous = sample + sum(factor * past for factor, past in zip(coefficients, self._derivatives, strict=True))
        self._step_index = index + 1
        return EulerDiscreteSchedulerOutput(previous, denoised) if return_dict else (previous, denoised)


def _lms_coefficients(sigmas: np.ndarray, index: int, order: int) -> list[float]:
    """Integrals from σ[index] to σ[index + 1] of the Lagrange polynomials through the last `order` levels, newest first."""
    known = [sigmas[index - back] for back in range(order)]
    coefficients = []
    for own in known:
        others = [other for other in known if other != own]
        polynomial = np.poly1d(np.poly(others)) / np.prod([own - other for other in others]) if others else np.poly1d([1.0])
        integral = polynomial.integ()
        coefficients.append(float(integral(sigmas[index + 1]) - integral(sigmas[index])))
    return coefficients


@dataclass(frozen=True, slots=True)
class _Sampler:
    scheduler: type
    settings: Mapping[str, Any] = field(default_factory=dict)


# Latents are not pictures: clipping them to [-1, 1], DDIM's default, would cost contrast.
_LATENTS = {"clip_sample": False}
_EULER, _EULER_A = _Sampler(EulerDiscreteScheduler), _Sampler(EulerAncestralDiscreteScheduler)
_LMS, _DPM_2, _DPM_2_A = _Sampler(LinearMultistepScheduler), _Sampler(KDPM2DiscreteScheduler), _Sampler(KDPM2AncestralDiscreteScheduler)
SAMPLERS: Mapping[str, _Sampler] = {
    "ddim": _Sampler(DDIMScheduler, _LATENTS),
    "pndm": _Sampler(PNDMScheduler),
    "lms": _LMS,
    "euler": _EULER,
    "euler_a": _EULER_A,
    "heun": _Sampler(HeunDiscreteScheduler, _LATENTS),
    "dpm_2": _DPM_2,
    "dpm_2_a": _DPM_2_A,
    "dpmsolver": _Sampler(DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    "dpmsolver++": _Sampler(DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "dpmsingle": _Sampler(DPMSolverSinglestepScheduler, {"lower_order_final": True}),
    "k_lms": _LMS,
    "k_euler": _EULER,
    "k_euler_a": _EULER_A,
    "k_dpm_2": _DPM_2,
    "k_dpm_2_a": _DPM_2_A,
}


def build_sampler(name: str, *, prediction: Literal["epsilon", "v"], zero_terminal_snr: bool = False) -> Any:
    """The diffusers scheduler that kohya calls `name`, on the schedule that the model was trained with.

    Where a scheduler knows no zero-terminal-SNR schedule (LMS, PNDM, the DPM2 pair, ...) it runs on the plain one.

    Raises:
        ConfigError: there is no such sampler.
    """
    if name not in SAMPLERS:
        raise ConfigError("sample_sampler", f"There is no sampler {name!r}.", fix=f"Use one of {', '.join(SAMPLERS)}.")
    sampler = SAMPLERS[name]
    settings = {
        "num_train_timesteps": TRAIN_TIMESTEPS,
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon" if prediction == "epsilon" else "v_prediction",
        **sampler.settings,
    }
    if zero_terminal_snr and "rescale_betas_zero_snr" in inspect.signature(sampler.scheduler).parameters:
        settings["rescale_betas_zero_snr"] = True
    with warnings.catch_warnings():  # dpmsolver works; diffusers announces that a later release drops it
        warnings.simplefilter("ignore", FutureWarning)
        return sampler.scheduler(**settings)
