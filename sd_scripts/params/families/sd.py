"""Stable Diffusion 1.x and 2.x: facts that need no weights. The tensors by which their files are recognised stand in `signatures`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from sd_scripts.params.blocks import UNET_25
from sd_scripts.params.families.clip_layers import FolderText, SingleText, text_places
from sd_scripts.params.families.facts import AdapterPlace, FamilyFacts, PreviewDefaults, Tensors, has_bias
from sd_scripts.params.families.unet_ends import end_places

USED_TEXT_LAYERS = {"sd2": 23}
"""Layers of the text encoder that are loaded, where that is fewer than the file holds: 2.x conditions on the last but one."""

_UNET = re.compile(r"model\.diffusion_model\.(input_blocks|middle_block|output_blocks)\.(\d+)\.(?:(\d+)\.)?(.+)\.weight")
_FOLDER_UNET = re.compile(r"unet/(?:(down_blocks|up_blocks)\.(\d+)|(mid_block))\.(attentions|resnets|downsamplers|upsamplers)\.(\d+)\.(.+)\.weight")
_DOWNSAMPLER = re.compile(r"model\.diffusion_model\.input_blocks\.(\d+)\.0\.op\.weight")
_RESNET = {"in_layers.2": "conv1", "out_layers.3": "conv2", "emb_layers.1": "time_emb_proj", "skip_connection": "conv_shortcut"}
_RESNET_NORM = {"in_layers.0": "norm1", "out_layers.0": "norm2"}
_INNER = {
    "attentions": re.compile(r"proj_in|proj_out|transformer_blocks\.\d+\.(?:attn[12]\.to_(?:[qkv]|out\.0)|ff\.net\.(?:0\.proj|2))"),
    "resnets": re.compile("|".join(_RESNET.values())),
    "downsamplers": re.compile("conv"),
    "upsamplers": re.compile("conv"),
}
_NORM = {"attentions": re.compile(r"norm|transformer_blocks\.\d+\.norm[123]"), "resnets": re.compile("norm[12]")}


@dataclass(frozen=True, slots=True)
class UNetPlace:
    """A module of the U-Net by its place in diffusers' tree: `part` is down_blocks, mid_block or up_blocks, `inner` lies in the `index`-th `kind`."""

    part: str
    level: int
    kind: str
    index: int
    inner: str

    @property
    def lora_name(self) -> str:
        """kohya's name of an adapter at this place."""
        level = "" if self.part == "mid_block" else f"_{self.level}"
        return f"lora_unet_{self.part}{level}_{self.kind}_{self.index}_{self.inner.replace('.', '_')}"

    @property
    def block(self) -> int:
        """kohya's block index: 0 before the first block, 1...11 down, 12 middle, 13...24 up."""
        if self.part == "mid_block":
            return 12
        if self.part == "down_blocks":
            return 1 + 3 * self.level + (2 if self.kind == "downsamplers" else self.index)
        return 13 + 3 * self.level + (2 if self.kind == "upsamplers" else self.index)

    @property
    def needs_conv(self) -> bool:
        """Whether an adapter goes here only with `conv_dim`: everything outside attentions."""
        return self.kind != "attentions"


def unet_places(names: Iterable[str], *, norms: bool = False) -> dict[str, UNetPlace]:
    """Where an adapter may go, by the weight's name: LDM names (`model.diffusion_model.`) or a folder's (`unet/`). Other weights are left out.

    `norms`: the norm layers in its blocks instead.
    """
    names = tuple(names)
    downsamplers = [int(found.group(1)) for found in map(_DOWNSAMPLER.fullmatch, names) if found]
    period = min(downsamplers, default=3)
    places = {name: _ldm_place(name, period) if name.startswith("model.") else _folder_place(name) for name in names}
    inner = _NORM if norms else _INNER
    return {name: place for name, place in places.items() if place is not None and place.kind in inner and inner[place.kind].fullmatch(place.inner)}


def _folder_place(name: str) -> UNetPlace | None:
    found = _FOLDER_UNET.fullmatch(name)
    if not found:
        return None
    part, level, middle, kind, index, inner = found.groups()
    return UNetPlace(part or middle, int(level or 0), kind, int(index), inner)


def _ldm_place(name: str, period: int) -> UNetPlace | None:
    """`period` is the number of LDM blocks per level; the first input block is the convolution before all levels."""
    found = _UNET.fullmatch(name)
    if not found:
        return None
    part, number, position, inner = found[1], int(found[2]), found[3], found[4]
    if part == "middle_block":
        inner = f"{position}.{inner}" if position else inner
        return (
            UNetPlace("mid_block", 0, "attentions", 0, inner)
            if number == 1
            else UNetPlace("mid_block", 0, "resnets", number // 2, _resnet_leaf(inner))
        )
    side, at = ("down_blocks", number - 1) if part == "input_blocks" else ("up_blocks", number)
    if at < 0:
        return None
    if inner in ("op", "conv"):
        return UNetPlace(side, at // period, "downsamplers" if inner == "op" else "upsamplers", 0, "conv")
    if position == "1":
        return UNetPlace(side, at // period, "attentions", at % period, inner)
    return UNetPlace(side, at // period, "resnets", at % period, _resnet_leaf(inner))


def _resnet_leaf(inner: str) -> str:
    return _RESNET.get(inner) or _RESNET_NORM.get(inner, "")


def adapter_places(tensors: Tensors) -> tuple[AdapterPlace, ...]:
    """Every layer of a model that an adapter can wrap: text encoder, then U-Net, in the file's order."""
    return tuple(_places(tensors, norms=False))


def outer_places(tensors: Tensors) -> tuple[AdapterPlace, ...]:
    """What only presets of lycoris.kohya reach: norm layers, and what stands before and behind the blocks."""
    return (*_places(tensors, norms=True), *end_places(tensors, original_names=False, last_block=UNET_25.count - 1))


def _places(tensors: Tensors, *, norms: bool) -> Iterator[AdapterPlace]:
    most = USED_TEXT_LAYERS["sd2"] if any(name.startswith("cond_stage_model.model.") for name in tensors) else None
    yield from text_places(tensors, (SingleText("cond_stage_model.", "lora_te", most), FolderText("text_encoder", "lora_te")), norms=norms)
    for key, place in unet_places(tensors, norms=norms).items():
        bias = has_bias(tensors, key)
        yield AdapterPlace(place.lora_name, "unet", tensors[key][1], place.block, place.needs_conv, bias=bias, is_norm=norms)


FACTS = FamilyFacts(
    name="sd",
    title="Stable Diffusion 1.x and 2.x",
    kinds=("sd1", "sd2"),
    scripts=MappingProxyType({"adapter": "train_network"}),
    latent_channels=4,
    latent_stride=8,
    bucket_divisor=64,
    cache_suffix="_sd.npz",
    blocks=UNET_25,
    places=adapter_places,
    outer_places=outer_places,
    resolution_of=MappingProxyType({"sd1": 512, "sd2": 768}),
    activations=MappingProxyType({"sd1": (5000, 1200), "sd2": (5000, 1200)}),
    preview=PreviewDefaults(width=512, height=512, sample_steps=30, scale=7.5, divisor=8, smallest=64),
)
