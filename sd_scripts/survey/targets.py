"""What an adapter will train: its modules, their parameters and the size of the file, told from the base model's header alone."""

from __future__ import annotations

from dataclasses import dataclass

from sd_scripts.params.blocks import DEFAULT_RANK, BlockRanks, block_ranks
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.families.facts import AdapterPlace
from sd_scripts.params.network import LORA_MODULE, LoRAArgs, Network
from sd_scripts.params.saving import Saving
from sd_scripts.survey.header import Header

_SUFFIXES = ("lora_down.weight", "lora_up.weight", "alpha")
_ENTRY_BYTES = 62
"""Bytes of one tensor's entry in a safetensors header, apart from its name."""
_METADATA_BYTES = 6000
_SAVED_BYTES = {"fp16": 2, "bf16": 2}


@dataclass(frozen=True, slots=True)
class AdapterSize:
    """What a LoRA with the config's options holds. `file_bytes` is an estimate within a few kB."""

    unet_modules: int
    text_encoder_modules: int
    parameters: int
    file_bytes: int


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
    family = FAMILIES[config.command.family]
    ranks = block_ranks(network, config[LoRAArgs], family.blocks)
    chosen = [(target, rank) for target in family.places(header.tensors) if (rank := _rank(target, network, ranks))]
    parameters = sum(target.parameters(rank) for target, rank in chosen)
    names = sum(len(target.name) + 1 + len(suffix) + _ENTRY_BYTES for target, _ in chosen for suffix in _SUFFIXES)
    value_bytes = _SAVED_BYTES.get(config[Saving].save_precision or "", 4)
    unet = sum(target.part == "unet" for target, _ in chosen)
    return AdapterSize(unet, len(chosen) - unet, parameters, (parameters + len(chosen)) * value_bytes + names + _METADATA_BYTES)


def _rank(target: AdapterPlace, network: Network, ranks: BlockRanks) -> int:
    """Rank of the adapter at `target`, 0 for none."""
    if target.block is None:
        rank = DEFAULT_RANK if network.network_dim is None else network.network_dim
        return 0 if network.network_train_unet_only else rank
    if network.network_train_text_encoder_only or (target.needs_conv and ranks.conv_ranks is None):
        return 0
    return (ranks.conv_ranks or ranks.ranks)[target.block] if target.is_large_conv else ranks.ranks[target.block]
