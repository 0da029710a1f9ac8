"""Files of the lycoris-lora package's kinds: merging one, and telling from a file's shapes what a layer's adapter was made with."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.networks.base import AdapterModule, layer_of
from sd_scripts.networks.lycoris import LycorisModule, make_module
from sd_scripts.networks.norm import KEY as NORM_KEY
from sd_scripts.params.config import Config
from sd_scripts.params.lycoris_layers import NORM, LayerSettings, LycorisRules
from sd_scripts.params.training import Training
from sd_scripts.survey.lycoris_sizes import split_side

MARKS: Mapping[str, tuple[str, ...]] = {
    "lora": ("lora_down.weight",), "locon": ("lora_down.weight",), "dylora": ("lora_down.weight",), "loha": ("hada_w1_b",),
    "lokr": ("lokr_w1", "lokr_w1_a"), "ia3": ("on_input",), "glora": ("a2.weight",), "full": ("diff",), "diag-oft": ("oft_blocks",),
    "boft": ("oft_blocks",), NORM: (NORM_KEY,),
}  # fmt: skip
"""By kind, keys of which a file has one for each of its layers."""
TUCKER = ("lora_mid.weight", "hada_t1", "lokr_t2")
DORA = "dora_scale"


@torch.no_grad()
def merge_part(target: AdapterTarget, name: str, found: Mapping[str, Tensor], multiplier: float) -> bool:
    """Merge one module of a file of any of the package's kinds into its target; False where it is none of them, or the package is missing."""
    inner = _read(target, name, found)
    if inner is None:
        return False
    module = LycorisModule(target, 1, 1.0, inner)
    module.factor = multiplier
    module.merge()
    return True


def is_dora_by_inputs(target: AdapterTarget, found: Mapping[str, Tensor]) -> bool:
    """Whether a file has learnt the lengths of a weight's columns, which only the package does."""
    return DORA in found and found[DORA].shape[0] != cast(Tensor, target.module.weight).shape[0]


def _read(target: AdapterTarget, name: str, found: Mapping[str, Tensor]) -> Any:
    """The package's module for a part of a file, None where it knows none."""
    try:
        finder: Any = pkgutil.resolve_name("lycoris.modules:get_module")
        maker: Any = pkgutil.resolve_name("lycoris.modules:make_module")
    except (ImportError, AttributeError):
        return None
    by_inputs = is_dora_by_inputs(target, found)
    kind, parameters = finder({f"{name}.{key}": tensor for key, tensor in found.items() if not (by_inputs and key == DORA)}, name)
    if kind is None:
        return None
    try:
        inner = maker(kind, parameters, name, target.module)
    except TypeError:  # of ia3 it passes one too many
        inner = kind(name, target.module, 1.0, train_on_input=bool(found.get("on_input", False)))
        inner.load_state_dict(dict(found), strict=False)
    if by_inputs and inner is not None:  # it makes them by outputs
        inner.wd, inner.wd_on_out, inner.dora_norm_dims = True, False, cast(Tensor, target.module.weight).dim() - 1
        inner.dora_scale = nn.Parameter(found[DORA].float())
    return inner


def modules_in_file(config: Config, targets: Sequence[AdapterTarget], tensors: Mapping[str, Mapping[str, Tensor]]) -> list[AdapterModule]:
    """A module for each target that a file holds, with the file's ranks and alphas (`dim_from_weights`); `tensors` are the file's by layer.

    Raises:
        ConfigError: the file is of another kind than the options ask for.
    """
    rules = LycorisRules.of(config)
    made = []
    for target in targets:
        found = tensors.get(target.name)
        if found is None:
            continue
        own = rules.settings(layer_of(target))
        algo = NORM if target.kind == "norm" else own.algo if own is not None else rules.lycoris.algo
        if not set(MARKS[algo]) & set(found) or ("oft_blocks" in found and found["oft_blocks"].dim() != (3 if algo == "diag-oft" else 4)):
            keys = ", ".join(sorted(found))
            raise ConfigError("network_weights", f"{target.name} in it is no {algo}: {keys}.", fix="Set algo to the kind of that file.")
        options = {**rules.options, **(own.options if own is not None else {}), **_options_in(target, algo, found)}
        settings = LayerSettings(algo, options.pop("dim"), float(found["alpha"]) if "alpha" in found else 0.0, options)
        made.append(make_module(target, settings, seed=config[Training].seed or 0))
    return made


def _options_in(target: AdapterTarget, algo: str, found: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a layer's adapter was made with, as far as shapes tell; "dim" is its rank."""
    options: dict[str, Any] = {"dim": 1, "use_tucker": bool(set(TUCKER) & set(found)), "weight_decompose": DORA in found, "rs_lora": False}
    options["wd_on_out"] = not is_dora_by_inputs(target, found)
    if algo in ("lora", "locon", "dylora"):
        options["dim"] = found["lora_down.weight"].shape[0]
    elif algo == "loha":
        options["dim"] = found["hada_w1_b"].shape[0]
    elif algo == "glora":
        options["dim"] = found["a2.weight"].shape[0]
    elif algo in ("diag-oft", "boft"):
        options |= {"dim": found["oft_blocks"].shape[-1], "constraint": float(found["alpha"]), "rescaled": "rescale" in found}
    elif algo == "ia3":
        options["train_on_input"] = bool(found["on_input"])
    elif algo == "lokr":
        options |= _kronecker(target, found)
    return options


def _kronecker(target: AdapterTarget, found: Mapping[str, Tensor]) -> dict[str, Any]:
    """Rank, and how the sides of a weight were split: the package knows only the factor that made it, so this finds one that does."""
    small = tuple(found["lokr_w1"].shape) if "lokr_w1" in found else (found["lokr_w1_a"].shape[0], found["lokr_w1_b"].shape[1])
    ranks = [found[key].shape[0] for key in ("lokr_w1_b", "lokr_w2_b") if key in found]
    outputs, inputs = cast(Tensor, target.module.weight).shape[:2]
    for unbalanced in (False, True):
        for factor in (-1, *small, *(outputs // small[0], inputs // small[1])):
            rows, columns = split_side(outputs, factor), split_side(inputs, factor)
            if (rows[1] if unbalanced else rows[0], columns[0]) == small:
                return {
                    "dim": ranks[0] if ranks else max(1, round(float(found["alpha"]))), "factor": factor, "unbalanced_factorization": unbalanced,
                    "decompose_both": "lokr_w1_a" in found, "full_matrix": "lokr_w2" in found and "lokr_w1" in found,
                }  # fmt: skip
    raise ConfigError("network_weights", f"{target.name} is split in it as no factor does.", fix="Leave dim_from_weights out, and set factor.")
