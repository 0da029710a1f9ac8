"""Adapter types by the module name that `network_module` gives. The names are keys here and never reach `importlib`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks import lora
from sd_scripts.networks.lora import LoRA
from sd_scripts.params.blocks import UNET_25, BlockLayout
from sd_scripts.params.config import Config
from sd_scripts.params.network import LORA_MODULE, Network
from sd_scripts.params.values import nearest


@dataclass(frozen=True, slots=True)
class AdapterType:
    """One entry: `build` makes the adapter from options, `build_from` from a file's shapes, `merge_file` writes a file into the targets' weights."""

    build: Callable[..., LoRA]
    build_from: Callable[..., LoRA]
    merge_file: Callable[[Sequence[AdapterTarget], Mapping[str, Tensor], float], tuple[str, ...]]


ADAPTERS: Mapping[str, AdapterType] = {LORA_MODULE: AdapterType(lora.build, lora.build_from, lora.merge_file)}


def adapter_type(config: Config) -> AdapterType:
    """The entry that `network_module` names.

    Raises:
        ConfigError: none is named, or it is unknown.
    """
    name = config[Network].network_module
    if not name:
        raise ConfigError("network_module", "No adapter type is chosen.", fix=f"Set network_module to {LORA_MODULE}.")
    if name not in ADAPTERS:
        near = nearest(name, ADAPTERS)
        fix = f"Did you mean {near}?" if near else f"Available: {', '.join(ADAPTERS)}."
        raise ConfigError("network_module", f"{name!r} is not available.", fix=fix)
    return ADAPTERS[name]


def build_adapter(config: Config, targets: Sequence[AdapterTarget], *, multiplier: float = 1.0, layout: BlockLayout = UNET_25) -> LoRA:
    """The adapter that the options ask for, not yet applied.

    Raises:
        ConfigError: the type is unknown, or its arguments do not fit the model.
    """
    return adapter_type(config).build(config, targets, multiplier=multiplier, layout=layout)
