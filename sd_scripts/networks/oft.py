"""networks.oft: the outputs of a layer are turned, in blocks, instead of something being added to them.

Source: Qiu et al. 2023, "Controlling Text-to-Image Diffusion by Orthogonal Finetuning", arXiv:2306.07280; Cayley transform in section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import AdapterModule, copy_all

TINY = 1e-8


class OFTModule(AdapterModule):
    """y = W x turned by R in blocks: `oft_blocks` (blocks, size, size) with blocks · size = out; R = (I + Q)(I - Q)⁻¹, Q = oft_blocks minus its
    transpose, of a norm of at most alpha · out over all blocks. At a multiplier m it is (1 - m) I + m R. Starts without effect.

    Raises:
        ValueError: the outputs cannot be split into so many blocks.
    """

    def __init__(self, target: AdapterTarget, rank: int, alpha: float) -> None:
        super().__init__(target, rank, alpha)
        outputs = self.weight.shape[0]
        if outputs % rank:
            raise ValueError(f"the {outputs} outputs of {target.name} cannot be split into {rank} blocks")
        self.scale = self.factor = 1.0
        self.constraint = float(self.alpha) * outputs
        size = outputs // rank
        self.oft_blocks = nn.Parameter(torch.zeros(rank, size, size))
        self.register_buffer("identity", torch.eye(size), persistent=False)

    def rotation(self) -> Tensor:
        """R of each block, (blocks, size, size)."""
        skew = (self.oft_blocks - self.oft_blocks.transpose(1, 2)).float()
        norm = skew.flatten().norm()
        skew = skew * ((norm.clamp(max=self.constraint) + TINY) / (norm + TINY))
        identity = self.get_buffer("identity").to(skew)
        return (identity + skew) @ torch.linalg.inv(identity - skew)

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class. The bias is not turned."""
        plain = self._plain(inputs)
        if not self.factor:
            return plain
        is_conv = isinstance(self.target.module, nn.Conv2d)
        bias = cast("Tensor | None", self.target.module.bias)
        last = plain.movedim(1, -1) if is_conv else plain
        shown = last if bias is None else last - bias
        turn = self.rotation() - self.get_buffer("identity")
        added = torch.einsum("...kn,knm->...km", shown.unflatten(-1, (self.rank, -1)), turn.to(shown.dtype)).flatten(-2)
        return plain + self.factor * (added.movedim(-1, 1) if is_conv else added)

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a file's blocks, and its alpha, which bounds them."""
        copy_all(dict(self.state_dict()), found)
        self.constraint = float(self.alpha) * self.weight.shape[0]
        return False

    @torch.no_grad()
    def change(self) -> Tensor:
        """The turned weight less the weight."""
        weight = self.weight.detach().float()
        turn = (self.rotation() - self.get_buffer("identity")).float().to(weight.device)
        rows = weight.flatten(1).unflatten(0, (self.rank, -1))
        return torch.einsum("kni,knm->kmi", rows, turn).flatten(0, 1).view(weight.shape)
