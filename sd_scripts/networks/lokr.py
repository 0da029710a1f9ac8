"""networks.lokr: a Kronecker product of a small and a large matrix, of which either may be a low-rank product itself.

Source: Yeh et al. 2023, "Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation", arXiv:2309.14859, and its keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.delta import DeltaModule, Dropouts, apply_weight
from sd_scripts.networks.loha import drop_rows
from sd_scripts.survey.lycoris_sizes import split_side
from sd_scripts.survey.randomness import seed_for


@dataclass(frozen=True, slots=True)
class Form:
    """Shape (out₁, in₁) of the small matrix, and which of the two are products themselves."""

    small: tuple[int, int]
    low_small: bool
    low_large: bool

    @classmethod
    def of(cls, target: AdapterTarget, rank: int, *, factor: int = -1, both: bool = False, full: bool = False) -> Form:
        """The form for a target: parts as `split_side` makes them; with `both` the small matrix may be a product too, with `full` none is."""
        outputs, inputs = cast(nn.Parameter, target.module.weight).shape[:2]
        (out_1, out_2), (in_1, in_2) = split_side(outputs, factor), split_side(inputs, factor)
        return cls((out_1, in_1), both and not full and rank < max(out_1, in_1) / 2, not full and rank < max(out_2, in_2) / 2)


class LoKrModule(DeltaModule):
    """ΔW = w1 ⊗ w2 with w1 (out₁, in₁), w2 (out₂, in₂) or (out₂, in₂, k, k), where out = out₁ · out₂ and in = in₁ · in₂.

    w2 is w2_a (out₂, rank) · w2_b (rank, in₂ · k · k) where the rank is below half its longer side and `full` is off; with `tucker` for kernels
    above 1 t2 (rank, rank, k, k), w2_a (rank, out₂), w2_b (rank, in₂). w1 is a product with `both`, under the same condition. Where neither is a
    product there is no rank to divide by: the scale is 1. `form` says which is which. Init: Kaiming-uniform with a = √5;
    w2, or w2_b, zero.
    """

    def __init__(
        self,
        target: AdapterTarget,
        rank: int,
        alpha: float,
        *,
        dropouts: Dropouts | None = None,
        seed: int = 0,
        dora: bool = False,
        form: Form | None = None,
        tucker: bool = False,
    ) -> None:
        outputs, inputs, *kernel = cast(nn.Parameter, target.module.weight).shape
        area = kernel[0] * kernel[1] if kernel else 1
        form = form or Form.of(target, rank)
        (out_1, in_1), low_1, low_2 = form.small, form.low_small, form.low_large
        out_2, in_2 = outputs // out_1, inputs // in_1
        super().__init__(target, rank, alpha if low_1 or low_2 else float(rank), dropouts=dropouts, dora=dora)
        self.has_rank = low_1 or low_2
        self.tucker = tucker and area > 1 and low_2
        generator = torch.Generator().manual_seed(seed_for(seed, f"adapter init {target.name}"))

        def drawn(*shape: int) -> nn.Parameter:
            values = torch.empty(*shape)
            nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=generator)
            return nn.Parameter(values)

        if low_1:
            self.lokr_w1_a, self.lokr_w1_b = drawn(out_1, rank), drawn(rank, in_1)
        else:
            self.lokr_w1 = drawn(out_1, in_1)
        if self.tucker:
            self.lokr_t2 = drawn(rank, rank, *kernel)
            self.lokr_w2_a, self.lokr_w2_b = drawn(rank, out_2), nn.Parameter(torch.zeros(rank, in_2))
        elif low_2:
            self.lokr_w2_a, self.lokr_w2_b = drawn(out_2, rank), nn.Parameter(torch.zeros(rank, in_2 * area))
        else:
            self.lokr_w2 = nn.Parameter(torch.zeros(out_2, in_2, *kernel))
        self._large = (out_2, in_2, *kernel)

    def delta(self) -> Tensor:
        """See the class."""
        with torch.no_grad():
            return self._delta().float()

    def added(self, inputs: Tensor, factor: float) -> tuple[Tensor, float]:
        """For linear layers w1 X w2ᵀ on the input as a matrix, which never builds the product; else the whole matrix applied."""
        if self.conv is None and not (self.training and self.dropouts.rank):
            small = self._small()
            rows = inputs.unflatten(-1, (small.shape[1], -1))
            if hasattr(self, "lokr_w2"):
                rows = F.linear(rows, self.lokr_w2)
            else:
                rows = F.linear(F.linear(rows, self.lokr_w2_b), self.lokr_w2_a)
            return F.linear(rows.transpose(-1, -2), small).transpose(-1, -2).flatten(-2), factor
        delta = self._delta()
        if self.training and self.dropouts.rank:
            delta, factor = drop_rows(delta, factor, self.dropouts)
        return apply_weight(inputs, delta, self.conv), factor

    def strength_in(self, found: Mapping[str, Tensor]) -> float:
        """alpha / rank where one of the matrices is a product."""
        return super().strength_in(found) if self.has_rank else 1.0

    def factors(self) -> list[nn.Parameter]:
        """All matrices; none where rows are brought to a length."""
        return [] if self.dora_scale is not None else list(self.parameters())

    def plus_parameters(self) -> list[nn.Parameter]:
        """The factor that starts at zero."""
        return [self.lokr_w2 if hasattr(self, "lokr_w2") else self.lokr_w2_b]

    def _small(self) -> Tensor:
        return self.lokr_w1 if hasattr(self, "lokr_w1") else self.lokr_w1_a @ self.lokr_w1_b

    def _delta(self) -> Tensor:
        if hasattr(self, "lokr_w2"):
            large = self.lokr_w2
        elif self.tucker:
            large = torch.einsum("ijkl,jr,ip->prkl", self.lokr_t2, self.lokr_w2_b, self.lokr_w2_a)
        else:
            large = (self.lokr_w2_a @ self.lokr_w2_b).view(self._large)
        small = self._small()
        return torch.kron(small.view(*small.shape, *(1 for _ in large.shape[2:])), large.contiguous()).view(self.weight.shape)
