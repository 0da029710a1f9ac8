"""Files of other programs under kohya's names: diffusers, PEFT, and LyCORIS' and kohya's files with diffusers' paths.

Keys change, and what these programs write about strength elsewhere becomes an alpha; factors stay as they are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sd_scripts.errors import DataError
from sd_scripts.library.families.base import AdapterTarget

_FACTORS = {
    "lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight", "lora_A.default.weight": "lora_down.weight",
    "lora_B.default.weight": "lora_up.weight", "lora.down.weight": "lora_down.weight", "lora.up.weight": "lora_up.weight",
    "lora_linear_layer.down.weight": "lora_down.weight", "lora_linear_layer.up.weight": "lora_up.weight", "lora_magnitude_vector": "dora_scale",
    "lora_magnitude_vector.weight": "dora_scale", "lora_magnitude_vector.default.weight": "dora_scale",
}  # fmt: skip
"""Ends of keys, longest first in use, with kohya's."""
_SAME = (
    "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
    "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "alpha",
)  # fmt: skip
"""Ends that are the same in both, behind other paths."""
_FACTORS |= {f"{end}{adapter}": end for end in _SAME for adapter in ("", ".default")}
_RANKS = {"lora_down.weight": 0, "hada_w1_b": 0, "lokr_w1_b": 0, "lokr_w2_b": 0}
"""Tensors that tell a rank, with the dimension that is it."""
_BY_LENGTH = sorted(_FACTORS, key=len, reverse=True)
_ROOTS = re.compile(r"^(?:base_model\.model\.)?(?:(unet|text_encoder|text_encoder_2)\.)?(?:base_model\.model\.)?")


def to_kohya(
    tensors: Mapping[str, Tensor], targets: Sequence[AdapterTarget], modules: Mapping[str, nn.Module], *, told: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """A file's tensors under kohya's names of this model; keys that are already so, or that nobody knows, stay as they are.

    A layer without an alpha has one equal to its rank in those programs, which is what kohya's programs take it for too, unless they tell another.

    Args:
        modules: the model's parts by `AdapterTarget.part`, to know diffusers' paths of the targets.
        told: what the file's program wrote about the adapter, see `written_beside`.
    """
    names = dict(_aliases(targets, modules))
    made, others = {}, {}
    for key, tensor in tensors.items():
        end = next((end for end in _BY_LENGTH if key.endswith(f".{end}")), None)
        stem, dot, rest = key.partition(".")
        if end is not None and stem not in names and not stem.startswith("lora_"):
            part, path, name = _found(key.removesuffix(f".{end}"), names)
            made[key if name is None else f"{name}.{_FACTORS[end]}"] = _shaped(tensor, _FACTORS[end])
            if name is not None:
                others[name] = part, path
        elif end is not None and _FACTORS[end] != end:
            made[f"{names.get(stem, stem)}.{_FACTORS[end]}"] = _shaped(tensor, _FACTORS[end])
        else:
            made[f"{names.get(stem, stem)}{dot}{rest}"] = tensor
    made |= _strengths(made, others, told or {})
    return made | dict(_flat_factors(made, targets))


def written_beside(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What diffusers wrote into a file's header, or PEFT beside it, about the adapter; empty for neither.

    Raises:
        DataError: it is damaged.
    """
    beside = path.with_name("adapter_config.json")
    is_peft = path.stem.startswith("adapter_model") and beside.is_file()
    source = beside if is_peft else path
    try:
        text = beside.read_text("utf-8") if is_peft else metadata.get("lora_adapter_metadata", "{}")
        content = json.loads(text)
    except (OSError, ValueError) as reason:
        raise DataError(f"What it tells of the adapter cannot be read ({reason}).", fix="Save it again.", path=source) from reason
    return content if isinstance(content, dict) else {}


def _strengths(made: Mapping[str, Tensor], others: Mapping[str, tuple[str, str]], told: Mapping[str, Any]) -> dict[str, Tensor]:
    """Alphas that say to kohya's programs what `told` says: alpha / rank is the strength, which there may be alpha / √rank."""
    alphas, by_name = {}, {}
    for key in made:
        name, _, end = key.partition(".")
        by_name.setdefault(name, {})[end] = made[key]
    for name, (part, path) in others.items():
        own = {key.removeprefix(f"{part}."): value for key, value in told.items() if key.startswith(f"{part}.")} or told
        found, alpha = by_name[name], own.get("lora_alpha", own.get("alpha"))
        rank = next((found[end].shape[at] for end, at in _RANKS.items() if end in found), own.get("r"))
        if "alpha" in found or alpha is None or not rank:
            continue
        patterns = own.get("alpha_pattern") or {}
        alpha = next((value for pattern, value in patterns.items() if re.match(rf"(?:.*\.)?(?:{pattern})$", path)), alpha)
        alphas[f"{name}.alpha"] = torch.tensor(float(alpha) * (math.sqrt(rank) if own.get("use_rslora") else 1.0))
        if {"lokr_w1", "lokr_w2"} <= set(found):  # no rank to divide by for kohya's programs, but for PEFT
            alphas[f"{name}.lokr_w1"] = found["lokr_w1"] * (float(alpha) / float(rank))
    return alphas


def _found(path: str, names: Mapping[str, str]) -> tuple[str, str, str | None]:
    """Part of the model, path in it, and kohya's name if it is a target."""
    found = _ROOTS.match(path)
    part, rest = (found[1] or "unet", path[found.end() :]) if found else ("unet", path)
    name = names.get(f"{part}.{rest}") or names.get(f"{part}.{rest.replace('.processor.', '.').replace('_lora', '')}")
    return part, rest, name


def _aliases(targets: Sequence[AdapterTarget], modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    """Other names of each target: "<part>.<path>" as diffusers and PEFT write it, with and without `text_model.`; that path in kohya's way."""
    paths = {part: {id(module): path for path, module in root.named_modules()} for part, root in modules.items()}
    for target in targets:
        path = paths.get(target.part, {}).get(id(target.module))
        if path is None:
            continue
        yield f"{target.part}.{path}", target.name
        if target.is_text:
            yield f"{target.part}.{'text_model.' + path if not path.startswith('text_model.') else path.removeprefix('text_model.')}", target.name
        else:
            yield f"lora_unet_{path.replace('.', '_')}", target.name
            yield f"lycoris_{path.replace('.', '_')}", target.name


def _flat_factors(made: Mapping[str, Tensor], targets: Sequence[AdapterTarget]) -> Iterator[tuple[str, Tensor]]:
    """Factors of convolutions without the kernel of one pixel, as the package's dylora writes the second one, with it."""
    for target in targets:
        for end in ("lora_up.weight", "lora_down.weight") if isinstance(target.module, nn.Conv2d) else ():
            tensor = made.get(f"{target.name}.{end}")
            if tensor is not None and tensor.dim() == 2 and (end == "lora_up.weight" or target.module.kernel_size == (1, 1)):
                yield f"{target.name}.{end}", tensor[:, :, None, None]


def _shaped(tensor: Tensor, end: str) -> Tensor:
    """DoRA's lengths stand in a column in kohya's way, (out, 1)."""
    return tensor.view(-1, 1) if end == "dora_scale" and tensor.dim() == 1 else tensor
