"""AdamW for weights held in bf16: what a step changes is rounded at random, so that small changes are not lost but add up on average."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer as TorchOptimizer

from sd_scripts.survey.randomness import seed_for

DROPPED_BITS = 16
"""bf16 is float32 without its last 16 bits."""


def round_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """float32 to bf16, up or down with the probability that makes the expected result exact. Source: Gupta et al., arXiv 1502.02551, section 3.1.

    Adding a number drawn evenly from [0, 2^16) to the bits and cutting the last 16 carries over with just that probability. Infinite and NaN stay.
    """
    noise = torch.randint(0, 1 << DROPPED_BITS, values.shape, dtype=torch.int32, device=values.device, generator=generator)
    bits = (values.contiguous().view(torch.int32) + noise) & -(1 << DROPPED_BITS)
    return torch.where(values.isfinite(), bits.view(torch.float32), values).to(torch.bfloat16)


class AdamWStochastic(TorchOptimizer):
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) with moments in the dtype of the weights: 6 bytes a weight in bf16 instead of 12.

    It computes in float32. bf16 results are rounded stochastically, float32 ones are stored as they are, fp16 ones to nearest.
    The draws follow from the step and the parameter's place, so a resumed run goes on exactly.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), not {betas}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # ty: ignore[incompatible-method-override]
        """One update of every parameter that has a gradient."""
        for number, group in enumerate(self.param_groups):
            for place, parameter in enumerate(group["params"]):
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad.float(), group, place=(group.get("piece", number), place))

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], *, place: tuple[int, int]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
        state["step"] += 1
        step, (beta1, beta2) = state["step"], group["betas"]
        first = state["exp_avg"].float().lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"].float().mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        divisor = (second / (1 - beta2**step)).sqrt_().add_(group["eps"])
        weight = parameter.float().mul(1 - group["lr"] * group["weight_decay"]).addcdiv_(first, divisor, value=-group["lr"] / (1 - beta1**step))
        generator = torch.Generator(parameter.device)
        generator.manual_seed(seed_for(0, "rounding", epoch=place[0], step=step, index=place[1]))
        for target, exact in ((parameter, weight), (state["exp_avg"], first), (state["exp_avg_sq"], second)):
            target.copy_(round_stochastically(exact, generator) if target.dtype == torch.bfloat16 else exact)
