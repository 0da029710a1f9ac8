"""A full-size SD 1.5 file with random fp16 weights, for measurements that need the size and not the pictures."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.tiny_models import SD15, single_file_shapes

_BLOCK = 1 << 20


def write_sd15(path: Path) -> Path:
    """Write the 2.1 GB file unless it is there. Weights have the spread of a fresh layer, so that activations stay finite. Returns `path`."""
    if path.exists():
        return path
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0))
    tensors = {}
    for key, shape in single_file_shapes(SD15).items():
        size = math.prod(shape)
        spread = 1 / math.sqrt(max(1, size // shape[0]))
        values = block.repeat(-(-size // _BLOCK))[:size].view(shape)
        is_norm = len(shape) == 1 and key.endswith(".weight")
        tensors[key] = (torch.ones(shape) if is_norm else values * spread).half().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path
