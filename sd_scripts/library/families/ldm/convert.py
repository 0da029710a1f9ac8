"""Weight names of latent diffusion models: from our modules' (diffusers, transformers) to those of single files (LDM), usable in both directions.

A table maps each name of a module's state dict to the `Piece` of the file that holds it. `take` reads one; `join` turns a module's tensors back into
the file's. Sizes are inferred in config.py, files are read in load.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sd_scripts.params.families.unet_ends import UNET_ENDS

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a tensor lies in a file: under `key`, and which third of its rows (`part` 0, 1, 2: query, key, value) where the file fuses three.

    `transposed`: the file holds the matrix with rows and columns exchanged.
    """

    key: str
    part: int | None = None
    transposed: bool = False


Table = dict[str, Piece]

_UNET_TOP = {
    **UNET_ENDS,
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OLD_VAE_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
_OPEN_CLIP_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
}
_OPEN_CLIP_TOP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_VAE_PROJECTION = re.compile(r"\.attn_1\.(?:q|k|v|proj_out)\.weight$")
"""Linear layers here, 1x1 convolutions in files."""
_PROJECTION = ("text_projection.weight",)
_FUSED = ("q_proj", "k_proj", "v_proj")


def same_names(names: Iterable[str]) -> Table:
    """The table of a file that already uses our modules' names (diffusers folders)."""
    return {name: Piece(name) for name in names}


def unet_table(names: Iterable[str], *, layers_per_block: int, prefix: str = UNET_PREFIX) -> Table:
    """Single-file names of a UNet2DConditionModel's weights."""
    names = tuple(names)
    with_attention = {int(name.split(".")[1]) for name in names if name.startswith("up_blocks.") and ".attentions." in name}
    return {name: Piece(prefix + unet_key(name, layers_per_block, with_attention)) for name in names}


def unet_key(name: str, layers: int, with_attention: set[int]) -> str:
    """The single-file name, without prefix, of one U-Net weight; `with_attention` are the levels of the way up that have attention."""
    for ours, theirs in _UNET_TOP.items():
        if name.startswith(f"{ours}."):
            return theirs + _resnet_key(name[len(ours) :], ".resnets." in ours + ".")
    matched = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)(\..+)", name)
    if not matched:
        raise ValueError(f"{name} is no weight of a latent diffusion U-Net")
    side, level, kind, index, rest = matched[1], int(matched[2]), matched[3], int(matched[4]), matched[5]
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (level + 1)}.0" + rest.replace(".conv.", ".op.", 1)
    if kind == "upsamplers":
        return f"output_blocks.{(layers + 1) * level + layers}.{2 if level in with_attention else 1}" + rest
    slot = 0 if kind == "resnets" else 1
    block = f"input_blocks.{(layers + 1) * level + index + 1}" if side == "down" else f"output_blocks.{(layers + 1) * level + index}"
    return f"{block}.{slot}" + _resnet_key(rest, kind == "resnets")


def _resnet_key(rest: str, is_resnet: bool) -> str:
    part, _, leaf = rest[1:].partition(".")
    return f".{_UNET_RESNET[part]}.{leaf}" if is_resnet else rest


def vae_table(names: Iterable[str], *, levels: int, prefix: str = VAE_PREFIX) -> Table:
    """Single-file names of an AutoencoderKL's weights; attention weights are 1x1 convolutions there (`take` and `join` change the shape)."""
    return {name: Piece(prefix + vae_key(name, levels)) for name in names}


def vae_key(name: str, levels: int) -> str:
    """The single-file name, without prefix, of one AutoencoderKL weight of a model with `levels` levels."""
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    key = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda found: f"up.{levels - 1 - int(found[1])}.block.{found[2]}", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda found: f"up.{levels - 1 - int(found[1])}.upsample", key)
    key = re.sub(r"mid_block\.resnets\.(\d+)", lambda found: f"mid.block_{int(found[1]) + 1}", key)
    key = key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    head, middle, rest = key.partition("mid_block.attentions.0.")
    if not middle:
        return key
    part, leaf = rest.rsplit(".", 1)
    return f"{head}mid.attn_1.{_VAE_ATTENTION[part]}.{leaf}"


def old_vae_table(names: Iterable[str]) -> Table:
    """Names in diffusers VAEs from before 2023, whose attention weights were called query, key, value and proj_attn."""
    return {name: Piece(_old_vae_key(name)) for name in names}


def _old_vae_key(name: str) -> str:
    for ours, theirs in _OLD_VAE_ATTENTION.items():
        name = name.replace(f"attentions.0.{ours}.", f"attentions.0.{theirs}.")
    return name


def clip_table(names: Iterable[str], *, prefix: str) -> Table:
    """Single-file names of a CLIP text encoder's weights in OpenAI's naming; transformers 5 has no `text_model.` level, the files do.

    A projection stands beside that level.
    """
    above = prefix.removesuffix("text_model.")
    return {name: Piece((above if name in _PROJECTION else prefix) + name.removeprefix("text_model.")) for name in names}


def open_clip_table(names: Iterable[str], *, prefix: str) -> Table:
    """Single-file names of a CLIP text encoder's weights in OpenCLIP's naming, which fuses query, key and value into one tensor."""
    return {name: _open_clip_piece(name.removeprefix("text_model."), prefix) for name in names}


def _open_clip_piece(name: str, prefix: str) -> Piece:
    if name in _PROJECTION:
        return Piece(f"{prefix}text_projection", transposed=True)
    if name in _OPEN_CLIP_TOP:
        return Piece(prefix + _OPEN_CLIP_TOP[name])
    matched = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if not matched:
        raise ValueError(f"{name} is no weight of a CLIP text encoder")
    layer, module, leaf = f"{prefix}transformer.resblocks.{matched[1]}.", matched[2], matched[3]
    part = module.removeprefix("self_attn.")
    if part in _FUSED:
        return Piece(f"{layer}attn.in_proj_{leaf}", _FUSED.index(part))
    return Piece(f"{layer}{_OPEN_CLIP_LAYER[module]}.{leaf}")


def take(tensor: Tensor, piece: Piece, shape: Iterable[int]) -> Tensor:
    """A file's tensor as our module's weight of `shape`: its third of the rows, or a 1x1 convolution as the linear layer that we keep.

    Raises:
        ValueError: the shapes do not fit.
    """
    shape = tuple(shape)
    if piece.part is not None:
        tensor = tensor.chunk(3)[piece.part]
    if piece.transposed:
        tensor = tensor.T
    if tensor.shape[2:] == (1, 1) and len(shape) == 2:
        tensor = tensor[:, :, 0, 0]
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{piece.key} has shape {tuple(tensor.shape)}, not {shape}")
    return tensor


def join(table: Table, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A module's tensors under the file's keys: the inverse of `take` over a whole table."""
    whole = {piece.key: tensors[name].T if piece.transposed else tensors[name] for name, piece in table.items() if piece.part is None}
    fused: dict[str, list[tuple[int, Tensor]]] = {}
    for name, piece in table.items():
        if piece.part is not None:
            fused.setdefault(piece.key, []).append((piece.part, tensors[name]))
    parts = {key: torch.cat([tensor for _, tensor in sorted(pieces, key=lambda pair: pair[0])]) for key, pieces in fused.items()}
    return {key: tensor[:, :, None, None] if _VAE_PROJECTION.search(key) else tensor for key, tensor in {**whole, **parts}.items()}
