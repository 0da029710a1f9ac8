"""Weights that are updated during the backward pass, as soon as their gradients are known, so that all gradients never lie in memory at once.

Source of the order of things: Lv et al., "Full Parameter Fine-tuning for Large Language Models with Limited Resources", arXiv 2306.09782, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.optim import Optimizer as TorchOptimizer

from sd_scripts.library.optim.composite import Composite
from sd_scripts.library.optim.groups import ParamGroup

Ready = Callable[[list[nn.Parameter]], None]
"""Is given the weights of a part before they are updated: sums their gradients over processes, clips them."""


class EarlyOptimizer(Composite):
    """Optimizers of disjoint weights, each of which steps, and forgets its gradients, when the last of its gradients arrives.

    `step` comes after the backward pass and sees to weights that got a gradient while others of their part did not.
    """

    def __init__(self, parts: Sequence[TorchOptimizer], ready: Ready) -> None:
        super().__init__(parts)
        self._ready = ready
        self._weights: list[list[nn.Parameter]] = [[weight for group in part.param_groups for weight in group["params"]] for part in parts]
        self._missing: list[int] = []
        self._count()
        for number, weights in enumerate(self._weights):
            for weight in weights:
                weight.register_post_accumulate_grad_hook(self._arrival(number))

    def step(self, closure: None = None) -> None:
        """Update what the backward pass left, and begin to count anew."""
        for number, missing in enumerate(self._missing):
            if missing:
                self._update(number)
        self._count()

    def _count(self) -> None:
        """A weight that is not trained any more gets no gradient: nobody waits for it."""
        self._missing = [sum(weight.requires_grad for weight in weights) for weights in self._weights]

    def _arrival(self, number: int) -> Callable[[Tensor], None]:
        def arrived(weight: Tensor) -> None:
            self._missing[number] -= 1
            if self._missing[number] == 0:
                self._update(number)

        return arrived

    def _update(self, number: int) -> None:
        weights = [weight for weight in self._weights[number] if weight.grad is not None]
        if weights:
            self._ready(weights)
            self.parts[number].step()
            self.parts[number].zero_grad(set_to_none=True)


def split_groups(groups: Sequence[ParamGroup], parts: int | None = None) -> list[list[ParamGroup]]:
    """Cut groups of parameters into pieces that are updated one after another: `parts` of about the same size, or one per parameter.

    Order, names and rates stay; a piece holds parameters of several groups where their border lies in it.
    """
    total = sum(parameter.numel() for group in groups for parameter in group.params)
    size = math.ceil(total / parts) if parts else 0
    pieces: list[list[ParamGroup]] = []
    held = size
    for group in groups:
        open_group = None
        for parameter in group.params:
            if held >= size:
                pieces.append([])
                held, open_group = 0, None
            if open_group is None:
                open_group = replace(group, params=[], piece=len(pieces) - 1)
                pieces[-1].append(open_group)
            open_group.params.append(parameter)
            held += parameter.numel()
    return pieces
