"""Which family an adapter's file is for, where its first names and its metadata do not tell: by other parts of names, then by the captions' width."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sd_scripts.params.families.signatures import CAPTION_WIDTHS, JOINED_WIDTHS, LORA_NAMES
from sd_scripts.survey.weights_header import Tensor

_READS_CAPTIONS = re.compile(r"(?:^|[._])attn2[._]to_[kv]\.(.+)$")
_JOINS_CAPTIONS = re.compile(r"(?:^|[._])attn[._]add_[qkv]_proj\.(.+)$")
_DOWN = ("lora_down.weight", "lora_A.weight", "lora_A.default.weight", "lora.down.weight", "hada_w1_b", "hada_w2_b", "a2.weight", "diff")
"""Ends of keys whose second side is as wide as the layer's input."""


def adapter_family(tensors: Mapping[str, Tensor]) -> str:
    """The kind of model ("sd1", "sdxl", ...) that an adapter with these tensors is for, "" where they do not tell."""
    names = [name.replace(".", "_") for name in tensors]
    for kind, pattern in LORA_NAMES:
        if any(pattern.search(name) for name in names):
            return kind
    joined = _kind_by_width(tensors, _JOINS_CAPTIONS, JOINED_WIDTHS)
    return joined or _kind_by_width(tensors, _READS_CAPTIONS, CAPTION_WIDTHS)


def _kind_by_width(tensors: Mapping[str, Tensor], layer: re.Pattern[str], kinds: Mapping[int, str]) -> str:
    """The kind that all layers of this name agree in, "" for none."""
    found = {kinds.get(width, "") for name in tensors if (match := layer.search(name)) and (width := _input_width(tensors, name, match[1]))}
    return found.pop() if len(found) == 1 else ""


def _input_width(tensors: Mapping[str, Tensor], name: str, end: str) -> int:
    """Width of a layer's input by one of its tensors, 0 where that one does not tell it."""
    shape = tensors[name][1]
    if len(shape) < 2:
        return 0
    if end in _DOWN:
        return shape[1]
    if end not in ("lokr_w1", "lokr_w1_b"):
        return 0
    stem = name.removesuffix(end)
    other = next((tensors[stem + key][1] for key in ("lokr_w2", "lokr_w2_b") if stem + key in tensors), ())
    return shape[1] * other[1] if len(other) > 1 else 0
