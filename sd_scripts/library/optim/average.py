"""The moving average of what is trained (EMA): smoother than the weights of any one step, and what is saved, previewed and validated where it is on.

Source: Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 30(4), 1992. The average must not
remember the untrained start for long: its decay rises as (1 + n) / (10 + n), as in TensorFlow's ExponentialMovingAverage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averages of `parameters`, in float32.

    Args:
        parameters: what is trained, always in the same order.
        decay: how much of the average stays at each update, in [0, 1).
        interval: optimizer steps from one update to the next.
        on_cpu: averages lie in main memory.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, decay: float, interval: int = 1, on_cpu: bool = False) -> None:
        self.decay, self.interval = decay, interval
        self._parameters = list(parameters)
        self._device = torch.device("cpu") if on_cpu else None
        self._averages: list[Tensor] = []
        self._trained: list[Tensor] = []
        self.updates = 0
        self.restart()

    @torch.no_grad()
    def restart(self) -> None:
        """Begin anew with the weights as they are."""
        self.updates = 0
        self._averages = [parameter.detach().to(self._device or parameter.device, torch.float32, copy=True) for parameter in self._parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after optimizer step `step` in, if it is due."""
        if step % self.interval:
            return
        self.updates += 1
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        now = [parameter.detach().to(average) for parameter, average in zip(self._parameters, self._averages, strict=True)]
        torch._foreach_lerp_(self._averages, now, 1 - kept)

    @torch.no_grad()
    def show(self) -> None:
        """Put the averages in the place of the weights, until `hide`."""
        if self._trained:
            return
        self._trained = [parameter.detach().to(self._device or parameter.device, copy=True) for parameter in self._parameters]
        for parameter, average in zip(self._parameters, self._averages, strict=True):
            parameter.copy_(average)

    @torch.no_grad()
    def hide(self) -> None:
        """Put the trained weights back, bit for bit."""
        if not self._trained:
            return
        for parameter, trained in zip(self._parameters, self._trained, strict=True):
            parameter.copy_(trained)
        self._trained = []

    def state_dict(self) -> dict[str, Any]:
        """Averages in the order of the parameters, and how many updates made them."""
        return {"updates": self.updates, "averages": [average.cpu() for average in self._averages]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`. Raises ValueError if it is of other parameters."""
        stored: list[Tensor] = list(state["averages"])
        if [average.shape for average in stored] != [average.shape for average in self._averages]:
            raise ValueError("its averages are of other weights")
        self.updates = int(state["updates"])
        for average, value in zip(self._averages, stored, strict=True):
            average.copy_(value)
