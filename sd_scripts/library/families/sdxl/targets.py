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


def unet_targets(unet: UNet2DConditionModel) -> Iterator[AdapterTarget]:
    """Modules of a UNet2DConditionModel in the order of the original file: input, middle, output blocks; in each, resnet, attention, resampling."""
    layers, with_attention = unet.config["layers_per_block"], levels_with_attention(unet)
    for path, leaf, module in _leaves(unet):
        key = unet_key(f"{path}.{leaf}.weight", layers, with_attention).removesuffix(".weight")
        yield AdapterTarget(f"lora_unet_{key.replace('.', '_')}", "unet", module, kind_of(module), ATTENTION not in path, block_of(key))


def levels_with_attention(unet: Any) -> set[int]:
    """Levels of the way up that have attention."""
    return {level for level, block in enumerate(unet.up_blocks) if hasattr(block, ATTENTION)}


def _leaves(unet: Any) -> Iterator[tuple[str, str, nn.Module]]:
    """Path of the layer in diffusers' tree, path in the layer, and the module."""
    for level, block in enumerate(unet.down_blocks):
        yield from _level(block, f"down_blocks.{level}")
    middle = unet.mid_block
    yield from _resnet(middle.resnets[0], "mid_block.resnets.0")
    yield from _attention(middle.attentions[0], "mid_block.attentions.0")
    yield from _resnet(middle.resnets[1], "mid_block.resnets.1")
    for level, block in enumerate(unet.up_blocks):
        yield from _level(block, f"up_blocks.{level}")


def _level(block: Any, path: str) -> Iterator[tuple[str, str, nn.Module]]:
    attentions = getattr(block, ATTENTION, None)
    for index, resnet in enumerate(block.resnets):
        yield from _resnet(resnet, f"{path}.{RESNET}.{index}")
        if attentions is not None:
            yield from _attention(attentions[index], f"{path}.{ATTENTION}.{index}")
    for kind in RESAMPLING:
        for index, layer in enumerate(getattr(block, kind, None) or ()):
            yield f"{path}.{kind}.{index}", "conv", layer.conv


def _resnet(layer: nn.Module, path: str) -> Iterator[tuple[str, str, nn.Module]]:
    yield from ((path, leaf, layer.get_submodule(leaf)) for leaf in resnet_leaves(layer))


def _attention(layer: nn.Module, path: str) -> Iterator[tuple[str, str, nn.Module]]:
    yield from ((path, leaf, layer.get_submodule(leaf)) for leaf in attention_leaves(layer))
