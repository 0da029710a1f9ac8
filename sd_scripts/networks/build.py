"""Making adapters: from options, from a file's shapes, and into the model's weights. What a kind computes is its own file's matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import Adapter, AdapterModule, layer_of
from sd_scripts.networks.delta import Dropouts
from sd_scripts.networks.dylora import DyLoRAModule
from sd_scripts.networks.full import FullModule
from sd_scripts.networks.loha import LoHaModule
from sd_scripts.networks.lokr import Form, LoKrModule
from sd_scripts.networks.lora import ALPHA, DOWN, LoRAFAModule, LoRAModule
from sd_scripts.networks.lycoris import build_modules
from sd_scripts.networks.lycoris_files import is_dora_by_inputs, merge_part, modules_in_file
from sd_scripts.networks.norm import KEY as NORM_KEY
from sd_scripts.networks.norm import NormModule
from sd_scripts.networks.oft import OFTModule
from sd_scripts.params.blocks import UNET_25, BlockLayout
from sd_scripts.params.config import Config
from sd_scripts.params.layers import LayerRules
from sd_scripts.params.network import (
    DYLORA_MODULE,
    LOHA_MODULE,
    LOKR_MODULE,
    LORA_FA_MODULE,
    LORA_MODULE,
    LYCORIS_MODULE,
    OFT_MODULE,
    OWN_MODULES,
    AdapterArgs,
    LoRAArgs,
    Network,
)  # fmt: skip
from sd_scripts.params.training import Training
from sd_scripts.params.values import nearest

OFT_PREFIX = "oft_"
Make = Callable[[AdapterTarget, int, float], AdapterModule]


@dataclass(frozen=True, slots=True)
class FileShape:
    """What a file says of one module: its rank, its alpha (0: the rank), and how to make a module that takes its tensors."""

    rank: int
    alpha: float
    make: Make


def maker(config: Config, *, from_file: bool = False) -> Make:
    """What makes one module of the kind that `network_module` names. `from_file`: ranks and alphas will be those of a file, as it has them.

    Raises:
        ConfigError: none is named, or it is unknown; of what is made, if a rank does not fit the layer.
    """
    check_module(config[Network].network_module)
    network, arguments, seed = config[Network], config[AdapterArgs], config[Training].seed or 0
    shared = config[LoRAArgs]
    dropouts = Dropouts(network.network_dropout or 0.0, shared.rank_dropout or 0.0, shared.module_dropout or 0.0)
    name, dora, tucker = network.network_module, arguments.dora_wd, arguments.use_tucker

    def make(target: AdapterTarget, rank: int, alpha: float) -> AdapterModule:
        if from_file and arguments.pissa:  # of twice the rank
            rank, alpha = rank // 2, alpha / 2
        if arguments.rs_lora and not from_file:  # alpha / sqrt(rank), written so that it is alpha / rank for everybody else
            alpha = (alpha or rank) * math.sqrt(rank)
        if name == OFT_MODULE:
            return OFTModule(target, rank, alpha)
        if name == DYLORA_MODULE:
            return DyLoRAModule(target, rank, alpha, unit=arguments.unit, seed=seed)
        if name == LOHA_MODULE:
            return LoHaModule(target, rank, alpha, dropouts=dropouts, seed=seed, dora=dora, tucker=tucker)
        if name == LOKR_MODULE:
            form = Form.of(target, rank, factor=arguments.factor, both=arguments.decompose_both, full=arguments.full_matrix)
            return LoKrModule(target, rank, alpha, dropouts=dropouts, seed=seed, dora=dora, form=form, tucker=tucker)
        kind = LoRAFAModule if name == LORA_FA_MODULE else LoRAModule
        return kind(target, rank, alpha, dropouts=dropouts, seed=seed, dora=dora, pissa=arguments.pissa)

    def made(target: AdapterTarget, rank: int, alpha: float) -> AdapterModule:
        try:
            return make(target, rank, alpha)
        except ValueError as reason:
            raise ConfigError("network_dim", f"{str(reason).capitalize()}.", fix="Choose another rank.") from reason

    return made


def check_module(name: str | None) -> None:
    """Raise ConfigError for an adapter that is not there."""
    if not name:
        raise ConfigError("network_module", "No adapter type is chosen.", fix=f"Set network_module to {LORA_MODULE}.")
    if name not in OWN_MODULES:
        near = nearest(name, OWN_MODULES)
        raise ConfigError(
            "network_module", f"{name!r} is not available.", fix=f"Did you mean {near}?" if near else f"Available: {', '.join(OWN_MODULES)}."
        )


def build(config: Config, targets: Sequence[AdapterTarget], *, multiplier: float = 1.0, layout: BlockLayout = UNET_25) -> Adapter:
    """The adapter that the options ask for, not yet applied. Its values do not depend on the order of `targets`.

    Raises:
        ConfigError: a list has the wrong length or a wrong item, a rank does not fit a layer, or no target gets one.
    """
    if config[Network].network_module == LYCORIS_MODULE:
        return Adapter(_not_empty(build_modules(config, targets)), multiplier=multiplier)
    rules, make = LayerRules.of(config, layout), maker(config)
    modules = []
    for target in _renamed(config, targets):
        rank, alpha = rules.rank_and_alpha(layer_of(target))
        if rank:
            modules.append(make(target, rank, alpha))
    return Adapter(_not_empty(modules), multiplier=multiplier)


def _not_empty(modules: list[AdapterModule]) -> list[AdapterModule]:
    if not modules:
        fix = "Check network_dim, block_dims, the *_lr_weight lists and the patterns."
        raise ConfigError("network_module", "No module of the model would get an adapter.", fix=fix)
    return modules


def build_from(config: Config, targets: Sequence[AdapterTarget], tensors: Mapping[str, Tensor], *, multiplier: float = 1.0) -> Adapter:
    """An adapter with the modules, ranks and alphas of a file (`dim_from_weights`), of the configured kind. Its factors are not loaded here.

    Raises:
        ConfigError: the file holds nothing for any target.
    """
    parts, modules = by_layer(tensors), []
    if config[Network].network_module == LYCORIS_MODULE:
        modules = modules_in_file(config, targets, parts)
    else:
        make = maker(config, from_file=True)
        shapes = ((target, shape_in_file(target, parts.get(target.name, {}))) for target in _renamed(config, targets))
        modules = [make(target, shape.rank, shape.alpha) for target, shape in shapes if shape is not None]
    if not modules:
        fix = "dim_from_weights takes a file of the same model type and adapter."
        raise ConfigError("network_weights", "The file holds no LoRA for this model.", fix=fix)
    return Adapter(modules, multiplier=multiplier)


def merge_file(targets: Sequence[AdapterTarget], tensors: Mapping[str, Tensor], multiplier: float) -> tuple[str, ...]:
    """Merge an adapter's file of any kind into the targets' weights in float32: W += multiplier · change.

    Returns:
        Names in the file that have no target.

    Raises:
        ValueError: a tensor does not fit its target, is of an unknown kind, or no name fits.
    """
    names = by_layer(tensors)
    left = set(names)
    for target in targets:
        name = target.name if target.name in names else _oft_name(target.name)
        if name not in names:
            continue
        left.discard(name)
        found = names[name]
        shape = shape_in_file(replace(target, name=name), found)
        if shape is None and merge_part(target, name, found, multiplier):
            continue
        if shape is None:
            raise ValueError(f"{name} holds no adapter that is known here: {', '.join(sorted(found))}")
        module = shape.make(target, shape.rank, shape.alpha)
        try:
            module.load_file(found)
        except ValueError as reason:
            raise ValueError(f"{name}.{reason}") from reason
        module.factor = module.scale * multiplier
        module.merge()
    if len(left) == len(names):
        raise ValueError("no name in it belongs to this model")
    return tuple(sorted(left))


def by_layer(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """A file's tensors by the layer's name, then by the part of their key behind it."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, rest = key.partition(".")
        parts.setdefault(name, {})[rest] = tensor
    return parts


