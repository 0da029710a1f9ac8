"""Muon for matrices with AdamW for everything else, as its author uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sd_scripts.library.optim.composite import Composite


class MuonWithAdamW(Composite):
    """torch's Muon on parameters with two dimensions (all of a LoRA of linear layers), AdamW on the others (convolutions, norms, biases).

    The step of a matrix is scaled to the size that AdamW's would have, so one rate suits both.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); scaling: Liu et al., arXiv 2502.16982, section 2.2.
    """

    def __init__(self, params: Sequence[dict[str, Any]], *, lr: float, weight_decay: float = 0.01, **muon: Any) -> None:
        matrices = [_part(group, matrices=True) for group in params]
        others = [_part(group, matrices=False) for group in params]
        parts: list[torch.optim.Optimizer] = []
        if any(group["params"] for group in matrices):
            chosen = [group for group in matrices if group["params"]]
            args: dict[str, Any] = {"adjust_lr_fn": "match_rms_adamw", **muon}
            parts.append(torch.optim.Muon(chosen, lr=lr, weight_decay=weight_decay, **args))
        if any(group["params"] for group in others):
            parts.append(torch.optim.AdamW([group for group in others if group["params"]], lr=lr, weight_decay=weight_decay))
        super().__init__(parts)


def _part(group: dict[str, Any], *, matrices: bool) -> dict[str, Any]:
    chosen = [parameter for parameter in group["params"] if (parameter.dim() == 2) == matrices]
    mixed = 0 < len(chosen) < len(group["params"])
    name = f"{group['name']} (AdamW)" if mixed and not matrices else group["name"]
    return {**group, "params": chosen, "name": name}
