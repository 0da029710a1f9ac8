"""Weights files for tests of the survey: right in names and shapes, zero in content."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from sd_scripts.survey.weights_header import SIZES

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "models.json").read_text("utf-8"))
SD1 = {key: ("F16", tuple(shape)) for key, shape in GOLDEN["sd15_tiny_keys"]}
UNET = "model.diffusion_model."
SDXL = {
    f"{UNET}label_emb.0.0.weight": ("F16", (8, 8)),
    "conditioner.embedders.1.model.text_projection": ("F16", (8, 8)),
    f"{UNET}input_blocks.4.1.proj_in.weight": ("F16", (8, 8)),
}
LINEAR = {**SD1, f"{UNET}input_blocks.1.1.proj_in.weight": ("F16", (32, 32))}


def write_safetensors(path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]], **metadata: str) -> Path:
    """A .safetensors file of zeros; sparse, so that large ones cost nothing."""
    entries, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = SIZES[dtype]
        for side in shape:
            size *= side
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": metadata, **entries}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path
