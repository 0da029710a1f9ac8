"""What an adapter will train: its modules, their parameters and the size of the file, told from the base model's header alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from sd_scripts.params.blocks import BlockRanks, block_ranks
from sd_scripts.params.config import Config
from sd_scripts.params.families.sd import CLIP_LAYER, FOLDER_TEXT_LAYER, OPEN_CLIP_LAYER, OPEN_CLIP_NAMES, USED_TEXT_LAYERS, unet_places
from sd_scripts.params.network import LORA_MODULE, LoRAArgs, Network
from sd_scripts.params.saving import Saving
from sd_scripts.survey.header import Header, facts_of

_SUFFIXES = ("lora_down.weight", "lora_up.weight", "alpha")
_ENTRY_BYTES = 62
"""Bytes of one tensor's entry in a safetensors header, apart from its name."""
_METADATA_BYTES = 6000
_SAVED_BYTES = {"fp16": 2, "bf16": 2}


@dataclass(frozen=True, slots=True)
class Target:
    """A layer that an adapter can wrap. `shape` is (outputs, inputs) of a linear layer or (outputs, inputs, height, width) of a convolution.

    `part` is "unet" or "text_encoder"; `block` is kohya's block index, None in the text encoder. `needs_conv`: only with `conv_dim`.
    """

    name: str
    part: str
    shape: tuple[int, ...]
    block: int | None
    needs_conv: bool

    @property
    def is_large_conv(self) -> bool:
        """A convolution that is not 1×1."""
        return math.prod(self.shape[2:]) > 1

    def parameters(self, rank: int) -> int:
        """Trained numbers of a LoRA of `rank` here: down and up factor."""
        return rank * (math.prod(self.shape[1:]) + self.shape[0])


@dataclass(frozen=True, slots=True)
class AdapterSize:
    """What a LoRA with the config's options holds. `file_bytes` is an estimate within a few kB."""

    unet_modules: int
    text_encoder_modules: int
    parameters: int
    file_bytes: int


def targets_of(header: Header) -> tuple[Target, ...]:
    """Every layer of a Stable Diffusion 1.x or 2.x model that an adapter can wrap: text encoder, then U-Net, in the file's order."""
    family = facts_of(header, is_folder=any(name.startswith("unet/") for name in header.tensors)).family
    text = [target for target in _text_targets(header) if _layer(target.name) < USED_TEXT_LAYERS.get(family, math.inf)]
    places = unet_places(header.tensors)
    return (*text, *(Target(place.lora_name, "unet", header.tensors[name][1], place.block, place.needs_conv) for name, place in places.items()))


def adapter_size(config: Config, header: Header) -> AdapterSize | None:
    """How large the adapter will be; None for an adapter type that is not known here, or a rank that the files given will decide.

    Raises:
        ConfigError: a list of block values is malformed.
    """
    if Network not in config:
        return None
    network = config[Network]
    if network.network_module != LORA_MODULE or network.dim_from_weights:
        return None
    ranks = block_ranks(network, config[LoRAArgs])
    chosen = [(target, rank) for target in targets_of(header) if (rank := _rank(target, network, ranks))]
    parameters = sum(target.parameters(rank) for target, rank in chosen)
    names = sum(len(target.name) + 1 + len(suffix) + _ENTRY_BYTES for target, _ in chosen for suffix in _SUFFIXES)
    value_bytes = _SAVED_BYTES.get(config[Saving].save_precision or "", 4)
    unet = sum(target.part == "unet" for target, _ in chosen)
    return AdapterSize(unet, len(chosen) - unet, parameters, (parameters + len(chosen)) * value_bytes + names + _METADATA_BYTES)


def _rank(target: Target, network: Network, ranks: BlockRanks) -> int:
    """Rank of the adapter at `target`, 0 for none."""
    if target.block is None:
        rank = 4 if network.network_dim is None else network.network_dim
        return 0 if network.network_train_unet_only else rank
    if network.network_train_text_encoder_only or (target.needs_conv and ranks.conv_ranks is None):
        return 0
    return (ranks.conv_ranks or ranks.ranks)[target.block] if target.is_large_conv else ranks.ranks[target.block]


def _text_targets(header: Header) -> Iterator[Target]:
    for name, (_, shape) in header.tensors.items():
        found = CLIP_LAYER.fullmatch(name) or FOLDER_TEXT_LAYER.fullmatch(name)
        if found:
            yield _text_target(found[1], found[2].replace(".", "_"), shape)
        fused = OPEN_CLIP_LAYER.fullmatch(name)
        if fused:
            modules = OPEN_CLIP_NAMES[fused[2]]
            for module in modules:
                yield _text_target(fused[1], module, (shape[0] // len(modules), *shape[1:]))


def _text_target(layer: str, module: str, shape: tuple[int, ...]) -> Target:
    return Target(f"lora_te_text_model_encoder_layers_{layer}_{module}", "text_encoder", shape, None, needs_conv=False)


def _layer(name: str) -> int:
    return int(name.removeprefix("lora_te_text_model_encoder_layers_").partition("_")[0])
