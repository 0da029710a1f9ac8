"""networks.lora: low-rank updates of linear layers and convolutions (LoRA, and LoCon with `conv_dim`).

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685; LoRA+: Hayou et al. 2024, arXiv:2402.12354.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import Adapter, AdapterModule, add_to_weight
from sd_scripts.params.blocks import DEFAULT_RANK, UNET_25, BlockLayout, BlockRanks, block_ranks
from sd_scripts.params.config import Config
from sd_scripts.params.network import LoRAArgs, Network
from sd_scripts.params.training import Training
from sd_scripts.survey.randomness import seed_for

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"


@dataclass(frozen=True, slots=True)
class Dropouts:
    """Chances while training: `neuron` of an activation between the factors, `rank` of a rank per item, `module` of the whole module."""

    neuron: float = 0.0
    rank: float = 0.0
    module: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.neuron or self.rank or self.module)


class Factor(nn.Module):
    """One of the two matrices; a module so that its key ends in `.weight`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)


class LoRAModule(AdapterModule):
    """`up(down(x)) * alpha / rank`, added to a linear layer's or convolution's output.

    down is (rank, in) or (rank, in, k, k) with the convolution's stride, padding and dilation; up is (out, rank) or (out, rank, 1, 1). Both
    are float32. Init: down Kaiming-uniform with a = √5, drawn on the CPU from a seed of its own name; up zero, so it starts without effect.
    """

    def __init__(self, target: AdapterTarget, rank: int, alpha: float, *, dropouts: Dropouts | None = None, seed: int = 0) -> None:
        super().__init__(target, rank, alpha)
        module = target.module
        self.dropouts = dropouts or Dropouts()
        outputs, inputs, *kernel = cast(nn.Parameter, module.weight).shape
        down = torch.empty(rank, inputs, *kernel, dtype=torch.float32)
        generator = torch.Generator().manual_seed(seed_for(seed, f"adapter init {target.name}"))
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        self.lora_down = Factor(down)
        self.lora_up = Factor(torch.zeros(outputs, rank, *(1 for _ in kernel), dtype=torch.float32))
        self._conv = (module.stride, module.padding, module.dilation) if isinstance(module, nn.Conv2d) else None

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class; `inputs` (..., in) for linear layers, (batch, in, height, width) for convolutions."""
        plain, factor = self._plain(inputs), self.factor
        if not factor:
            return plain
        dropping = self.training and self.dropouts
        if dropping and dropping.module and torch.rand(1).item() < dropping.module:
            return plain
        down, up = self.lora_down.weight, self.lora_up.weight
        if self._conv is None:
            hidden = F.linear(inputs, down)
            if dropping:
                hidden, factor = self._drop(hidden, factor)
            return plain.add_(F.linear(hidden, up), alpha=factor)
        stride, padding, dilation = self._conv
        hidden = F.conv2d(inputs, down, None, stride, padding, dilation)
        if dropping:
            hidden, factor = self._drop(hidden, factor)
        return plain.add_(F.conv2d(hidden, up), alpha=factor)

    def delta(self) -> Tensor:
        """up · down in the weight's shape, float32."""
        down, up = self.lora_down.weight.detach().float(), self.lora_up.weight.detach().float()
        return product(down, up)

    def plus_parameters(self) -> list[nn.Parameter]:
        """The up factor."""
        return [self.lora_up.weight]

    def norm(self) -> Tensor:
        """Frobenius norm of scale · up · down, 0-dim: √ of the sum of (upᵀup) ∘ (down downᵀ), which never builds the product."""
        down, up = self.lora_down.weight.flatten(1), self.lora_up.weight.flatten(1)
        return self.scale * ((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt()

    def _drop(self, hidden: Tensor, factor: float) -> tuple[Tensor, float]:
        """Dropout of activations, then of ranks per item; what remains of the ranks is scaled up to keep the expectation."""
        if self.dropouts.neuron:
            hidden = F.dropout(hidden, self.dropouts.neuron)
        if self.dropouts.rank:
            keep = torch.rand((hidden.shape[0], self.rank), device=hidden.device) > self.dropouts.rank
            middle = (1,) * (hidden.dim() - 2)
            shape = (hidden.shape[0], *middle, self.rank) if self._conv is None else (hidden.shape[0], self.rank, *middle)
            hidden, factor = hidden * keep.view(shape), factor / (1 - self.dropouts.rank)
        return hidden, factor


class LoRA(Adapter):
    """An adapter whose modules are all `LoRAModule`s."""

    @torch.no_grad()
    def scale_norms(self, max_norm: float) -> tuple[int, float, float]:
        """Shrink both factors of every module whose scale · up · down has a Frobenius norm above `max_norm`.

        Returns:
            How many were shrunk, and mean and maximum norm afterwards. Reading these makes the accelerator wait: only with this option on.
        """
        modules = [module for _, module in self._each() if isinstance(module, LoRAModule)]
        if not modules:
            return 0, 0.0, 0.0
        norms = torch.stack([module.norm() for module in modules])
        ratios = max_norm / norms.clamp(min=max_norm)
        for module, ratio in zip(modules, ratios.sqrt(), strict=True):
            module.lora_down.weight.mul_(ratio)
            module.lora_up.weight.mul_(ratio)
        after = norms * ratios
        return int((ratios < 1).sum()), float(after.mean()), float(after.max())


def product(down: Tensor, up: Tensor) -> Tensor:
    """The weight change up · down: (out, in) or (out, in, k, k), from factors shaped as `LoRAModule` says."""
    return (up.flatten(1) @ down.flatten(1)).view(up.shape[0], *down.shape[1:])


def build(config: Config, targets: Sequence[AdapterTarget], *, multiplier: float = 1.0, layout: BlockLayout = UNET_25) -> LoRA:
    """The adapter that the options ask for, not yet applied. Its values do not depend on the order of `targets`.

    Raises:
        ConfigError: a block list has the wrong length or a wrong item, or no target gets a rank.
    """
    network, arguments = config[Network], config[LoRAArgs]
    ranks = block_ranks(network, arguments, layout)
    chosen = [(target, *_rank_of(target, network, ranks)) for target in targets]
    return _make(config, [(target, rank, alpha) for target, rank, alpha in chosen if rank], multiplier)


def build_from(config: Config, targets: Sequence[AdapterTarget], tensors: Mapping[str, Tensor], *, multiplier: float = 1.0) -> LoRA:
    """An adapter with the modules, ranks and alphas of a file (`dim_from_weights`). Its factors are not loaded here.

    Raises:
        ConfigError: the file holds no factor for any target.
    """
    known = [target for target in targets if f"{target.name}.{DOWN}" in tensors]
    if not known:
        fix = "dim_from_weights takes a LoRA file of the same model type."
        raise ConfigError("network_weights", "The file holds no LoRA for this model.", fix=fix)
    return _make(config, [(target, tensors[f"{target.name}.{DOWN}"].shape[0], alpha_of(target.name, tensors)) for target in known], multiplier)


def merge_file(targets: Sequence[AdapterTarget], tensors: Mapping[str, Tensor], multiplier: float) -> tuple[str, ...]:
    """Merge a LoRA file into the targets' weights in float32: W += multiplier · alpha / rank · up · down.

    Returns:
        Names in the file that have no target.

    Raises:
        ValueError: a factor does not fit its target, or no name fits.
    """
    names = {key.partition(".")[0] for key in tensors}
    found = [target for target in targets if target.name in names]
    if not found:
        raise ValueError("no name in it belongs to this model")
    for target in found:
        down, up = tensors.get(f"{target.name}.{DOWN}"), tensors.get(f"{target.name}.{UP}")
        if down is None or up is None:
            raise ValueError(f"{target.name} has no {DOWN if down is None else UP}")
        change, shape = product(down.float(), up.float()), cast(nn.Parameter, target.module.weight).shape
        if change.numel() != shape.numel() or change.shape[0] != shape[0]:
            raise ValueError(f"{target.name} is {tuple(change.shape)} in the file and {tuple(shape)} in the model")
        add_to_weight(target, change, multiplier * (alpha_of(target.name, tensors) or down.shape[0]) / down.shape[0])
    return tuple(sorted(names - {target.name for target in found}))


def alpha_of(name: str, tensors: Mapping[str, Tensor]) -> float:
    """A file's alpha of one module; 0, which means the rank, where the file has none."""
    alpha = tensors.get(f"{name}.{ALPHA}")
    return 0.0 if alpha is None else float(alpha)


def _rank_of(target: AdapterTarget, network: Network, ranks: BlockRanks) -> tuple[int, float]:
    """Rank (0: no adapter) and alpha of one target."""
    if target.conv and ranks.conv_ranks is None:
        return 0, 0.0
    if target.block is None:
        return (DEFAULT_RANK if network.network_dim is None else network.network_dim), network.network_alpha
    if target.kind == "conv3x3":
        return (ranks.conv_ranks or ranks.ranks)[target.block], ranks.conv_alphas[target.block]
    return ranks.ranks[target.block], ranks.alphas[target.block]


def _make(config: Config, chosen: Sequence[tuple[AdapterTarget, int, float]], multiplier: float) -> LoRA:
    if not chosen:
        fix = "Check network_dim, block_dims and the *_lr_weight lists."
        raise ConfigError("network_module", "No module of the model would get an adapter.", fix=fix)
    network, arguments = config[Network], config[LoRAArgs]
    dropouts = Dropouts(network.network_dropout or 0.0, arguments.rank_dropout or 0.0, arguments.module_dropout or 0.0)
    seed = config[Training].seed or 0
    return LoRA((LoRAModule(target, rank, alpha, dropouts=dropouts, seed=seed) for target, rank, alpha in chosen), multiplier=multiplier)
