"""Which modules of U-Nets and CLIP text encoders an adapter may patch.

The names are spelled out here and not read from `named_modules()`: module paths inside the libraries change between releases, names in files do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from torch import nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.ldm.text import text_root

ATTENTION, RESNET, RESAMPLING = "attentions", "resnets", ("downsamplers", "upsamplers")
"""Lists of layers in diffusers' blocks."""
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_TRANSFORMER = (*(f"attn1.{part}" for part in _PROJECTIONS), "ff.net.0.proj", "ff.net.2", *(f"attn2.{part}" for part in _PROJECTIONS))
_RESNET = ("conv1", "time_emb_proj", "conv2", "conv_shortcut")
_TEXT_LAYER = ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")


def text_targets(text_encoder: nn.Module, *, part: Literal["text_encoder", "text_encoder_2"], prefix: str) -> Iterator[AdapterTarget]:
    """Attention and MLP layers of a CLIP text encoder, under kohya's names with `prefix` ("lora_te", "lora_te1", ...)."""
    for index, layer in enumerate(text_root(text_encoder).encoder.layers):
        for path in _TEXT_LAYER:
            name = f"{prefix}_text_model_encoder_layers_{index}_{path.replace('.', '_')}"
            yield AdapterTarget(name, part, layer.get_submodule(path), "linear", False, None)


def attention_leaves(layer: Any) -> Iterator[str]:
    """Paths inside a Transformer2DModel, in order."""
    yield "proj_in"
    for index in range(len(layer.transformer_blocks)):
        yield from (f"transformer_blocks.{index}.{leaf}" for leaf in _TRANSFORMER)
    yield "proj_out"


def resnet_leaves(layer: nn.Module) -> Iterator[str]:
    """Paths inside a ResnetBlock2D, in order."""
    yield from (leaf for leaf in _RESNET if getattr(layer, leaf, None) is not None)


def kind_of(module: nn.Module) -> Literal["linear", "conv1x1", "conv3x3"]:
    """Which kind of layer it is, as `AdapterTarget` calls them."""
    if not isinstance(module, nn.Conv2d):
        return "linear"
    return "conv1x1" if module.kernel_size == (1, 1) else "conv3x3"
