"""Sizes of a Stable Diffusion model from the shapes in its file, as keyword arguments of the library classes. Nothing is loaded here.

What shapes cannot tell (heads, activation) follows the published models: SD 1.x has convolutional projections, 8 heads and quick_gelu; SD 2.x has
linear projections, heads of 64 channels, gelu and an OpenCLIP text encoder of which 23 layers are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sd_scripts.library.families.clip import BOS, EOS
from sd_scripts.library.families.sd.convert import CLIP_PREFIX, OLD_CLIP_PREFIX, OPEN_CLIP_PREFIX, UNET_PREFIX
from sd_scripts.params.families.sd import USED_TEXT_LAYERS

Shapes = Mapping[str, tuple[int, ...]]
HEAD_WIDTH = 64
SD1_HEADS = 8


def uses_open_clip(shapes: Shapes) -> bool:
    """True for the SD 2.x layout of a single file."""
    return f"{OPEN_CLIP_PREFIX}token_embedding.weight" in shapes


def clip_prefix(shapes: Shapes) -> str:
    """Where an SD 1.x file keeps its text encoder: files from before transformers 4.14 have no `text_model.` level."""
    return OLD_CLIP_PREFIX if f"{OLD_CLIP_PREFIX}final_layer_norm.weight" in shapes else CLIP_PREFIX


def unet_config(shapes: Shapes, *, prefix: str = UNET_PREFIX) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DConditionModel. Raises KeyError where a weight that gives a size is missing."""
    strides = sorted(int(found[1]) for key in shapes if (found := re.fullmatch(re.escape(prefix) + r"input_blocks\.(\d+)\.0\.op\.weight", key)))
    first_of_middle = f"{prefix}middle_block.0.in_layers.2.weight"
    levels = len(strides) + 1
    layers = strides[0] - 1 if strides else _count(shapes, rf"{re.escape(prefix)}input_blocks\.(\d+)\.0\.in_layers\.0\.weight")
    blocks = [f"{prefix}input_blocks.{(layers + 1) * level + 1}" for level in range(levels)]
    channels = tuple(shapes[f"{block}.0.out_layers.3.weight"][0] for block in blocks)
    depths = [_count(shapes, rf"{re.escape(block)}\.1\.transformer_blocks\.(\d+)\.norm1\.weight") for block in blocks]
    middle_depth = _count(shapes, rf"{re.escape(prefix)}middle_block\.1\.transformer_blocks\.(\d+)\.norm1\.weight")
    linear = len(shapes[f"{prefix}middle_block.1.proj_in.weight"]) == 2
    if shapes[first_of_middle][1] != channels[-1]:
        raise KeyError(first_of_middle)
    return {
        "in_channels": shapes[f"{prefix}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{prefix}out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths),
        "up_block_types": tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)),
        "transformer_layers_per_block": tuple(depth or middle_depth for depth in depths),
        "cross_attention_dim": shapes[f"{prefix}middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "use_linear_projection": linear,
        "attention_head_dim": tuple(max(1, width // HEAD_WIDTH) for width in channels) if linear else SD1_HEADS,
    }


def vae_config(shapes: Shapes, *, prefix: str) -> dict[str, Any]:
    """Arguments of diffusers' AutoencoderKL. Raises KeyError where a weight that gives a size is missing."""
    down = re.escape(prefix) + r"encoder\.down\."
    levels = _count(shapes, down + r"(\d+)\.block\.0\.conv2\.weight")
    if not levels:
        raise KeyError(f"{prefix}encoder.down.0.block.0.conv2.weight")
    return {
        "in_channels": shapes[f"{prefix}encoder.conv_in.weight"][1],
        "out_channels": shapes[f"{prefix}decoder.conv_out.weight"][0],
        "block_out_channels": tuple(shapes[f"{prefix}encoder.down.{level}.block.0.conv2.weight"][0] for level in range(levels)),
        "layers_per_block": _count(shapes, down + r"0\.block\.(\d+)\.conv2\.weight"),
        "latent_channels": shapes[f"{prefix}encoder.conv_out.weight"][0] // 2,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "use_quant_conv": f"{prefix}quant_conv.weight" in shapes,
        "use_post_quant_conv": f"{prefix}post_quant_conv.weight" in shapes,
    }


def text_config(shapes: Shapes) -> dict[str, Any]:
    """Arguments of transformers' CLIPTextConfig. Raises KeyError where a weight that gives a size is missing.

    SD 2.x files hold 24 layers, of which the last is not used.
    """
    if uses_open_clip(shapes):
        embedding, position = f"{OPEN_CLIP_PREFIX}token_embedding.weight", f"{OPEN_CLIP_PREFIX}positional_embedding"
        mlp = f"{OPEN_CLIP_PREFIX}transformer.resblocks.0.mlp.c_fc.weight"
        layers = _count(shapes, rf"{re.escape(OPEN_CLIP_PREFIX)}transformer\.resblocks\.(\d+)\.ln_1\.weight")
        layers, activation = min(layers, USED_TEXT_LAYERS["sd2"]), "gelu"
    else:
        top = clip_prefix(shapes)
        embedding, position = f"{top}embeddings.token_embedding.weight", f"{top}embeddings.position_embedding.weight"
        mlp = f"{top}encoder.layers.0.mlp.fc1.weight"
        layers, activation = _count(shapes, rf"{re.escape(top)}encoder\.layers\.(\d+)\.layer_norm1\.weight"), "quick_gelu"
    words, width = shapes[embedding]
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shapes[mlp][0],
        "projection_dim": width,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": shapes[position][0],
        "hidden_act": activation,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    }


def _count(shapes: Shapes, pattern: str) -> int:
    return len({found[1] for key in shapes if (found := re.fullmatch(pattern, key))})
