"""Learning-rate curves as functions of the step, without torch: the trainer multiplies by them, the GUI draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sd_scripts.errors import ConfigError
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.params.words import parse_words

POLYNOMIAL_END_LR = 1e-7
INVERSE_SQRT_TIMESCALE = 10_000
PLATEAU = "reduce_lr_on_plateau"
"""The schedule that depends on the losses. Its curve is what the rate is while they fall."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One schedule of one run. Steps are optimizer steps of the whole run, counted from 0; `args` are the typed lr_scheduler_args."""

    name: str
    total_steps: int
    warmup_steps: int
    decay_steps: int
    config: LRSchedule
    args: Mapping[str, object]

    def multiplier(self, step: int, *, base_lr: float) -> float:
        """Factor on a group's rate for the update at `step`; the warm-up rises linearly from 0.

        `base_lr` matters where a floor is an absolute rate.
        """
        if step < self.warmup_steps and self.name not in NO_WARMUP:
            return self._warmup(step)
        return SHAPES[self.name](self, step, base_lr)

    def floor(self, base_lr: float) -> float:
        """Lowest multiplier of the schedules that have one, from lr_scheduler_min_lr_ratio or the absolute `min_lr` argument."""
        ratio = self.config.lr_scheduler_min_lr_ratio
        if ratio is not None:
            return ratio
        if "min_lr_ratio" in self.args or "min_lr_rate" in self.args:
            return _number(self.args.get("min_lr_ratio", self.args.get("min_lr_rate")))
        return _number(self.args["min_lr"]) / base_lr if "min_lr" in self.args and base_lr else 0.0

    def progress(self, step: int) -> float:
        """Share of the part after the warm-up that is done at `step`."""
        return (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)

    def _warmup(self, step: int) -> float:
        share = step / max(1, self.warmup_steps)
        if self.name == "warmup_stable_decay":
            floor = self.floor(1.0)
            return floor + (1 - floor) * share
        if self.name == "cosine_warmup_with_min_lr":
            return self._warmup_without_zero(step)
        return share

    def _warmup_without_zero(self, step: int) -> float:
        first = self.args.get("warmup_lr_rate")
        if first is None:
            return (step + 1) / self.warmup_steps
        return _number(first) + (1 - _number(first)) * step / max(1, self.warmup_steps - 1)


def _constant(curve: Curve, step: int, base_lr: float) -> float:
    return 1.0


def _linear(curve: Curve, step: int, base_lr: float) -> float:
    return max(0.0, 1.0 - curve.progress(step))


def _half_cosine(progress: float, cycles: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * cycles * 2 * progress))


def _cosine(curve: Curve, step: int, base_lr: float) -> float:
    return max(0.0, _half_cosine(curve.progress(step), 0.5))


def _restarts(curve: Curve, step: int, base_lr: float) -> float:
    progress = curve.progress(step)
    if progress >= 1:
        return 0.0
    return max(0.0, _half_cosine((curve.config.lr_scheduler_num_cycles * progress) % 1.0, 0.5))


def _polynomial(curve: Curve, step: int, base_lr: float) -> float:
    end = _number(curve.args.get("lr_end", POLYNOMIAL_END_LR)) / base_lr if base_lr else 0.0
    remaining = max(0.0, 1 - curve.progress(step))
    return end + (1 - end) * remaining**curve.config.lr_scheduler_power


def _cosine_with_floor(curve: Curve, step: int, base_lr: float) -> float:
    floor = curve.floor(base_lr)
    return max(0.0, floor + (1 - floor) * _half_cosine(curve.progress(step), curve.config.lr_scheduler_num_cycles / 2))


def _cosine_one_ahead(curve: Curve, step: int, base_lr: float) -> float:
    """Its first step is a step on the curve already, so that its last one is the floor."""
    floor = curve.floor(base_lr)
    return max(0.0, floor + (1 - floor) * _half_cosine(min(1.0, curve.progress(step + 1)), curve.config.lr_scheduler_num_cycles / 2))


def _rex(curve: Curve, step: int, base_lr: float) -> float:
    """Chen et al., "REX: revisiting budgeted training with an improved schedule", arXiv 2107.04197, equation 1."""
    remaining, floor = max(0.0, 1 - curve.progress(step)), curve.floor(base_lr)
    return floor + (1 - floor) * remaining / (0.5 + 0.5 * remaining)


def _inverse_sqrt(curve: Curve, step: int, base_lr: float) -> float:
    timescale = curve.config.lr_scheduler_timescale or curve.warmup_steps or INVERSE_SQRT_TIMESCALE
    return 1 / math.sqrt((step + timescale - curve.warmup_steps) / timescale)


def _stable_decay(curve: Curve, step: int, base_lr: float) -> float:
    stable_until = curve.total_steps - curve.decay_steps
    floor = curve.floor(base_lr)
    if step < stable_until:
        return 1.0
    if step >= stable_until + curve.decay_steps:
        return floor
    progress = (step - stable_until) / max(1, curve.decay_steps)
    shape = DECAYS[str(curve.args.get("decay_type", "cosine"))](progress, curve.config.lr_scheduler_num_cycles / 2)
    return max(0.0, floor + (1 - floor) * shape)


