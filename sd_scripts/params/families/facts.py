"""What every family says about itself as data: shape of its latents, names of its cache files, its trainers, defaults of its previews."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    adapter_blocks: int
    resolution_of: Mapping[str, int]
    preview: PreviewDefaults
    text_cache: TextCacheLayout | None = None
