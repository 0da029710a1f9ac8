"""Which modules of Stable Diffusion an adapter may patch, under kohya's names and in kohya's order.

The names are spelled out here and not read from `named_modules()`: module paths inside the libraries change between releases, names in files do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.sd.text import text_root

UNET_NAME, TEXT_NAME = "lora_unet", "lora_te_text_model"
MIDDLE_BLOCK = 12
_LAYERS_PER_LEVEL = 3
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_TRANSFORMER = (*(f"attn1.{part}" for part in _ATTENTION), "ff.net.0.proj", "ff.net.2", *(f"attn2.{part}" for part in _ATTENTION))
_RESNET = ("conv1", "time_emb_proj", "conv2", "conv_shortcut")
_TEXT_LAYER = ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")


def unet_targets(unet: UNet2DConditionModel) -> Iterator[AdapterTarget]:
    """Modules of a UNet2DConditionModel: down, then up, then middle blocks; in each, attentions before resnets before resampling."""
    for side, first in (("down", 1), ("up", MIDDLE_BLOCK + 1)):
        for level, block in enumerate(getattr(unet, f"{side}_blocks")):
            yield from _block_targets(block, f"{side}_blocks.{level}", first + _LAYERS_PER_LEVEL * level, is_middle=False)
    yield from _block_targets(unet.mid_block, "mid_block", MIDDLE_BLOCK, is_middle=True)


def text_targets(text_encoder: CLIPTextModel) -> Iterator[AdapterTarget]:
    """Attention and MLP layers of a CLIPTextModel."""
    for index, layer in enumerate(text_root(text_encoder).encoder.layers):
        for path in _TEXT_LAYER:
            name = f"{TEXT_NAME}_encoder_layers_{index}_{path.replace('.', '_')}"
            yield AdapterTarget(name, "text_encoder", layer.get_submodule(path), "linear", False, None)


def _block_targets(block: Any, path: str, first: int, *, is_middle: bool) -> Iterator[AdapterTarget]:
    """Targets of one level. Its layer j counts as kohya's block first + j, a down- or upsampler as the level's last; the middle is one block."""
    for kind, leaves in (("attentions", _attention_leaves), ("resnets", _resnet_leaves), ("downsamplers", _conv_leaf), ("upsamplers", _conv_leaf)):
        for index, layer in enumerate(getattr(block, kind, None) or ()):
            offset = _LAYERS_PER_LEVEL - 1 if leaves is _conv_leaf else index
            for leaf in leaves(layer):
                module = layer.get_submodule(leaf)
                name = f"{UNET_NAME}_{path}_{kind}_{index}_{leaf}".replace(".", "_")
                yield AdapterTarget(name, "unet", module, _kind(module), kind != "attentions", first if is_middle else first + offset)


def _attention_leaves(layer: Any) -> Iterator[str]:
    yield "proj_in"
    for index in range(len(layer.transformer_blocks)):
        yield from (f"transformer_blocks.{index}.{leaf}" for leaf in _TRANSFORMER)
    yield "proj_out"


def _resnet_leaves(layer: nn.Module) -> Iterator[str]:
    yield from (leaf for leaf in _RESNET if getattr(layer, leaf, None) is not None)


def _conv_leaf(layer: nn.Module) -> Iterator[str]:
    yield "conv"


def _kind(module: nn.Module) -> Literal["linear", "conv1x1", "conv3x3"]:
    if not isinstance(module, nn.Conv2d):
        return "linear"
    return "conv1x1" if module.kernel_size == (1, 1) else "conv3x3"
