"""Adapters that add something to a layer's output: dropout, DoRA and strength are the same for all, however the addition is computed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import AdapterModule

SMALLEST_NORM = 1e-12


@dataclass(frozen=True, slots=True)
class Dropouts:
    """Chances while training: `neuron` of an activation between the factors, `rank` of a rank per item, `module` of the whole module.

    `evened`: what remains of the ranks is scaled up to keep the expectation.
    """

    neuron: float = 0.0
    rank: float = 0.0
    module: float = 0.0
    evened: bool = True

    def __bool__(self) -> bool:
        return bool(self.neuron or self.rank or self.module)


class DeltaModule(AdapterModule):
    """`W x + scale · Δ x`; with DoRA each row of W + scale · Δ is brought to a length that is learnt.

    `dora_scale` is (out, 1) or (out, 1, 1, 1), at first the lengths of W's rows. Source: Liu et al. 2024, "DoRA", arXiv:2402.09353; as section 4.3
    there, the length that is divided by counts as a constant in the backward pass.
    """

    def __init__(self, target: AdapterTarget, rank: int, alpha: float, *, dropouts: Dropouts | None = None, dora: bool = False) -> None:
        super().__init__(target, rank, alpha)
        self.dropouts = dropouts or Dropouts()
        self.dora_scale = nn.Parameter(row_norms(self.weight.detach().float())) if dora else None
        module = target.module
        self.conv = (module.stride, module.padding, module.dilation) if isinstance(module, nn.Conv2d) else None

    @abstractmethod
    def delta(self) -> Tensor:
        """Δ in the weight's shape, float32, without the scale."""

    @abstractmethod
    def added(self, inputs: Tensor, factor: float) -> tuple[Tensor, float]:
        """Δ applied to the inputs, and the factor that is still to be multiplied with: dropped ranks are made up for."""

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class; `inputs` (..., in) for linear layers, (batch, in, height, width) for convolutions."""
        plain, factor = self._plain(inputs), self.factor
        if not factor:
            return plain
        if self.training and self.dropouts.module and torch.rand(1).item() < self.dropouts.module:
            return plain
        added, factor = self.added(inputs, factor)
        if self.dora_scale is None:
            return plain.add_(added, alpha=factor)
        return self._decomposed(plain, added, factor)

    def change(self) -> Tensor:
        """Change of the weight at multiplier 1."""
        delta = self.scale * self.delta()
        if self.dora_scale is None:
            return delta
        weight = self.weight.detach().float()
        turned = weight + delta.to(weight.device)
        return self.dora_scale.detach() / row_norms(turned) * turned - weight

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a file's tensors. Where it has no lengths and this adapter learns them, they become those that the file's weight has."""
        if self.dora_scale is None or "dora_scale" in found:
            return super().load_file(found)
        rescaled = super().load_file({**found, "dora_scale": self.dora_scale})
        change = self.strength_in(found) * self.delta()
        self.dora_scale.copy_(row_norms(self.weight.detach().float() + change.to(self.weight.device)))
        return rescaled

    def file_tensors(self) -> dict[str, Tensor]:
        """Without DoRA's lengths where there are none."""
        return {key: tensor for key, tensor in self.state_dict().items() if tensor is not None}

    def _decomposed(self, plain: Tensor, added: Tensor, factor: float) -> Tensor:
        lengths = cast(nn.Parameter, self.dora_scale)
        with torch.no_grad():
            norms = row_norms(self.weight.float() + self.scale * self.delta().to(self.weight.device))
        channels = (-1,) if self.conv is None else (1, -1, 1, 1)
        ratio = (lengths / norms).view(channels)
        bias = cast("Tensor | None", self.target.module.bias)
        shown = plain if bias is None else plain - bias.view(channels)
        multiplier = self.factor / self.scale
        change = multiplier * ((ratio - 1) * shown + (factor / multiplier) * ratio * added)
        return plain + change.to(plain.dtype)


def row_norms(weight: Tensor) -> Tensor:
    """Length of each output's row, (out, 1) or (out, 1, 1, 1)."""
    return weight.flatten(1).norm(dim=1).clamp(min=SMALLEST_NORM).view(-1, *(1 for _ in weight.shape[1:]))


def apply_weight(inputs: Tensor, weight: Tensor, conv: tuple | None) -> Tensor:
    """A weight without bias applied as its layer would."""
    if conv is None:
        return F.linear(inputs, weight)
    stride, padding, dilation = conv
    return F.conv2d(inputs, weight, None, stride, padding, dilation)
