"""Which timesteps are trained how often, without torch: the trainer draws by these curves, the GUI shows them."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from sd_scripts.params.noise import Timesteps

TRAIN_TIMESTEPS = 1000
_NEVER = 1e-12
"""The ends of a curve that reaches its ends only in the limit."""

Curve = Callable[[float, Timesteps], float]
"""A number in [0, 1] to another one; 0 is no noise, 1 the most."""


def timestep_range(config: Timesteps) -> tuple[int, int]:
    """The lowest timestep that is trained, and the first above it that is not. Where they leave nothing between them, max_timestep alone is."""
    low = config.min_timestep or 0
    high = TRAIN_TIMESTEPS if config.max_timestep is None else config.max_timestep
    if low < high:
        return low, high
    only = min(high, TRAIN_TIMESTEPS - 1)
    return only, only + 1


def timestep_at(config: Timesteps, uniform: float) -> int:
    """The timestep that an even draw from [0, 1) stands for: the curve's quantile, stretched over the range that is trained."""
    low, high = timestep_range(config)
    position = QUANTILES[config.timestep_curve](uniform, config)
    return min(high - 1, low + int(position * (high - low)))


def timestep_shares(config: Timesteps, bins: int) -> list[tuple[float, float]]:
    """How often each of `bins` equal parts of the range is drawn: (the part's middle as a timestep, its share); the shares add up to 1."""
    low, high = timestep_range(config)
    below = [SHARES_BELOW[config.timestep_curve](edge / bins, config) for edge in range(bins + 1)]
    return [(low + (part + 0.5) / bins * (high - low), below[part + 1] - below[part]) for part in range(bins)]


def _logit_normal(uniform: float, config: Timesteps) -> float:
    drawn = NormalDist(config.timestep_curve_mean, config.timestep_curve_std).inv_cdf(min(1 - _NEVER, max(_NEVER, uniform)))
    return _sigmoid(drawn)


def _logit_normal_below(position: float, config: Timesteps) -> float:
    if position <= 0 or position >= 1:
        return float(position >= 1)
    return NormalDist(config.timestep_curve_mean, config.timestep_curve_std).cdf(math.log(position / (1 - position)))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


QUANTILES: dict[str, Curve] = {
    "uniform": lambda uniform, config: uniform,
    "logit_normal": _logit_normal,
    "low_noise": lambda uniform, config: 1 - (1 - uniform) ** (1 / (config.timestep_curve_power + 1)),
    "high_noise": lambda uniform, config: uniform ** (1 / (config.timestep_curve_power + 1)),
    "cosmap": lambda uniform, config: 1 - 1 / (math.tan(math.pi / 2 * uniform) + 1),
}
"""The inverse of each curve's distribution.

logit_normal and cosmap: Esser et al. 2024, "Scaling Rectified Flow Transformers", arXiv:2403.03206, section 3.1. low_noise and high_noise have the
densities (power + 1)(1 - x)^power and (power + 1)x^power.
"""
SHARES_BELOW: dict[str, Curve] = {
    "uniform": lambda position, config: position,
    "logit_normal": _logit_normal_below,
    "low_noise": lambda position, config: 1 - (1 - position) ** (config.timestep_curve_power + 1),
    "high_noise": lambda position, config: position ** (config.timestep_curve_power + 1),
    "cosmap": lambda position, config: 1.0 if position >= 1 else 2 / math.pi * math.atan(1 / (1 - position) - 1),
}
"""Each curve's distribution: the share of draws up to a position."""