def shape_in_file(target: AdapterTarget, found: Mapping[str, Tensor]) -> FileShape | None:
    """What `found`, one module's tensors, is; None for nothing that is made here."""
    alpha = float(found[ALPHA]) if ALPHA in found else 0.0
    dora = "dora_scale" in found
    if "lora_mid.weight" in found or is_dora_by_inputs(target, found):  # forms that only lycoris has
        return None
    if DOWN in found:
        return FileShape(found[DOWN].shape[0], alpha, lambda at, rank, strength: LoRAModule(at, rank, strength, dora=dora))
    if "hada_w1_b" in found:
        tucker = "hada_t1" in found
        return FileShape(found["hada_w1_b"].shape[0], alpha, lambda at, rank, strength: LoHaModule(at, rank, strength, dora=dora, tucker=tucker))
    if "oft_blocks" in found and found["oft_blocks"].dim() == 3 and target.name.startswith(OFT_PREFIX):
        return FileShape(found["oft_blocks"].shape[0], alpha, OFTModule)
    if "diff" in found:
        return FileShape(1, 1.0, FullModule)
    if NORM_KEY in found:
        return FileShape(1, 1.0, NormModule)
    if any(key.startswith("lokr_") for key in found):
        return _lokr_shape(found, alpha, dora=dora)
    return None


def _lokr_shape(found: Mapping[str, Tensor], alpha: float, *, dora: bool) -> FileShape:
    small = (
        (found["lokr_w1"].shape[0], found["lokr_w1"].shape[1]) if "lokr_w1" in found else (found["lokr_w1_a"].shape[0], found["lokr_w1_b"].shape[1])
    )
    form = Form((small[0], small[1]), "lokr_w1_a" in found, "lokr_w2" not in found)
    ranks = [found[key].shape[0] for key in ("lokr_w1_b", "lokr_w2_b") if key in found]
    tucker = "lokr_t2" in found

    def make(target: AdapterTarget, rank: int, strength: float) -> AdapterModule:
        return LoKrModule(target, rank, strength, dora=dora, form=form, tucker=tucker)

    return FileShape(ranks[0] if ranks else 1, alpha if ranks else 0.0, make)


def _renamed(config: Config, targets: Sequence[AdapterTarget]) -> Sequence[AdapterTarget]:
    """The targets under the names that the kind's files have."""
    if config[Network].network_module != OFT_MODULE:
        return targets
    return [replace(target, name=_oft_name(target.name)) for target in targets if not target.is_text]


def _oft_name(name: str) -> str:
    return OFT_PREFIX + name.removeprefix("lora_")
