"""Bytes per pixel that a step of the full-size U-Net keeps for its backward pass: the figures of `FamilyFacts.activations`.

    python -m benchmarks.activations

Nothing is computed: tensors have shapes and no content, weights and activations are in 16 bits as in a training, and what autograd saves is added up,
each storage once. CUDA's autocast keeps norms in 32 bits, which this does not show; `NORMS_IN_32_BITS` is for them, an assumption.
With checkpointing one block at a time is computed anew, which adds `ONE_BLOCK` of the whole.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

RANK = 16
NORMS_IN_32_BITS = 1.4
ONE_BLOCK = 0.08
_WIDE = MappingProxyType(
    {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "cross_attention_dim": 2048,
    }
)
UNETS: dict[str, tuple[dict[str, Any], int]] = {
    "sd1": ({"cross_attention_dim": 768, "attention_head_dim": 8}, 512),
    "sd2": ({"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}, 768),
    "sdxl": (dict(_WIDE), 1024),
}


class WithLoRA(nn.Module):
    """A frozen linear layer with a LoRA beside it, so that its input is kept for the gradient."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(linear.in_features, RANK, bias=False, dtype=torch.float32)
        self.up = nn.Linear(RANK, linear.out_features, bias=False, dtype=torch.float32)

    def forward(self, hidden: Tensor, *_: Any) -> Tensor:
        """(batch, ..., in) to (batch, ..., out)."""
        return self.linear(hidden) + self.up(self.down(hidden))


def saved_bytes(options: dict[str, Any], side: int, *, checkpointing: bool) -> int:
    """What one step with one picture of `side` pixels saves."""
    with FakeTensorMode():
        torch.set_default_dtype(torch.bfloat16)
        try:
            unet = UNet2DConditionModel(in_channels=4, out_channels=4, sample_size=side // 8, **options)
        finally:
            torch.set_default_dtype(torch.float32)
        unet.requires_grad_(requires_grad=False)
        unet.train()
        if checkpointing:
            unet.enable_gradient_checkpointing()
        for name, module in [(name, module) for name, module in unet.named_modules() if isinstance(module, nn.Linear)]:
            if "attn" in name or ".ff." in name or "proj_" in name:
                unet.set_submodule(name, WithLoRA(module))
        weights = {parameter.untyped_storage()._cdata for parameter in unet.parameters()}
        return _saved(unet, weights, side)


def _saved(unet: UNet2DConditionModel, weights: set[int], side: int) -> int:
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    added = {"text_embeds": torch.randn(1, 1280), "time_ids": torch.randn(1, 6)} if unet.config["addition_embed_type"] else None
    hidden = torch.randn(1, 77, unet.config["cross_attention_dim"], requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", dtype=torch.bfloat16):
        alive = unet(torch.randn(1, 4, side // 8, side // 8), torch.tensor([3]), hidden, added_cond_kwargs=added).sample
    del alive
    return sum(kept.values())


def main() -> None:
    """Print a table."""
    print("| kind | side | whole, bytes per pixel | checkpointed | for the registry |\n|---|---|---|---|---|")
    for kind, (options, side) in UNETS.items():
        whole, recomputed = (saved_bytes(options, side, checkpointing=on) / side**2 for on in (False, True))
        registry = whole * NORMS_IN_32_BITS, (recomputed + whole * ONE_BLOCK) * NORMS_IN_32_BITS
        print(f"| {kind} | {side} | {whole:,.0f} | {recomputed:,.0f} | {registry[0]:,.0f} · {registry[1]:,.0f} |")


if __name__ == "__main__":
    main()
