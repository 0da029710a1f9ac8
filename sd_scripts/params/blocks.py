"""Rank, alpha and learning-rate weight per block of a U-Net, from the `block_*` and `*_lr_weight` arguments of networks.lora."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sd_scripts.errors import ConfigError
from sd_scripts.params.network import LoRAArgs, Network

N = TypeVar("N", int, float)
DEFAULT_RANK = 4
CURVES: dict[str, Callable[[float], float]] = {
    "sine": lambda x: math.sin(x * math.pi / 2),
    "cosine": lambda x: math.sin((1 - x) * math.pi / 2),
    "linear": lambda x: x,
    "reverse_linear": lambda x: 1 - x,
    "zeros": lambda x: 0.0,
}
"""Presets of `down_lr_weight` and `up_lr_weight` over x, a block's place in its list from 0 (first) to 1 (last)."""


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """How many blocks of a U-Net take an item of each list; `ends` more at either end (time embedding, output) take none and weigh 1."""

    down: int
    mid: int
    up: int
    ends: int = 0

    @property
    def count(self) -> int:
        """Length of the `block_*` lists."""
        return self.down + self.mid + self.up + 2 * self.ends


UNET_25 = BlockLayout(12, 1, 12)
"""SD 1.x and 2.x: 12 down, 1 middle, 12 up."""
UNET_23 = BlockLayout(9, 3, 9, ends=1)
"""U-Nets of 9 + 3 + 9 blocks with lists that count both ends."""


@dataclass(frozen=True, slots=True)
class BlockRanks:
    """Rank and alpha per block: of linear layers and 1×1 convolutions, and of larger convolutions (None: those, and resnets, get no adapter)."""

    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    conv_ranks: tuple[int, ...] | None
    conv_alphas: tuple[float, ...]


def block_ranks(network: Network, arguments: LoRAArgs, layout: BlockLayout = UNET_25) -> BlockRanks:
    """What each block gets. A list that is not given repeats the single value; rank 0 and learning-rate weight 0 mean no adapter in that block.

    Raises:
        ConfigError: a list has the wrong length, or an item is no number.
    """
    rank = DEFAULT_RANK if network.network_dim is None else network.network_dim
    ranks = _list("block_dims", arguments.block_dims, layout, int) or (rank,) * layout.count
    alphas = _list("block_alphas", arguments.block_alphas, layout, float) or (network.network_alpha,) * layout.count
    conv = _list("conv_block_dims", arguments.conv_block_dims, layout, int)
    if conv is None and arguments.conv_dim:
        conv = (arguments.conv_dim,) * layout.count
    conv_alpha = 1.0 if arguments.conv_alpha is None else arguments.conv_alpha
    conv_alphas = _list("conv_block_alphas", arguments.conv_block_alphas, layout, float) or (conv_alpha,) * layout.count
    weights = lr_weights(arguments, layout)
    if weights is not None:
        ranks = tuple(rank if weight else 0 for rank, weight in zip(ranks, weights, strict=True))
        conv = conv and tuple(rank if weight else 0 for rank, weight in zip(conv, weights, strict=True))
    return BlockRanks(ranks, alphas, conv, conv_alphas)


def lr_weights(arguments: LoRAArgs, layout: BlockLayout = UNET_25) -> tuple[float, ...] | None:
    """Factor on the U-Net's learning rate per block, 0 where it is at or below the threshold; None if no weight was asked for.

    Each list may be a preset (`cosine`, `sine`, `linear`, `reverse_linear`, `zeros`, with `+base` added to every item), one number for all
    its blocks, or a list: too long is cut, too short is filled up with 1.

    Raises:
        ConfigError: an item is neither a number nor a preset.
    """
    texts = (arguments.down_lr_weight, arguments.mid_lr_weight, arguments.up_lr_weight)
    if not any(texts):
        return None
    names, sizes = ("down_lr_weight", "mid_lr_weight", "up_lr_weight"), (layout.down, layout.mid, layout.up)
    parts = [_weights(name, text, size) for name, text, size in zip(names, texts, sizes, strict=True)]
    threshold = arguments.block_lr_zero_threshold or 0.0
    middle = (weight if weight > threshold else 0.0 for part in parts for weight in part)
    return (1.0,) * layout.ends + tuple(middle) + (1.0,) * layout.ends


def _weights(name: str, text: str | None, size: int) -> tuple[float, ...]:
    if not text:
        return (1.0,) * size
    preset, _, base = text.partition("+")
    curve = CURVES.get(preset.strip())
    if curve is not None:
        offset = _number(name, base, float) if base else 0.0
        return tuple(curve(index / max(size - 1, 1)) + offset for index in range(size))
    given = _numbers(name, text, float)
    if len(given) == 1 and "," not in text:
        return (given[0],) * size
    return (*given[:size], *(1.0 for _ in range(size - len(given))))


def _list(name: str, text: str | None, layout: BlockLayout, kind: Callable[[str], N]) -> tuple[N, ...] | None:
    if not text:
        return None
    given = _numbers(name, text, kind)
    if len(given) != layout.count:
        raise ConfigError(
            name,
            f"It has {len(given)} values, this model has {layout.count} blocks.",
            fix=f"Give {layout.count} numbers separated by commas.",
        )
    return given


def _numbers(name: str, text: str, kind: Callable[[str], N]) -> tuple[N, ...]:
    return tuple(_number(name, item.strip() or "0", kind) for item in text.strip().strip("[]").split(","))


def _number(name: str, text: str, kind: Callable[[str], N]) -> N:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else f"a number or one of {', '.join(CURVES)}" if name.endswith("lr_weight") else "a number"
        raise ConfigError(name, f"{text!r} is not {wanted}.", fix="Separate the numbers with commas.") from None
