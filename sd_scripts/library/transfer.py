"""Small tensors on their way to the accelerator, which is not to be waited for: a step's host code runs ahead of it."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. A copy from ordinary main memory, or one that is waited for, would hold the host up until all work before it is done."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
