"""networks.dylora: a LoRA of which one group of ranks learns in each step, so that the first ranks hold the most.

Source: Valipour et al. 2022, "DyLoRA", arXiv:2210.07558. Files are those of a LoRA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import copy_all, refuse_others
from sd_scripts.networks.delta import DeltaModule, Dropouts, apply_weight
from sd_scripts.networks.lora import ALPHA, DOWN, UP, product
from sd_scripts.survey.randomness import seed_for


class DyLoRAModule(DeltaModule):
    """Factors in groups of `unit` ranks: each of `lora_A` is (unit, in) or (unit, in, k, k), each of `lora_B` (out, unit) or (out, unit, 1, 1).

    Groups are parameters of their own, so that an optimizer leaves those alone that had no gradient. Init: A Kaiming-uniform with a = √5, B zero.
    """

    def __init__(self, target: AdapterTarget, rank: int, alpha: float, *, unit: int = 1, seed: int = 0, dropouts: Dropouts | None = None) -> None:
        super().__init__(target, rank, alpha, dropouts=dropouts)
        if rank % unit:
            raise ValueError(f"rank {rank} of {target.name} is no multiple of {unit}")
        self.unit = unit
        outputs, inputs, *kernel = self.weight.shape
        generator = torch.Generator().manual_seed(seed_for(seed, f"adapter init {target.name}"))
        down = torch.empty(rank, inputs, *kernel)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        self.lora_A = nn.ParameterList([nn.Parameter(part.clone()) for part in down.split(unit)])
        self.lora_B = nn.ParameterList([nn.Parameter(torch.zeros(outputs, unit, *(1 for _ in kernel))) for _ in range(rank // unit)])

    def added(self, inputs: Tensor, factor: float) -> tuple[Tensor, float]:
        """All groups. While training one is drawn, which alone gets a gradient, and the lower it is the stronger all are: times √(rank / its last
        rank). The paper leaves out the groups behind it; kohya's trainer, whose numbers these are, does not."""
        if not self.training:
            down, up = self._factors()
        else:
            last = int(torch.randint(0, self.rank, (1,)).item()) // self.unit
            down = torch.cat([part if at == last else part.detach() for at, part in enumerate(self.lora_A)])
            up = torch.cat([part if at == last else part.detach() for at, part in enumerate(self.lora_B)], dim=1)
            factor *= math.sqrt(self.rank / ((last + 1) * self.unit))
        hidden = apply_weight(inputs, down, self.conv)
        return apply_weight(hidden, up, None if self.conv is None else (1, 0, 1)), factor

    def delta(self) -> Tensor:
        """B · A over all groups, in the weight's shape, float32."""
        return product(*(part.detach().float() for part in self._factors()))

    def plus_parameters(self) -> list[nn.Parameter]:
        """The up factors."""
        return list(self.lora_B)

    def factors(self) -> list[nn.Parameter]:
        """All groups; each product has one of either kind."""
        return [*self.lora_A, *self.lora_B]

    @torch.no_grad()
    def shrink(self, ratio: Tensor) -> None:
        """Both factors by the root of the ratio."""
        for parameter in self.factors():
            parameter.mul_(ratio.sqrt())

    def file_tensors(self) -> dict[str, Tensor]:
        """Those of a LoRA: `lora_down.weight`, `lora_up.weight`, `alpha`."""
        down, up = self._factors()
        return {DOWN: down, UP: up, ALPHA: self.alpha}

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a LoRA file's tensors of this rank; see `AdapterModule.load_file`."""
        down, up = (part.detach().clone() for part in self._factors())
        refuse_others(found, {DOWN: down, UP: up})
        copy_all({DOWN: down, UP: up}, found)
        ratio = self.strength_in(found) / self.scale
        for own, part in zip(self.lora_A, down.split(self.unit), strict=True):
            own.copy_(part)
        for own, part in zip(self.lora_B, up.split(self.unit, dim=1), strict=True):
            own.copy_(part * ratio)
        return not math.isclose(ratio, 1.0, rel_tol=0.005)

    def _factors(self) -> tuple[Tensor, Tensor]:
        return torch.cat(list(self.lora_A)), torch.cat(list(self.lora_B), dim=1)
