"""What an adapter will train: its modules, their parameters and the size of the file, told from the base model's header alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.families.facts import AdapterPlace
from sd_scripts.params.layers import Layer, LayerRules, unmatched
from sd_scripts.params.lycoris_layers import NORM, LayerSettings, LycorisRules
from sd_scripts.params.network import (
    DYLORA_MODULE,
    LOHA_MODULE,
    LORA_FA_MODULE,
    LYCORIS_MODULE,
    OFT_MODULE,
    OWN_MODULES,
    PRODUCTS,
    AdapterArgs,
    Network,
)
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.saving import Saving
from sd_scripts.survey.header import Header
from sd_scripts.survey.lycoris_sizes import learnt, least_rank, split_side

_SUFFIXES = ("lora_down.weight", "lora_up.weight", "alpha")
_ENTRY_BYTES = 62
"""Bytes of one tensor's entry in a safetensors header, apart from its name."""
_METADATA_BYTES = 6000
_SAVED_BYTES = {"fp16": 2, "bf16": 2}
_WITHOUT_RANK = ("full", "ia3", NORM)
"""Kinds of lycoris.kohya for which there is none."""
_NAMES_SHOWN = 5
_KINDS = re.compile(r"(attn\d|self_attn|ff|mlp|proj_in|proj_out|resnets|samplers|in_layers|out_layers|emb_layers|skip_connection|_op$|conv$)")
_WORDS = {
    "attn1": "self-attention", "self_attn": "self-attention", "attn2": "attention to the caption", "ff": "feed-forward", "mlp": "feed-forward",
    "proj_in": "projections", "proj_out": "projections",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One line of the table of what is trained: layers of one sort with the same rank, 0 where there is none."""

    part: str
    sort: str
    rank: int
    layers: int
    parameters: int

    def line(self) -> str:
        """The row for people."""
        rank = f"rank {self.rank}, " if self.rank else ""
        return f"{self.part}, {self.sort}: {self.layers:,} {'layer' if self.layers == 1 else 'layers'}, {rank}{self.parameters:,} numbers"


@dataclass(frozen=True, slots=True)
class AdapterSize:
    """What an adapter with the config's options holds. `file_bytes` is an estimate within a few kB, for a LoRA; `rows` is the table of its layers."""

    unet_modules: int
    text_encoder_modules: int
    parameters: int
    file_bytes: int
    rows: tuple[LayerRow, ...] = ()


def adapter_size(config: Config, header: Header) -> AdapterSize | None:
    """How large the adapter will be; None for an adapter type that is not known here, or a rank that the files given will decide.

    Raises:
        ConfigError: a list of block values is malformed.
    """
    if Network not in config:
        return None
    network = config[Network]
    if network.network_module not in (*OWN_MODULES, LYCORIS_MODULE) or network.dim_from_weights:
        return None
    if network.network_module == LYCORIS_MODULE:
        told = [(place, 0 if own.algo in _WITHOUT_RANK else own.rank, learnt(place, own)) for place, own in _lycoris(config, header)]
        saved = sum(size for _, _, size in told)
    else:
        family = FAMILIES[config.command.family]
        rules = LayerRules.of(config, family.blocks)
        chosen = [(place, rank) for place in family.places(header.tensors) if (rank := _rank(place, network, rules))]
        told = [(place, rank, _parameters(config, place, rank)) for place, rank in chosen]
        saved = sum(_saved(config, place, rank) for place, rank in chosen)
    parameters = sum(size for _, _, size in told)
    names = sum(len(place.name) + 1 + len(suffix) + _ENTRY_BYTES for place, _, _ in told for suffix in _SUFFIXES)
    value_bytes = _SAVED_BYTES.get(config[Saving].save_precision or "", 4)
    unet = sum(place.part == "unet" for place, _, _ in told)
    return AdapterSize(unet, len(told) - unet, parameters, (saved + len(told)) * value_bytes + names + _METADATA_BYTES, _rows(told))


def _lycoris(config: Config, header: Header) -> Iterator[tuple[AdapterPlace, LayerSettings]]:
    """What each layer gets from lycoris.kohya."""
    family, rules, network = FAMILIES[config.command.family], LycorisRules.of(config), config[Network]
    for place in chain(family.places(header.tensors), family.outer_places(header.tensors)):
        own = rules.settings(layer_at(place)) if _may_train(place, network) else None
        if own is not None:
            yield place, own


def layer_at(place: AdapterPlace) -> Layer:
    """A place as the rules about layers know it."""
    return Layer(place.name, place.block, place.is_large_conv, place.needs_conv, is_norm=place.is_norm, is_outer=place.is_outer, alias=place.alias)


def pattern_problems(config: Config, header: Header) -> Iterator[Problem]:
    """Patterns of layer names that fit no layer of this model, and layers that the adapter does not fit. Raises ConfigError for a malformed list."""
    if Network not in config:
        return
    if config[Network].network_module == LYCORIS_MODULE:
        yield from _preset_problems(config, header)
        return
    names = [place.name for place in FAMILIES[config.command.family].places(header.tensors)]
    for field, pattern in unmatched(config[AdapterArgs], names) if names else ():
        yield warning(field, f"{pattern} fits no layer of this model.", f"Names are like {names[0]}; * stands for anything.")


def _preset_problems(config: Config, header: Header) -> Iterator[Problem]:
    family, rules = FAMILIES[config.command.family], LycorisRules.of(config)
    layers = [layer_at(place) for place in chain(family.places(header.tensors), family.outer_places(header.tensors))]
    strange = list(rules.preset.unmatched(layers)) if layers and not rules.preset.name else []
    if strange:
        shown = ", ".join(f"{key}: {item}" for key, item in strange[:_NAMES_SHOWN]) + (", ..." if len(strange) > _NAMES_SHOWN else "")
        fix = f"Names are like {layers[0].name}, or the end of one."
        yield warning("preset", f"The preset names what no layer of this model is called ({len(strange)}): {shown}.", fix)
    if config[Network].dim_from_weights:
        return
    told = [(place, least_rank(place.shape[0]), own.rank) for place, own in _lycoris(config, header) if own.algo == "boft" and not learnt(place, own)]
    if told:
        place, least, rank = max(told, key=lambda row: row[1])
        fix = f"Use a rank of {least} or more." if least else "Choose another algo or preset."
        yield error("network_dim", f"The kind boft cannot split the {place.shape[0]:,} outputs of {place.name} at rank {rank}.", fix)


def _rank(place: AdapterPlace, network: Network, rules: LayerRules) -> int:
    """Rank of the adapter at `place`, 0 for none."""
    return rules.rank_and_alpha(layer_at(place))[0] if _may_train(place, network) else 0


def _may_train(place: AdapterPlace, network: Network) -> bool:
    return not (network.network_train_unet_only if place.block is None else network.network_train_text_encoder_only)


def _parameters(config: Config, place: AdapterPlace, rank: int) -> int:
    """Trained numbers of one layer's adapter."""
    module, arguments = config[Network].network_module, config[AdapterArgs]
    if module == LORA_FA_MODULE:
        count = rank * place.shape[0]
    else:
        count = _saved(config, place, rank) // (2 if arguments.pissa else 1)
    return count + (place.shape[0] if arguments.dora_wd else 0)


def _saved(config: Config, place: AdapterPlace, rank: int) -> int:
    """Numbers in the file of one layer's adapter, apart from alpha."""
    module, arguments = config[Network].network_module, config[AdapterArgs]
    outputs, inputs, area = place.shape[0], place.shape[1], math.prod(place.shape[2:])
    if module == OFT_MODULE:
        return outputs * (outputs // rank)
    if module == LOHA_MODULE:
        tucker = arguments.use_tucker and area > 1
        return 2 * rank * (outputs + (inputs + rank * area if tucker else inputs * area))
    if module in (*PRODUCTS, DYLORA_MODULE):
        return place.parameters(rank) * (2 if arguments.pissa else 1)
    return _kronecker(arguments, (outputs, inputs, area), rank)


def _kronecker(arguments: AdapterArgs, sides: tuple[int, int, int], rank: int) -> int:
    outputs, inputs, area = sides
    (out_1, out_2), (in_1, in_2) = split_side(outputs, arguments.factor), split_side(inputs, arguments.factor)
    both = arguments.decompose_both and not arguments.full_matrix and rank < max(out_1, in_1) / 2
    small = rank * (out_1 + in_1) if both else out_1 * in_1
    if arguments.full_matrix or rank >= max(out_2, in_2) / 2:
        return small + out_2 * in_2 * area
    tucker = arguments.use_tucker and area > 1
    return small + rank * (out_2 + (in_2 + rank * area if tucker else in_2 * area))


def _rows(chosen: Iterable[tuple[AdapterPlace, int, int]]) -> tuple[LayerRow, ...]:
    """Layers of one sort and rank together, in order of appearance."""
    counts: dict[tuple[str, str, int], tuple[int, int]] = {}
    for place, rank, size in chosen:
        key = (_part(place.part), _sort(place), rank)
        layers, parameters = counts.get(key, (0, 0))
        counts[key] = (layers + 1, parameters + size)
    return tuple(LayerRow(*key, *count) for key, count in counts.items())


def _part(part: str) -> str:
    return {"unet": "U-Net", "text_encoder": "text encoder", "text_encoder_2": "text encoder 2"}[part]


def _sort(place: AdapterPlace) -> str:
    if place.is_norm:
        return "norms"
    if place.is_outer:
        return "time embedding" if len(place.shape) == 2 else "first and last convolution"
    if place.needs_conv:
        return "convolutions"
    found = _KINDS.search(place.name)
    return _WORDS.get(found[1], "other layers") if found else "other layers"
