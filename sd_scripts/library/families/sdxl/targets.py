"""Which modules of the SDXL U-Net an adapter may patch, under kohya's names, which are those of the original files, and in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.ldm.convert import unet_key
from sd_scripts.library.families.ldm.targets import ATTENTION, RESAMPLING, RESNET, attention_leaves, kind_of, resnet_leaves
from sd_scripts.params.families.sdxl import block_of


def unet_targets(unet: UNet2DConditionModel, *, norms: bool = False) -> Iterator[AdapterTarget]:
    """Modules of a UNet2DConditionModel in the order of the original file: input, middle, output blocks; in each, resnet, attention, resampling.

    `norms`: the norm layers in its blocks instead.
    """
    layers, with_attention = unet.config["layers_per_block"], levels_with_attention(unet)
    for path, layer in _layers(unet):
        for leaf in _leaves(path, layer, norms=norms):
            key, module = unet_key(f"{path}.{leaf}.weight", layers, with_attention).removesuffix(".weight"), layer.get_submodule(leaf)
            yield AdapterTarget(f"lora_unet_{key.replace('.', '_')}", "unet", module, kind_of(module), ATTENTION not in path, block_of(key))


def levels_with_attention(unet: Any) -> set[int]:
    """Levels of the way up that have attention."""
    return {level for level, block in enumerate(unet.up_blocks) if hasattr(block, ATTENTION)}


def _leaves(path: str, layer: Any, *, norms: bool) -> Iterator[str]:
    """Paths inside a layer that lies at `path` in diffusers' tree."""
    if ATTENTION in path:
        return attention_leaves(layer, norms=norms)
    if RESNET in path:
        return resnet_leaves(layer, norms=norms)
    return iter(() if norms else ("conv",))


def _layers(unet: Any) -> Iterator[tuple[str, nn.Module]]:
    """Path in diffusers' tree and module of each layer in the blocks."""
    for level, block in enumerate(unet.down_blocks):
        yield from _level(block, f"down_blocks.{level}")
    middle = unet.mid_block
    yield f"mid_block.{RESNET}.0", middle.resnets[0]
    yield f"mid_block.{ATTENTION}.0", middle.attentions[0]
    yield f"mid_block.{RESNET}.1", middle.resnets[1]
    for level, block in enumerate(unet.up_blocks):
        yield from _level(block, f"up_blocks.{level}")


def _level(block: Any, path: str) -> Iterator[tuple[str, nn.Module]]:
    attentions = getattr(block, ATTENTION, None)
    for index, resnet in enumerate(block.resnets):
        yield f"{path}.{RESNET}.{index}", resnet
        if attentions is not None:
            yield f"{path}.{ATTENTION}.{index}", attentions[index]
    for kind in RESAMPLING:
        for index, layer in enumerate(getattr(block, kind, None) or ()):
            yield f"{path}.{kind}.{index}", layer
