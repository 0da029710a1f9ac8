"""networks.lora and networks.lora_fa: low-rank updates of linear layers and convolutions (LoRA, and LoCon with `conv_dim`).

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685; LoRA+: Hayou et al. 2024, arXiv:2402.12354.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import copy_all, refuse_others
from sd_scripts.networks.delta import DeltaModule, Dropouts
from sd_scripts.survey.randomness import seed_for

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"
START_DOWN, START_UP = "start_down", "start_up"
SVD_ROUNDS, SVD_MORE = 8, 8


class Factor(nn.Module):
    """One of the two matrices; a module so that its key ends in `.weight`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)


class LoRAModule(DeltaModule):
    """`up(down(x)) * alpha / rank`, added to a linear layer's or convolution's output.

    down is (rank, in) or (rank, in, k, k) with the convolution's stride, padding and dilation; up is (out, rank) or (out, rank, 1, 1). Both
    are float32. Init: down Kaiming-uniform with a = √5, drawn on the CPU from a seed of its own name; up zero, so it starts without effect.

    `kept` is (batch, rank), 0 or 1: ranks that take part in this step for each picture (T-LoRA); None: all.
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
        pissa: bool = False,
    ) -> None:
        super().__init__(target, rank, alpha, dropouts=dropouts, dora=dora)
        outputs, inputs, *kernel = self.weight.shape
        self.lora_down = Factor(self._start(torch.empty(rank, inputs, *kernel), seed))
        self.lora_up = Factor(torch.zeros(outputs, rank, *(1 for _ in kernel), dtype=torch.float32))
        self.kept: Tensor | None = None
        self.pissa = pissa
        if pissa:
            self._start_from_weight(seed)

    def _start(self, down: Tensor, seed: int) -> Tensor:
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=_generator(seed, self.target))
        return down

    def added(self, inputs: Tensor, factor: float) -> tuple[Tensor, float]:
        """up(down(x)); with PiSSA less what that was at the start."""
        added, factor = self._through(inputs, self.lora_down.weight, self.lora_up.weight, factor, dropping=bool(self.training and self.dropouts))
        if self.pissa:
            start, _ = self._through(inputs, self.get_buffer(START_DOWN), self.get_buffer(START_UP), factor, dropping=False)
            added = added - start
        return added, factor

    def delta(self) -> Tensor:
        """up · down in the weight's shape, float32; with PiSSA less what that was at the start."""
        delta = product(self.lora_down.weight.detach().float(), self.lora_up.weight.detach().float())
        return delta - product(self.get_buffer(START_DOWN), self.get_buffer(START_UP)) if self.pissa else delta

    def plus_parameters(self) -> list[nn.Parameter]:
        """The up factor."""
        return [self.lora_up.weight]

    def factors(self) -> list[nn.Parameter]:
        """Both factors; none where something is taken off their product, or rows are brought to a length."""
        return [] if self.pissa or self.dora_scale is not None else [self.lora_down.weight, self.lora_up.weight]

    def norm(self) -> Tensor:
        """Frobenius norm of scale · up · down, 0-dim: √ of the sum of (upᵀup) ∘ (down downᵀ), which never builds the product."""
        down, up = self.lora_down.weight.flatten(1), self.lora_up.weight.flatten(1)
        return self.scale * ((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt()

    def file_tensors(self) -> dict[str, Tensor]:
        """As trained. With PiSSA the difference to the start, as a LoRA of twice the rank: it works on the model as it was."""
        tensors = super().file_tensors()
        if self.pissa:
            start_down, start_up = tensors.pop(START_DOWN), tensors.pop(START_UP)
            tensors[DOWN] = torch.cat([tensors[DOWN], start_down])
            tensors[UP] = torch.cat([tensors[UP], -start_up], dim=1)
            tensors[ALPHA] = 2 * tensors[ALPHA]
        return tensors

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a file's tensors; see `AdapterModule.load_file`."""
        if not self.pissa:
            return super().load_file(found)
        halves = {DOWN: self.lora_down.weight, UP: self.lora_up.weight, START_DOWN: self.get_buffer(START_DOWN), START_UP: self.get_buffer(START_UP)}
        refuse_others(found, {DOWN: self.lora_down.weight, UP: self.lora_up.weight})
        whole = {key: found[key] for key in (DOWN, UP) if key in found}
        if len(whole) < 2 or whole[DOWN].shape[0] != 2 * self.rank:
            raise ValueError("it is no file of a PiSSA training with this rank")
        parts = dict(zip((DOWN, START_DOWN), whole[DOWN].chunk(2), strict=True)) | dict(zip((UP, START_UP), whole[UP].chunk(2, dim=1), strict=True))
        copy_all(halves, {**parts, START_UP: -parts[START_UP]})
        return False

    def _start_from_weight(self, seed: int) -> None:
        """PiSSA: the factors' product is the weight's best approximation of this rank. What it is at the start is taken off again, so that the model
        begins as it was. Source: Meng et al. 2024, "PiSSA", arXiv:2404.02948, equations 2 to 4.
        """
        down, up = self.lora_down.weight, self.lora_up.weight
        rows, columns = principal_factors(self.weight.detach().float(), self.rank, self.scale, _generator(seed, self.target))
        with torch.no_grad():
            down.copy_(rows.view(down.shape))
            up.copy_(columns.view(up.shape))
        self.register_buffer(START_DOWN, down.detach().clone())
        self.register_buffer(START_UP, up.detach().clone())

    def _through(self, inputs: Tensor, down: Tensor, up: Tensor, factor: float, *, dropping: bool) -> tuple[Tensor, float]:
        if self.conv is None:
            hidden = F.linear(inputs, down)
        else:
            stride, padding, dilation = self.conv
            hidden = F.conv2d(inputs, down, None, stride, padding, dilation)
        if dropping:
            hidden, factor = self._drop(hidden, factor)
        if self.kept is not None and self.training:
            hidden = hidden * self._per_rank(self.kept, hidden)
        return (F.linear(hidden, up) if self.conv is None else F.conv2d(hidden, up)), factor

    def _drop(self, hidden: Tensor, factor: float) -> tuple[Tensor, float]:
        """Dropout of activations, then of ranks per item; what remains of the ranks is scaled up to keep the expectation."""
        if self.dropouts.neuron:
            hidden = F.dropout(hidden, self.dropouts.neuron)
        if self.dropouts.rank:
            keep = torch.rand((hidden.shape[0], self.rank), device=hidden.device) > self.dropouts.rank
            hidden, factor = hidden * self._per_rank(keep, hidden), factor / (1 - self.dropouts.rank)
        return hidden, factor

    def _per_rank(self, mask: Tensor, hidden: Tensor) -> Tensor:
        """(batch, rank) as it is multiplied with (batch, ..., rank) or (batch, rank, height, width)."""
        middle = (1,) * (hidden.dim() - 2)
        return mask.view(mask.shape[0], *middle, -1) if self.conv is None else mask.view(*mask.shape, *middle)


class LoRAFAModule(LoRAModule):
    """LoRA whose down factor stays as it was drawn: half the numbers to train, and no need to keep the layer's inputs for its gradient.

    Init: down normal with deviation √(2 / (in + rank)). Source: Zhang et al. 2023, "LoRA-FA", arXiv:2308.03303.
    """

    def _start(self, down: Tensor, seed: int) -> Tensor:
        deviation = math.sqrt(2 / (down.shape[1] + down.shape[0]))
        return down.normal_(0, deviation, generator=_generator(seed, self.target))

    def trained_parameters(self) -> list[nn.Parameter]:
        """All but the down factor."""
        return [parameter for parameter in self.parameters() if parameter is not self.lora_down.weight]

    def plus_parameters(self) -> list[nn.Parameter]:
        """None: there is no slower one beside them."""
        return []


def product(down: Tensor, up: Tensor) -> Tensor:
    """The weight change up · down: (out, in) or (out, in, k, k), from factors shaped as `LoRAModule` says."""
    return (up.flatten(1) @ down.flatten(1)).view(up.shape[0], *down.shape[1:])


def principal_factors(weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Factors with scale · up · down = the part of `weight` that its `rank` largest singular values make up.

    Args:
        weight: (out, in) or (out, in, k, k), float32.
        generator: on the CPU, of the random projection that finds them: a twentieth of the time of a whole decomposition.

    Returns:
        down (rank, in · k · k) and up (out, rank), float32, each with √ of the singular values.

    Raises:
        ValueError: the weight's smaller side is below `rank`.

    Source: Halko et al. 2011, "Finding structure with randomness", arXiv:0909.4061, algorithm 5.1 with power iterations.
    """
    matrix = weight.flatten(1)
    least = min(matrix.shape)
    if rank > least:
        raise ValueError(f"rank {rank} is above the smaller side of a layer, {least}")
    probe = torch.randn(matrix.shape[1], min(least, rank + SVD_MORE), generator=generator).to(matrix)
    basis = torch.linalg.qr(matrix @ probe).Q
    for _ in range(SVD_ROUNDS):
        basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis).Q).Q
    left, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    root = (values[:rank] / scale).sqrt()
    return root[:, None] * right[:rank], (basis @ left[:, :rank]) * root


def kept_ranks(timesteps: Tensor, rank: int, *, least: int, exponent: float, steps: int = 1000) -> Tensor:
    """Which ranks take part at each timestep, (batch, rank), float32: all at timestep 0, the first `least` at the last one.

    Source: Soboleva et al. 2025, "T-LoRA", arXiv:2507.05964: r(t) = ⌊(r - least) · ((T - t) / T)^exponent⌋ + least.
    """
    clean = ((steps - timesteps.float()) / steps).clamp(0, 1) ** exponent
    ranks = ((rank - min(least, rank)) * clean).floor() + min(least, rank)
    return (torch.arange(rank, device=timesteps.device) < ranks[:, None]).float()


def _generator(seed: int, target: AdapterTarget) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(seed, f"adapter init {target.name}"))


__all__ = ["ALPHA", "DOWN", "UP", "Dropouts", "LoRAFAModule", "LoRAModule", "kept_ranks", "principal_factors", "product"]
