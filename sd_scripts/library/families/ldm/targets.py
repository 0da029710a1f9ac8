"""Which modules of U-Nets and CLIP text encoders an adapter may patch.

The names are spelled out here and not read from `named_modules()`: module paths inside the libraries change between releases, names in files do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from torch import nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.ldm.text import text_root
from sd_scripts.params.families.unet_ends import LAST, UNET_ENDS

ATTENTION, RESNET, RESAMPLING = "attentions", "resnets", ("downsamplers", "upsamplers")
"""Lists of layers in diffusers' blocks."""
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_TRANSFORMER = (*(f"attn1.{part}" for part in _PROJECTIONS), "ff.net.0.proj", "ff.net.2", *(f"attn2.{part}" for part in _PROJECTIONS))
_RESNET = ("conv1", "time_emb_proj", "conv2", "conv_shortcut")
_TRANSFORMER_NORMS, _RESNET_NORMS, _TEXT_NORMS = ("norm1", "norm2", "norm3"), ("norm1", "norm2"), ("layer_norm1", "layer_norm2")
_TEXT_LAYER = ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")


def text_targets(
    text_encoder: nn.Module, *, part: Literal["text_encoder", "text_encoder_2"], prefix: str, norms: bool = False
) -> Iterator[AdapterTarget]:
    """Attention and MLP layers of a CLIP text encoder, or its norms, under kohya's names with `prefix` ("lora_te", "lora_te1", ...)."""
    for index, layer in enumerate(text_root(text_encoder).encoder.layers):
        for path in _TEXT_NORMS if norms else _TEXT_LAYER:
            name = f"{prefix}_text_model_encoder_layers_{index}_{path.replace('.', '_')}"
            yield AdapterTarget(name, part, layer.get_submodule(path), "norm" if norms else "linear", False, None)


def end_targets(unet: nn.Module, *, original_names: bool, last_block: int) -> Iterator[AdapterTarget]:
    """What stands before and behind all blocks, called as the original keys are, or as diffusers' paths."""
    for path, original in UNET_ENDS.items():
        if getattr(unet, path.partition(".")[0], None) is None:
            continue
        names = (original, path) if original_names else (path, original)
        name, alias = (name.replace(".", "_") for name in names)
        module, block = unet.get_submodule(path), last_block if path in LAST else 0
        yield AdapterTarget(f"lora_unet_{name}", "unet", module, kind_of(module), False, block, is_outer=True, alias=alias)


def attention_leaves(layer: Any, *, norms: bool = False) -> Iterator[str]:
    """Paths inside a Transformer2DModel, in order; `norms`: of its norms instead."""
    if norms:
        yield "norm"
        for index in range(len(layer.transformer_blocks)):
            yield from (f"transformer_blocks.{index}.{leaf}" for leaf in _TRANSFORMER_NORMS)
        return
    yield "proj_in"
    for index in range(len(layer.transformer_blocks)):
        yield from (f"transformer_blocks.{index}.{leaf}" for leaf in _TRANSFORMER)
    yield "proj_out"


def resnet_leaves(layer: nn.Module, *, norms: bool = False) -> Iterator[str]:
    """Paths inside a ResnetBlock2D, in order; `norms`: of its norms instead."""
    yield from (leaf for leaf in (_RESNET_NORMS if norms else _RESNET) if getattr(layer, leaf, None) is not None)


def kind_of(module: nn.Module) -> Literal["linear", "conv1x1", "conv3x3", "norm"]:
    """Which kind of layer it is, as `AdapterTarget` calls them."""
    if isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
        return "norm"
    if not isinstance(module, nn.Conv2d):
        return "linear"
    return "conv1x1" if module.kernel_size == (1, 1) else "conv3x3"
