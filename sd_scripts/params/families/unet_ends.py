"""Layers of a U-Net before and behind all of its blocks: diffusers' paths, and the names that files with the original keys have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from sd_scripts.params.families.facts import AdapterPlace, Tensors, has_bias

UNET_ENDS: Mapping[str, str] = MappingProxyType({
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "conv_norm_out": "out.0", "conv_out": "out.2",
})  # fmt: skip
"""Original names by diffusers' paths."""
LAST = ("conv_norm_out", "conv_out")
"""Those behind all blocks."""


def end_places(tensors: Tensors, *, original_names: bool, last_block: int) -> Iterator[AdapterPlace]:
    """Those of a model's file or folder; adapters on them are called as the original keys are, or as diffusers' paths."""
    for path, original in UNET_ENDS.items():
        key = next((key for key in (f"model.diffusion_model.{original}.weight", f"unet/{path}.weight") if key in tensors), None)
        if key is not None:
            names = (original, path) if original_names else (path, original)
            name, alias = (name.replace(".", "_") for name in names)
            shape, block = tensors[key][1], last_block if path in LAST else 0
            yield AdapterPlace(
                f"lora_unet_{name}", "unet", shape, block, needs_conv=False, bias=has_bias(tensors, key),
                is_norm=len(shape) == 1, is_outer=True, alias=alias,
            )  # fmt: skip
