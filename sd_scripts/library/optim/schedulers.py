"""Learning-rate schedules on a real optimizer. The curves themselves are in survey/curves.py, where the GUI can draw them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.optim import Optimizer as TorchOptimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from sd_scripts.errors import ConfigError
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.params.words import parse_words
from sd_scripts.survey.curves import PLATEAU, Curve, make_curve


class Scheduler(Protocol):
    """What the loop uses of a schedule: one `step` per optimizer step, and its state."""

    def step(self) -> None:
        """Move on to the next optimizer step's rates."""

    def get_last_lr(self) -> list[Any]:
        """The rate of each group for the next update, as numbers."""

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""


class OwnRates:
    """For optimizers that find their rates themselves (schedule-free, Adafactor with relative steps): changes nothing, reports what is there."""

    def __init__(self, optimizer: TorchOptimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        """Nothing to do: the optimizer keeps its own time."""

    def get_last_lr(self) -> list[float]:
        """The rate of each group; where the optimizer has none yet, 0."""
        return [_own_rate(self.optimizer, group) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Empty: the state is the optimizer's."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""


class Plateau:
    """`reduce_lr_on_plateau`: torch's ReduceLROnPlateau on the average loss of each epoch, under a warm-up and above a floor.

    torch's class lowers a rate of 1.0, which is the factor on every group's rate. What it was told is in the state, so resuming is exact.
    """

    def __init__(self, optimizer: TorchOptimizer, curve: Curve) -> None:
        self.optimizer, self.curve, self._step = optimizer, curve, 0
        self._bases = [float(group["lr"]) for group in optimizer.param_groups]
        self._scale = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        options: dict[str, Any] = {key: value for key, value in curve.args.items() if key != "min_lr"}
        self._plateau = ReduceLROnPlateau(self._scale, **options)
        self._apply()

    def observe(self, average: float) -> None:
        """Take in the average loss of an epoch that is over."""
        self._plateau.step(average)
        self._apply()

    def step(self) -> None:
        """Move on to the next optimizer step's rates."""
        self._step += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """The rate of each group for the next update."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Steps done, the factor, and what torch's class remembers of the losses."""
        return {"step": self._step, "factor": self._scale.param_groups[0]["lr"], "plateau": self._plateau.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there. Options of the plateau are those of this run."""
        told = {key: value for key, value in state_dict["plateau"].items() if key in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")}
        self._plateau.load_state_dict({**self._plateau.state_dict(), **told})
        self._step, self._scale.param_groups[0]["lr"] = state_dict["step"], state_dict["factor"]
        self._apply()

    def _apply(self) -> None:
        factor = self._scale.param_groups[0]["lr"]
        for group, base in zip(self.optimizer.param_groups, self._bases, strict=True):
            group["lr"] = base * self.curve.multiplier(self._step, base_lr=base) * max(factor, self.curve.floor(base))


def _own_rate(optimizer: TorchOptimizer, group: dict[str, Any]) -> float:
    if group.get("lr") is not None:
        return float(group["lr"])
    state = optimizer.state[group["params"][0]]
    get_lr = getattr(optimizer, "_get_lr", None)  # transformers' Adafactor keeps the relative step there
    return float(get_lr(group, state)) if get_lr is not None and "step" in state else 0.0


def build_scheduler(optimizer: TorchOptimizer, config: LRSchedule, *, total_steps: int, warmup_steps: int, decay_steps: int) -> Scheduler:
    """Learning-rate schedule of one run. All counts are optimizer steps of the whole run, over all processes.

    Raises:
        ConfigError: unknown name, a warm-up that does not fit, arguments that the schedule does not take.
    """
    if config.lr_scheduler_type:
        return _custom(optimizer, config, warmup_steps)
    curve = make_curve(config, total_steps=total_steps, warmup_steps=warmup_steps, decay_steps=decay_steps)
    if curve.name == PLATEAU:
        return Plateau(optimizer, curve)
    return LambdaLR(optimizer, [_multiplier(curve, float(group["lr"])) for group in optimizer.param_groups])


def _multiplier(curve: Curve, base_lr: float) -> Callable[[int], float]:
    return lambda step: curve.multiplier(step, base_lr=base_lr)


def _custom(optimizer: TorchOptimizer, config: LRSchedule, warmup_steps: int) -> Scheduler:
    """A scheduler class of the user's: a name in torch.optim.lr_scheduler, or a dotted path."""
    if warmup_steps:
        raise ConfigError("lr_warmup_steps", f"{config.lr_scheduler_type} has no warm-up of ours.", fix="Set lr_warmup_steps to 0.")
    module_name, _, class_name = config.lr_scheduler_type.rpartition(".")
    try:
        module = importlib.import_module(module_name) if module_name else torch.optim.lr_scheduler
        return getattr(module, class_name)(optimizer, **parse_words("lr_scheduler_args", config.lr_scheduler_args))
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            "lr_scheduler_type", f'"{config.lr_scheduler_type}" is not to be found: {error}.', fix="Give a class as module.Class."
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigError("lr_scheduler_args", f"{config.lr_scheduler_type} does not take them: {error}.") from error