def _piecewise(curve: Curve, step: int, base_lr: float) -> float:
    *rules, last = str(curve.args["step_rules"]).split(",")
    for rule in rules:
        value, _, until = rule.partition(":")
        if step < int(until):
            return float(value)
    return float(last)


DECAYS: dict[str, Callable[[float, float], float]] = {
    "cosine": _half_cosine,
    "linear": lambda progress, cycles: 1 - progress,
    "1-sqrt": lambda progress, cycles: 1 - math.sqrt(progress),
}
SHAPES: dict[str, Callable[[Curve, int, float], float]] = {
    "constant": _constant,
    "constant_with_warmup": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _restarts,
    "polynomial": _polynomial,
    "cosine_with_min_lr": _cosine_with_floor,
    "cosine_warmup_with_min_lr": _cosine_one_ahead,
    "rex": _rex,
    PLATEAU: _constant,
    "inverse_sqrt": _inverse_sqrt,
    "warmup_stable_decay": _stable_decay,
    "piecewise_constant": _piecewise,
}
NO_WARMUP = ("constant", "piecewise_constant")
"""Schedules whose definition has no warm-up: asking for one is refused."""


def make_curve(config: LRSchedule, *, total_steps: int, warmup_steps: int, decay_steps: int) -> Curve:
    """The curve that the options ask for; all checks that need no optimizer happen here.

    Raises:
        ConfigError: unknown name, a warm-up where there is none or that is longer than the run, a missing or wrong argument.

    Source: the schedules of transformers' and diffusers' `optimization` modules, whose names kohya's options use.
    """
    name = config.lr_scheduler
    if name not in SHAPES:
        raise ConfigError("lr_scheduler", f'"{name}" is no schedule.', fix=f"Choose one of {', '.join(SHAPES)}.")
    if name in NO_WARMUP and warmup_steps:
        raise ConfigError("lr_warmup_steps", f"{name} has no warm-up, but {warmup_steps} steps are asked for.", fix="Use constant_with_warmup, or 0.")
    if warmup_steps + (decay_steps if name == "warmup_stable_decay" else 0) > total_steps:
        both = f"Warm-up and decay take {warmup_steps + decay_steps} steps, but the run has only {total_steps}."
        alone = f"The warm-up takes {warmup_steps} steps, but the run has only {total_steps}."
        words = both if name == "warmup_stable_decay" else alone
        raise ConfigError("lr_warmup_steps", words, fix=f"Use {total_steps // 10} steps, or 0.1 for a tenth.")
    curve = Curve(name, total_steps, warmup_steps, decay_steps, config, parse_words("lr_scheduler_args", config.lr_scheduler_args))
    _check_args(curve)
    return curve


ARGUMENTS: dict[str, tuple[str, ...]] = {
    "polynomial": ("lr_end",),
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate", "warmup_lr_rate"),
    "rex": ("min_lr", "min_lr_rate"),
    PLATEAU: ("factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr"),
    "warmup_stable_decay": ("min_lr_ratio", "decay_type"),
    "piecewise_constant": ("step_rules",),
}


def _check_args(curve: Curve) -> None:
    known = ARGUMENTS.get(curve.name, ())
    for key in curve.args:
        if key not in known:
            offered = f"It takes {', '.join(known)}." if known else "It takes none."
            raise ConfigError("lr_scheduler_args", f"{curve.name} has no argument {key}.", fix=offered)
    if curve.name == "piecewise_constant" and "step_rules" not in curve.args:
        raise ConfigError("lr_scheduler_args", "piecewise_constant needs step_rules.", fix="For example step_rules='1:100,0.1:200,0.01'.")
    has_floor = curve.config.lr_scheduler_min_lr_ratio is not None or {"min_lr", "min_lr_rate"} & set(curve.args)
    if curve.name in ("cosine_with_min_lr", "cosine_warmup_with_min_lr") and not has_floor:
        raise ConfigError("lr_scheduler_min_lr_ratio", f"{curve.name} needs its floor.", fix="Set lr_scheduler_min_lr_ratio, for example 0.1.")
    if str(curve.args.get("decay_type", "cosine")) not in DECAYS:
        raise ConfigError("lr_scheduler_args", f"decay_type {curve.args['decay_type']!r} is unknown.", fix=f"Choose one of {', '.join(DECAYS)}.")
    if curve.name == PLATEAU:
        _check_plateau(curve.args)
    try:
        curve.multiplier(curve.warmup_steps, base_lr=1.0)
        curve.multiplier(0, base_lr=1.0)
        curve.floor(1.0)
    except (ValueError, KeyError) as error:
        raise ConfigError("lr_scheduler_args", f"{curve.name} cannot read its arguments: {error}.") from error


def _check_plateau(args: Mapping[str, object]) -> None:
    for key, value in args.items():
        number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else -1.0
        if key == "threshold_mode":
            wanted = None if value in ("rel", "abs") else "rel or abs"
        elif key == "factor":
            wanted = None if 0 < number < 1 else "a number between 0 and 1"
        elif key in ("patience", "cooldown"):
            wanted = None if number >= 0 and isinstance(value, int) else "a whole number of epochs"
        else:
            wanted = None if number >= 0 else "a number from 0 on"
        if wanted:
            raise ConfigError("lr_scheduler_args", f"{key} is {wanted}, not {value!r}.", fix="For example factor=0.5 patience=2.")


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{value!r} is no number")
