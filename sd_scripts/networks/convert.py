"""Files of other programs under kohya's names: diffusers, PEFT, and kohya's files with diffusers' paths. Keys change, values never."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget

_FACTORS = {
    "lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight", "lora_A.default.weight": "lora_down.weight",
    "lora_B.default.weight": "lora_up.weight", "lora.down.weight": "lora_down.weight", "lora.up.weight": "lora_up.weight",
    "lora_linear_layer.down.weight": "lora_down.weight", "lora_linear_layer.up.weight": "lora_up.weight", "lora_magnitude_vector": "dora_scale",
    "lora_magnitude_vector.weight": "dora_scale", "lora_magnitude_vector.default.weight": "dora_scale",
}  # fmt: skip
"""Ends of keys, longest first in use, with kohya's."""
_BY_LENGTH = sorted(_FACTORS, key=len, reverse=True)
_ROOTS = re.compile(r"^(?:base_model\.model\.)?(?:(unet|text_encoder|text_encoder_2)\.)?(?:base_model\.model\.)?")


def to_kohya(tensors: Mapping[str, Tensor], targets: Sequence[AdapterTarget], modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """A file's tensors under kohya's names of this model; keys that are already so, or that nobody knows, stay as they are.

    A factor without an alpha has one equal to its rank in those programs, which is what kohya's programs take it for too.

    Args:
        modules: the model's parts by `AdapterTarget.part`, to know diffusers' paths of the targets.
    """
    names = dict(_aliases(targets, modules))
    made = {}
    for key, tensor in tensors.items():
        end = next((end for end in _BY_LENGTH if key.endswith(f".{end}")), None)
        if end is not None:
            made[_renamed(key.removesuffix(f".{end}"), names, key, _FACTORS[end])] = _shaped(tensor, _FACTORS[end])
        else:
            stem, dot, rest = key.partition(".")
            made[f"{names.get(stem, stem)}{dot}{rest}"] = tensor
    return made


def _renamed(path: str, names: Mapping[str, str], key: str, end: str) -> str:
    found = _ROOTS.match(path)
    part, rest = (found[1] or "unet", path[found.end() :]) if found else ("unet", path)
    name = names.get(f"{part}.{rest}") or names.get(f"{part}.{rest.replace('.processor.', '.').replace('_lora', '')}")
    return key if name is None else f"{name}.{end}"


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


def _shaped(tensor: Tensor, end: str) -> Tensor:
    """DoRA's lengths stand in a column in kohya's way, (out, 1)."""
    return tensor.view(-1, 1) if end == "dora_scale" and tensor.dim() == 1 else tensor
