"""networks.loha: the elementwise product of two low-rank matrices, which has up to the square of their rank.

Source: Hyeon-Woo et al. 2021, "FedPara", arXiv:2108.06098; keys and start as LyCORIS (Yeh et al. 2023, arXiv:2309.14859) writes them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.delta import DeltaModule, Dropouts, apply_weight
from sd_scripts.survey.randomness import seed_for

FIRST = "hada_w1_a"


class LoHaModule(DeltaModule):
    """ΔW = (w1_a w1_b) ∘ (w2_a w2_b), reshaped to the weight: w_a (out, rank), w_b (rank, in · k · k).

    With `tucker`, for kernels above 1: t (rank, rank, k, k), w_a (rank, out), w_b (rank, in). Init: w1_a deviation 0.1, w_b 1, t 0.1, w2_a zero.
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
        tucker: bool = False,
    ) -> None:
        super().__init__(target, rank, alpha, dropouts=dropouts, dora=dora)
        outputs, inputs, *kernel = self.weight.shape
        area = kernel[0] * kernel[1] if kernel else 1
        self.tucker = tucker and area > 1
        generator = torch.Generator().manual_seed(seed_for(seed, f"adapter init {target.name}"))

        def normal(*shape: int, deviation: float) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).normal_(0, deviation, generator=generator))

        for number in (1, 2):
            sides = ((rank, outputs), (rank, inputs)) if self.tucker else ((outputs, rank), (rank, inputs * area))
            if self.tucker:
                setattr(self, f"hada_t{number}", normal(rank, rank, *kernel, deviation=0.1))
            setattr(self, f"hada_w{number}_a", normal(*sides[0], deviation=0.1) if number == 1 else nn.Parameter(torch.zeros(*sides[0])))
            setattr(self, f"hada_w{number}_b", normal(*sides[1], deviation=1.0))

    def delta(self) -> Tensor:
        """See the class."""
        with torch.no_grad():
            return self._delta().float()

    def added(self, inputs: Tensor, factor: float) -> tuple[Tensor, float]:
        """The whole matrix applied: it has no cheaper form."""
        delta = self._delta()
        if self.training and self.dropouts.rank:
            delta, factor = drop_rows(delta, factor, self.dropouts)
        return apply_weight(inputs, delta, self.conv), factor

    def factors(self) -> list[nn.Parameter]:
        """All matrices; none where rows are brought to a length."""
        return [] if self.dora_scale is not None else list(self.parameters())

    def plus_parameters(self) -> list[nn.Parameter]:
        """The outer factor that starts at zero."""
        return [self.get_parameter("hada_w2_a")]

    def _delta(self) -> Tensor:
        return (self._half(1) * self._half(2)).view(self.weight.shape)

    def _half(self, number: int) -> Tensor:
        left, right = self.get_parameter(f"hada_w{number}_a"), self.get_parameter(f"hada_w{number}_b")
        if not self.tucker:
            return left @ right
        return torch.einsum("ijkl,jr,ip->prkl", self.get_parameter(f"hada_t{number}"), right, left)


def drop_rows(delta: Tensor, factor: float, dropouts: Dropouts) -> tuple[Tensor, float]:
    """Leave out rows of a change by chance, and scale up what remains where `dropouts` say so."""
    keep = torch.rand(delta.shape[0], device=delta.device) > dropouts.rank
    return delta * keep.view(-1, *(1 for _ in delta.shape[1:])), factor / (1 - dropouts.rank) if dropouts.evened else factor
