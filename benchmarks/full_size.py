"""Full-size single files with random weights, for measurements and tests that need the size and not the pictures."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import torch
from torch import Tensor

from tests.tiny_models import SD15, SDXL_BASE, Layout, single_file_shapes

_BLOCK = 1 << 20
_NAMES = {torch.float16: "F16", torch.bfloat16: "BF16"}


def write_sd15(path: Path) -> Path:
    """Write SD 1.5 in fp16, 2.1 GB, unless it is there. Returns `path`."""
    return write_model(path, SD15, torch.float16)


def write_sdxl(path: Path) -> Path:
    """Write SDXL in bf16, 6.9 GB, unless it is there. Returns `path`."""
    return write_model(path, SDXL_BASE, torch.bfloat16)


def write_model(path: Path, layout: Layout, dtype: torch.dtype) -> Path:
    """Write a model unless it is there, one weight after the other, so that little of it lies in memory at a time.

    Weights have the spread of a fresh layer, so that activations stay finite. Returns `path`.
    """
    if path.exists():
        return path
    shapes = single_file_shapes(layout)
    entries, end = {}, 0
    for key, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        entries[key] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(entries).encode()
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for key, shape in shapes.items():
            file.write(_weight(key, shape, block).to(dtype).view(torch.int16).numpy().data)
    part.rename(path)
    return path


def _weight(key: str, shape: tuple[int, ...], block: Tensor) -> Tensor:
    """One weight, flat, float32: ones for norms, else numbers of `block` again and again."""
    size = math.prod(shape)
    if len(shape) == 1 and key.endswith(".weight"):
        return torch.ones(size)
    return block.repeat(-(-size // _BLOCK))[:size] / math.sqrt(max(1, size // (shape or (1,))[0]))
