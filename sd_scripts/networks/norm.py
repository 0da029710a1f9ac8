"""Norm layers in lycoris.kohya: a change of a norm's weight and bias. Its files are the package's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import AdapterModule, copy_all
from sd_scripts.networks.delta import Dropouts
from sd_scripts.networks.loha import drop_rows

KEY = "w_norm"


class NormModule(AdapterModule):
    """`norm(x) · (weight + w_norm) + bias + b_norm` of a LayerNorm or GroupNorm; both are (channels,), float32, and start at zero."""

    def __init__(self, target: AdapterTarget, rank: int, alpha: float, *, dropouts: Dropouts | None = None) -> None:
        super().__init__(target, 1, 1.0)
        del self.alpha
        self.dropouts = dropouts or Dropouts()
        self.w_norm = nn.Parameter(torch.zeros(self.weight.shape))
        bias = cast("Tensor | None", target.module.bias)
        self.b_norm = None if bias is None else nn.Parameter(torch.zeros(bias.shape))

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class; `inputs` (..., channels) for a LayerNorm, (batch, channels, ...) for a GroupNorm."""
        plain, factor = self._plain(inputs), self.factor
        if not factor or (self.training and self.dropouts.module and torch.rand(1).item() < self.dropouts.module):
            return plain
        weight, module = self.w_norm, self.target.module
        if self.training and self.dropouts.rank:
            weight, factor = drop_rows(weight, factor, self.dropouts)
        if isinstance(module, nn.GroupNorm):
            added = F.group_norm(inputs.to(weight), module.num_groups, weight, self.b_norm, module.eps)
        else:
            norm = cast(nn.LayerNorm, module)
            added = F.layer_norm(inputs.to(weight), norm.normalized_shape, weight, self.b_norm, norm.eps)
        return plain + (factor * added).to(plain.dtype)

    def change(self) -> Tensor:
        """Change of the weight at multiplier 1; that of the bias is `b_norm`."""
        return self.w_norm.detach().float()

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a file's change."""
        copy_all(dict(self.state_dict()), found)
        return False

    def file_tensors(self) -> dict[str, Tensor]:
        """`w_norm`, and `b_norm` where the layer has a bias."""
        return {key: tensor for key, tensor in self.state_dict().items() if tensor is not None}

    @torch.no_grad()
    def merge(self) -> None:
        """Write the change times the multiplier into weight and bias."""
        super().merge()
        if self.b_norm is not None:
            bias = cast(nn.Parameter, self.target.module.bias)
            bias.copy_((bias.float() + self.factor * self.b_norm.float().to(bias.device)).to(bias.dtype))
