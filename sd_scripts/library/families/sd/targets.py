"""Which modules of the Stable Diffusion 1.x and 2.x U-Net an adapter may patch, under kohya's names (diffusers' paths) and in kohya's order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.ldm.targets import ATTENTION, RESAMPLING, RESNET, attention_leaves, kind_of, resnet_leaves

MIDDLE_BLOCK = 12
_LAYERS_PER_LEVEL = 3


def unet_targets(unet: UNet2DConditionModel, *, norms: bool = False) -> Iterator[AdapterTarget]:
    """Modules of a UNet2DConditionModel: down, then up, then middle blocks; in each, attentions before resnets before resampling.

    `norms`: the norm layers in its blocks instead.
    """
    for side, first in (("down", 1), ("up", MIDDLE_BLOCK + 1)):
        for level, block in enumerate(getattr(unet, f"{side}_blocks")):
            yield from _block_targets(block, f"{side}_blocks.{level}", first + _LAYERS_PER_LEVEL * level, is_middle=False, norms=norms)
    yield from _block_targets(unet.mid_block, "mid_block", MIDDLE_BLOCK, is_middle=True, norms=norms)


def _block_targets(block: Any, path: str, first: int, *, is_middle: bool, norms: bool) -> Iterator[AdapterTarget]:
    """Targets of one level. Its layer j counts as kohya's block first + j, a down- or upsampler as the level's last; the middle is one block."""
    for kind in (ATTENTION, RESNET, *(() if norms else RESAMPLING)):
        for index, layer in enumerate(getattr(block, kind, None) or ()):
            offset = _LAYERS_PER_LEVEL - 1 if kind in RESAMPLING else index
            leaves = attention_leaves(layer, norms=norms) if kind == ATTENTION else resnet_leaves(layer, norms=norms) if kind == RESNET else ("conv",)
            for leaf in leaves:
                module = layer.get_submodule(leaf)
                name = f"lora_unet_{path}_{kind}_{index}_{leaf}".replace(".", "_")
                yield AdapterTarget(name, "unet", module, kind_of(module), kind != ATTENTION, first if is_middle else first + offset)
