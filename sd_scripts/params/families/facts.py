"""What every family says about itself as data: shape of its latents, names of its cache files, its trainers, defaults of its previews."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sd_scripts.params.blocks import BlockLayout

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]
"""(type, shape) of a weights file's tensors by name; those of a folder begin with their part: "unet/..."."""


@dataclass(frozen=True, slots=True)
class AdapterPlace:
    """A layer that an adapter can wrap, told from a weights file's header.

    `shape` is (outputs, inputs) of a linear layer or (outputs, inputs, height, width) of a convolution; `block` is kohya's block index, None in a
    text encoder. `needs_conv`: only with `conv_dim`. The last three are for layers that only presets of lycoris.kohya reach; see
    `params.layers.Layer`.
    """

    name: str
    part: Literal["unet", "text_encoder", "text_encoder_2"]
    shape: tuple[int, ...]
    block: int | None
    needs_conv: bool
    bias: bool = True
    is_norm: bool = False
    is_outer: bool = False
    alias: str = ""

    @property
    def is_large_conv(self) -> bool:
        """A convolution that is not 1×1."""
        return math.prod(self.shape[2:]) > 1

    def parameters(self, rank: int) -> int:
        """Trained numbers of a LoRA of `rank` here: down and up factor."""
        return rank * (math.prod(self.shape[1:]) + self.shape[0])


def has_bias(tensors: Tensors, weight: str) -> bool:
    """Whether the layer whose weight is called so has a bias."""
    return f"{weight.removesuffix('weight')}bias" in tensors


@dataclass(frozen=True, slots=True)
class PreviewDefaults:
    """A preview picture where the prompt does not say: size in pixels, steps, guidance; sides are multiples of `divisor`, at least `smallest`.

    `options` are the prompt's line options that only some families have and this one takes.
    """

    width: int
    height: int
    sample_steps: int
    scale: float
    divisor: int
    smallest: int
    options: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TextCacheLayout:
    """Files of encoded captions: end of their names, and the arrays in them: one per text encoder, `parts`, and `pooled`."""

    suffix: str
    parts: tuple[str, ...]
    pooled: str


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """A family as far as it can be told without its weights.

    `kinds` are the kinds of file (see `signatures`) that its trainers take. Sides of pictures must be multiples of `latent_stride` pixels, sides of
    buckets should be of `bucket_divisor`. `scripts` maps a method to its trainer. `resolution_of` maps a kind to the side it was trained at.
    `blocks` are those of its U-Net that have a rank and a rate of their own, `places` finds the layers that an adapter can wrap in a file's tensors,
    `outer_places` those that only presets of lycoris.kohya reach.
    `half_vae_overflows`: its own VAE makes NaN in fp16. `activations` maps a kind to the bytes per pixel that a step in 16 bits keeps for its
    backward pass: as it is, and with every block checkpointed.
    `text_cache` is None where the ecosystem has no files of encoded captions.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    scripts: Mapping[str, str]
    latent_channels: int
    latent_stride: int
    bucket_divisor: int
    cache_suffix: str
    blocks: BlockLayout
    places: Callable[[Tensors], tuple[AdapterPlace, ...]]
    outer_places: Callable[[Tensors], tuple[AdapterPlace, ...]]
    resolution_of: Mapping[str, int]
    preview: PreviewDefaults
    activations: Mapping[str, tuple[int, int]]
    text_cache: TextCacheLayout | None = None
    half_vae_overflows: bool = False
    takes_clip_skip: bool = True
    text_encoders: int = 1

    @property
    def usual_sizes(self) -> str:
        """Training sizes for people: "512,512 for Stable Diffusion 1.x, 768,768 for Stable Diffusion 2.x"."""
        sides = [f"{side},{side}" for side in self.resolution_of.values()]
        return sides[0] if len(sides) == 1 else " or ".join(f"{side} ({kind})" for kind, side in zip(self.resolution_of, sides, strict=True))
