"""Sizes of a latent diffusion model from the shapes in its file, as keyword arguments of the library classes. Nothing is loaded here.

What shapes cannot tell (heads, activation) follows the published models: a U-Net with convolutional projections has 8 heads, one with linear
projections heads of 64 channels; OpenAI's text encoders compute quick_gelu, OpenCLIP's gelu.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sd_scripts.library.families.clip import BOS, EOS
from sd_scripts.library.families.ldm.convert import UNET_PREFIX

Shapes = Mapping[str, tuple[int, ...]]
HEAD_WIDTH = 64
SIZE_WIDTH = 256
CONV_HEADS = 8


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
    labels = shapes.get(f"{prefix}label_emb.0.0.weight")
    return {
        **(_size_conditioning(labels[1]) if labels else {}),
        "in_channels": shapes[f"{prefix}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{prefix}out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths),
        "up_block_types": tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)),
        "transformer_layers_per_block": tuple(depth or middle_depth for depth in depths),
        "cross_attention_dim": shapes[f"{prefix}middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "use_linear_projection": linear,
        "attention_head_dim": tuple(max(1, width // HEAD_WIDTH) for width in channels) if linear else CONV_HEADS,
    }


def _size_conditioning(inputs: int) -> dict[str, Any]:
    """Six sizes as sines of 256 numbers each beside the pooled caption: Podell et al. 2023, arXiv:2307.01952, section 2.2."""
    return {"addition_embed_type": "text_time", "addition_time_embed_dim": SIZE_WIDTH, "projection_class_embeddings_input_dim": inputs}


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


def text_config(shapes: Shapes, *, prefix: str, open_clip: bool, most_layers: int | None = None) -> dict[str, Any]:
    """Arguments of transformers' CLIPTextConfig. Raises KeyError where a weight that gives a size is missing.

    Args:
        prefix: where the file keeps this text encoder.
        open_clip: the names are OpenCLIP's, else OpenAI's.
        most_layers: layers that are used where the file may hold more.
    """
    if open_clip:
        embedding, position = f"{prefix}token_embedding.weight", f"{prefix}positional_embedding"
        mlp, layer = f"{prefix}transformer.resblocks.0.mlp.c_fc.weight", r"transformer\.resblocks\.(\d+)\.ln_1\.weight"
    else:
        embedding, position = f"{prefix}embeddings.token_embedding.weight", f"{prefix}embeddings.position_embedding.weight"
        mlp, layer = f"{prefix}encoder.layers.0.mlp.fc1.weight", r"encoder\.layers\.(\d+)\.layer_norm1\.weight"
    words, width = shapes[embedding]
    layers = _count(shapes, re.escape(prefix) + layer)
    projection = shapes.get(f"{prefix}text_projection", (width, width))
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shapes[mlp][0],
        "projection_dim": projection[1],
        "num_hidden_layers": min(layers, most_layers or layers),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": shapes[position][0],
        "hidden_act": "gelu" if open_clip else "quick_gelu",
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    }


def _count(shapes: Shapes, pattern: str) -> int:
    return len({found[1] for key in shapes if (found := re.fullmatch(pattern, key))})
