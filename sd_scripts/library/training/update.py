"""One optimizer step: gradients of its micro-batches summed over all processes, clipped, applied. What the loss is, the loop says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer as TorchOptimizer

from sd_scripts.library.methods.base import Method
from sd_scripts.library.optim.average import WeightAverage
from sd_scripts.library.optim.early import EarlyOptimizer, Ready
from sd_scripts.library.optim.optimizers import is_schedule_free
from sd_scripts.library.optim.schedulers import Plateau, Scheduler
from sd_scripts.library.training.runtime import Runtime
from sd_scripts.library.training.state import Parts


@dataclass(slots=True)
class Updater:
    """Owns what turns a loss into a change of weights.

    Args:
        max_grad_norm: gradients are scaled down to this norm; 0 for not at all.
        average: the moving average of the weights, which stands in their place between `eval` and `train`.
    """

    runtime: Runtime
    method: Method
    optimizer: TorchOptimizer
    scheduler: Scheduler
    max_grad_norm: float
    average: WeightAverage | None = None
    _loss: Tensor | None = None

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of one micro-batch's part of the step's loss."""
        scaler = self.runtime.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()
        part = loss.detach()
        self._loss = part if self._loss is None else self._loss + part

    def step(self, flags: Sequence[float]) -> Tensor:
        """Finish the step that the micro-batches since the last one make up.

        Args:
            flags: numbers to add up over all processes along the way.

        Returns:
            (1 + len(flags),) float32 on the device: the step's loss over all processes, then the sums of the flags.
        """
        if self._loss is None:
            raise RuntimeError("step() without a backward() before it")
        # An early optimizer has summed, clipped and used the gradients by now.
        early = isinstance(self.optimizer, EarlyOptimizer)
        parameters = [] if early else [parameter for parameter in self.method.trainable() if parameter.requires_grad]
        numbers = self._loss.float().view(1)
        if flags:
            numbers = torch.cat([numbers, torch.tensor(flags, dtype=torch.float32, device=numbers.device)])
        self._loss = None
        numbers = self.runtime.sum_gradients(parameters, numbers)
        scaler = self.runtime.scaler
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        if parameters and self.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        if scaler is not None:
            scaler.step(self.optimizer)
            scaler.update()
        else:
            self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        return numbers

    def changed(self, step: int) -> None:
        """Take the weights after optimizer step `step` into their average."""
        if self.average is not None:
            self.average.update(step)

    def ended_epoch(self, losses: Sequence[float]) -> None:
        """Tell the losses of the epoch that is over to a schedule that follows them."""
        if isinstance(self.scheduler, Plateau) and losses:
            self.scheduler.observe(math.fsum(losses) / len(losses))

    def rates(self) -> Mapping[str, float]:
        """The learning rate of each group for the next step, by the group's name; equal names are numbered."""
        rates: dict[str, float] = {}
        for group, rate in zip(self.optimizer.param_groups, self.scheduler.get_last_lr(), strict=True):
            name = str(group.get("name", "group"))
            rates[name if name not in rates or "piece" in group else f"{name} {len(rates)}"] = rate
        return rates

    def adapted_rates(self) -> Mapping[str, float]:
        """D-Adaptation's and Prodigy's estimate times the rate, by TensorBoard tag."""
        estimating = [group for group in self.optimizer.param_groups if "d" in group]
        return {f"lr/d*lr/{group.get('name', 'group')}": _number(group["d"]) * group["lr"] for group in estimating}

    def train(self) -> None:
        """Switch to the weights that are trained: away from an average, in a schedule-free optimizer too."""
        if self.average is not None:
            self.average.hide()
        if is_schedule_free(self.optimizer):
            averaging: Any = self.optimizer
            averaging.train()

    def eval(self) -> None:
        """Switch to the weights that are to be used: to an average of them, in a schedule-free optimizer too."""
        if self.average is not None:
            self.average.show()
        if is_schedule_free(self.optimizer):
            averaging: Any = self.optimizer
            averaging.eval()

    def parts(self) -> Parts:
        """What a state folder holds of this run."""
        return Parts(self.method, self.optimizer, self.scheduler, self.runtime.scaler, self.average)


def gradients_ready(runtime: Runtime, max_grad_norm: float) -> Ready:
    """What an early optimizer does with gradients before it uses them: sum them over processes, and clip those that it uses together."""

    def ready(weights: list[nn.Parameter]) -> None:
        runtime.sum_gradients(weights, torch.empty(0, device=runtime.device))
        if max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(weights, max_grad_norm)

    return ready


def _number(value: Any) -> float:
    return float(value.item()) if isinstance(value, Tensor) else float(value)
