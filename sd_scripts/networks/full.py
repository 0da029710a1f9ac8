"""The kind "full" of lycoris.kohya: a change of the whole weight and bias. Its files are the package's, as large as the layers themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import add_to_weight, copy_all
from sd_scripts.networks.delta import DeltaModule, Dropouts, apply_weight
from sd_scripts.networks.loha import drop_rows


class FullModule(DeltaModule):
    """`W x + diff x + diff_b`: diff in the weight's shape, diff_b (out,) where the layer has a bias. Both start at zero; there is no rank."""

    def __init__(self, target: AdapterTarget, rank: int, alpha: float, *, dropouts: Dropouts | None = None) -> None:
        super().__init__(target, 1, 1.0, dropouts=dropouts)
        del self.alpha
        self.diff = nn.Parameter(torch.zeros(self.weight.shape))
        bias = cast("Tensor | None", target.module.bias)
        self.diff_b = None if bias is None else nn.Parameter(torch.zeros(bias.shape))

    def added(self, inputs: Tensor, factor: float) -> tuple[Tensor, float]:
        """The change applied."""
        diff = self.diff
        if self.training and self.dropouts.rank:
            diff, factor = drop_rows(diff, factor, self.dropouts)
        added = apply_weight(inputs, diff, self.conv)
        if self.diff_b is not None:
            added = added + self.diff_b.view((-1,) if self.conv is None else (1, -1, 1, 1))
        return added, factor

    def delta(self) -> Tensor:
        """The change of the weight."""
        return self.diff.detach().float()

    def factors(self) -> list[nn.Parameter]:
        """The change itself."""
        return [self.diff]

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a file's change."""
        copy_all(dict(self.state_dict()), found)
        return False

    @torch.no_grad()
    def merge(self) -> None:
        """Write the change times the multiplier into weight and bias."""
        add_to_weight(self.target, self.change(), self.factor)
        if self.diff_b is not None:
            bias = cast(nn.Parameter, self.target.module.bias)
            bias.copy_((bias.float() + self.factor * self.diff_b.to(bias.device)).to(bias.dtype))
