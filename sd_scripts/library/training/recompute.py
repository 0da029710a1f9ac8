"""Gradient checkpointing: blocks are computed again in the backward pass, so that only what goes into them is kept until then.

Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from sd_scripts.params.memory import Memory


class KeptInMainMemory(saved_tensors_hooks):
    """Within it, what autograd keeps for the backward pass lies in main memory, pinned where it comes from a GPU. Weights stay where they are."""

    def __init__(self) -> None:
        super().__init__(_to_main_memory, _back)


@dataclass(slots=True)
class Recompute:
    """What diffusers and transformers call with each block of a model and its inputs, in place of the block.

    Args:
        every: of so many blocks, in the order in which the model runs them, one is computed again; the others keep what they made.
        offload: inputs of such blocks wait in main memory.
    """

    every: int = 1
    offload: bool = False
    _numbers: dict[int, int] = field(default_factory=dict)

    def __call__(self, block: Callable[..., Any], *inputs: Any) -> Any:
        """The block's output. `block` is a module, or a partial function whose first argument is one."""
        module = getattr(block, "args", (block,))[0]
        number = self._numbers.setdefault(id(module), len(self._numbers))
        if number % self.every:
            return block(*inputs)
        with KeptInMainMemory() if self.offload else nullcontext():
            return checkpoint(block, *inputs, use_reentrant=False)


def recompute_blocks(unet: Any, text_encoders: Sequence[nn.Module], options: Memory) -> None:
    """Switch gradient checkpointing on. It is called by a model in training mode alone, and changes nothing in what is computed."""
    for model in (unet, *text_encoders):
        again = Recompute(options.gradient_checkpointing_every, options.cpu_offload_checkpointing)
        able: list[Any] = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")]
        for module in able:
            module.gradient_checkpointing = True
            module._gradient_checkpointing_func = again


def _to_main_memory(tensor: Tensor) -> tuple[torch.device, Tensor]:
    if isinstance(tensor, nn.Parameter) or tensor.device.type == "cpu":
        return tensor.device, tensor
    kept = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.device.type == "cuda")
    kept.copy_(tensor, non_blocking=True)
    return tensor.device, kept


def _back(kept: tuple[torch.device, Tensor]) -> Tensor:
    device, tensor = kept
    return tensor.to(device, non_blocking=True)
