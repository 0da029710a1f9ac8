"""SDXL: facts that need no weights. The tensors by which its files are recognised stand in `signatures`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType

from sd_scripts.params.blocks import UNET_23
from sd_scripts.params.families.clip_layers import FolderText, SingleText, text_places
from sd_scripts.params.families.facts import AdapterPlace, FamilyFacts, PreviewDefaults, Tensors, TextCacheLayout, has_bias
from sd_scripts.params.families.unet_ends import end_places

_SIDES = {"input_blocks": 1, "middle_block": 10, "output_blocks": 13}
"""kohya's index of the first block of each side; 0 is the time embedding, 22 the output."""
_KEY = re.compile(r"model\.diffusion_model\.((?:input_blocks|output_blocks)\.\d+\.\d+|middle_block\.\d+)\.(.+)\.weight")
_RESNET = {"conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
_RESNET_NORM = {"norm1": "in_layers.0", "norm2": "out_layers.0"}
_NORM = re.compile(r"in_layers\.0|out_layers\.0|norm|transformer_blocks\.\d+\.norm[123]")
_ATTENTION = re.compile(r"proj_in|proj_out|transformer_blocks\.\d+\.(?:attn[12]\.to_(?:[qkv]|out\.0)|ff\.net\.(?:0\.proj|2))")
_CONV = ("op", "conv", *_RESNET.values())
_FOLDER = re.compile(r"unet/(?:(down|up)_blocks\.(\d+)|mid_block)\.(attentions|resnets|downsamplers|upsamplers)\.(\d+)\.(.+)\.weight")


def block_of(key: str) -> int:
    """kohya's block index of a module by its name in the original file, without prefix ("input_blocks.4.1.proj_in"): 1-9 input, 10-12 middle,
    13-21 output."""
    side, number = key.split(".")[:2]
    return _SIDES[side] + int(number)


def adapter_places(tensors: Tensors) -> tuple[AdapterPlace, ...]:
    """Every layer of a model that an adapter can wrap: text encoders, then U-Net, in the file's order."""
    return tuple(_places(tensors, norms=False))


def outer_places(tensors: Tensors) -> tuple[AdapterPlace, ...]:
    """What only presets of lycoris.kohya reach: norm layers, and what stands before and behind the blocks."""
    return (*_places(tensors, norms=True), *end_places(tensors, original_names=True, last_block=UNET_23.count - 1))


def _places(tensors: Tensors, *, norms: bool) -> Iterator[AdapterPlace]:
    first = (SingleText("conditioner.embedders.0.", "lora_te1"), FolderText("text_encoder", "lora_te1"))
    second = (SingleText("conditioner.embedders.1.", "lora_te2", part="text_encoder_2"), FolderText("text_encoder_2", "lora_te2"))
    yield from text_places(tensors, (*first, *second), norms=norms)
    layers = _layers_per_block(tensors)
    for name, (_, shape) in tensors.items():
        key = _original_key(name, layers)
        inner = key.split(".", 2 if key.startswith("middle_block") else 3)[-1]
        if key and (_NORM.fullmatch(inner) if norms else _ATTENTION.fullmatch(inner) or inner in _CONV):
            in_resnet = inner in _CONV or inner in _RESNET_NORM.values()
            bias = has_bias(tensors, name)
            yield AdapterPlace(f"lora_unet_{key.replace('.', '_')}", "unet", shape, block_of(key), in_resnet, bias=bias, is_norm=norms)


def _layers_per_block(tensors: Tensors) -> int:
    numbers = [int(found[1]) for name in tensors if (found := re.match(r"unet/down_blocks\.0\.resnets\.(\d+)\.", name))]
    return max(numbers, default=1) + 1


def _original_key(name: str, layers: int) -> str:
    """The original key, without prefix and `.weight`, of a single file's tensor or a folder's; "" for what lies in no block."""
    single = _KEY.fullmatch(name)
    if single:
        return f"{single[1]}.{single[2]}"
    found = _FOLDER.fullmatch(name)
    if not found:
        return ""
    side, level, kind, index, inner = found[1], int(found[2] or 0), found[3], int(found[4]), found[5]
    inner = _RESNET.get(inner) or _RESNET_NORM.get(inner, inner) if kind == "resnets" else inner
    if side is None:
        return f"middle_block.{1 if kind == 'attentions' else 2 * index}.{inner}"
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (level + 1)}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{(layers + 1) * level + layers}.2.conv"
    place = f"input_blocks.{(layers + 1) * level + index + 1}" if side == "down" else f"output_blocks.{(layers + 1) * level + index}"
    return f"{place}.{1 if kind == 'attentions' else 0}.{inner}"


FACTS = FamilyFacts(
    name="sdxl",
    title="SDXL",
    kinds=("sdxl",),
    scripts=MappingProxyType({"adapter": "sdxl_train_network"}),
    latent_channels=4,
    latent_stride=8,
    bucket_divisor=32,
    cache_suffix="_sdxl.npz",
    blocks=UNET_23,
    places=adapter_places,
    outer_places=outer_places,
    resolution_of=MappingProxyType({"sdxl": 1024}),
    activations=MappingProxyType({"sdxl": (9100, 1500)}),
    preview=PreviewDefaults(width=512, height=512, sample_steps=30, scale=7.5, divisor=8, smallest=64),
    text_cache=TextCacheLayout("_te_outputs.npz", ("hidden_state1", "hidden_state2"), "pool2"),
    half_vae_overflows=True,
    takes_clip_skip=False,
    text_encoders=2,
)
