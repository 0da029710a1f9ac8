"""What every adapter type shares: one module per target that adds to the target's output, and the container that applies, merges and loads them.

How the addition is computed is the adapter type's business (`lora.py`); which modules are targets is the family's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.optim.groups import ParamGroup

ALPHA_ROUNDING = 0.005
"""Relative error of an alpha that was saved as bfloat16."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates of one adapter: of the U-Net, and of each text encoder or one for all of them.

    `block_weights[i]` is a factor for U-Net block i; a `plus` ratio multiplies up factors' rates (LoRA+).
    """

    unet: float
    text_encoders: tuple[float, ...]
    unet_plus: float | None = None
    text_encoder_plus: float | None = None
    block_weights: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How a file fitted: modules of the adapter that it lacks, modules of it that the adapter lacks, and modules whose alpha differed in it."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    rescaled: tuple[str, ...] = ()


class AdapterModule(nn.Module, ABC):
    """The adapter of one target: replaces the target module's `forward` while attached. The target is not a child, so it is neither saved nor moved.

    `alpha` is a 0-dim buffer, since files carry it as a tensor; `scale` = alpha / rank, where alpha 0 counts as rank.
    """

    alpha: Tensor

    def __init__(self, target: AdapterTarget, rank: int, alpha: float) -> None:
        super().__init__()
        self.target, self.rank = target, rank
        alpha = alpha or float(rank)
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.scale = alpha / rank
        self.factor = self.scale
        self._plain = target.module.forward
        self._restore: Callable[..., Tensor] | None = None
        self.attached = False

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """The target's output plus this adapter's part of it, times `factor`."""

    @abstractmethod
    def delta(self) -> Tensor:
        """Change of the target's weight at factor 1, in the weight's shape, float32."""

    @abstractmethod
    def plus_parameters(self) -> list[nn.Parameter]:
        """The parameters that LoRA+ trains faster."""

    def attach(self) -> None:
        """Take the place of the target's `forward`. Adapters on one target are removed in the reverse order."""
        module = self.target.module
        self._plain = module.forward
        self._restore = vars(module).get("forward")
        module.forward = self.forward
        self.attached = True

    def detach(self) -> None:
        """Give the target its own `forward` back."""
        module = self.target.module
        if self._restore is None:
            del module.forward
        else:
            module.forward = self._restore
        self.attached = False

    @torch.no_grad()
    def merge(self) -> None:
        """Add `factor` times the change to the target's weight: computed in float32, stored in the weight's dtype."""
        add_to_weight(self.target, self.delta(), self.factor)


class Adapter(nn.Module):
    """All adapter modules of one training, in the order of their creation. Its `state_dict` has the keys of the ecosystem's files.

    Setting `multiplier` scales what is added to every target; 0 switches the adapter off.
    """

    def __init__(self, modules: Iterable[AdapterModule], *, multiplier: float = 1.0) -> None:
        super().__init__()
        for module in modules:
            self.add_module(module.target.name, module)
        self._multiplier = 1.0
        self.multiplier = multiplier

    @property
    def modules_by_name(self) -> dict[str, AdapterModule]:
        """Each target's adapter by the target's name."""
        return dict(self._each())

    @property
    def multiplier(self) -> float:
        """Strength of the whole adapter; 1 as trained."""
        return self._multiplier

    @multiplier.setter
    def multiplier(self, value: float) -> None:
        """Takes effect with the next forward."""
        self._multiplier = value
        for _, module in self._each():
            module.factor = module.scale * value

    def apply(self) -> None:  # type: ignore[override]  # ty: ignore[incompatible-method-override]
        """Attach every module to its target. Doing it twice changes nothing."""
        for _, module in self._each():
            if not module.attached:
                module.attach()

    def remove(self) -> None:
        """Detach every module: the targets compute what they did before."""
        for _, module in self._each():
            if module.attached:
                module.detach()

    def merge(self) -> None:
        """Write the adapter into the targets' weights and detach it: the targets compute what they did with it, up to rounding."""
        self.remove()
        for _, module in self._each():
            module.merge()

    def param_groups(self, rates: Rates) -> list[ParamGroup]:
        """Groups for the optimizer, named as the ecosystem names them: text encoder, then the U-Net, or its blocks where they have rates.

        A group without a rate is left out: its parameters are not trained.
        """
        unet = [module for _, module in self._each() if not module.target.is_text]
        groups = self._text_groups(rates)
        if rates.block_weights is None:
            return groups + _split("unet", unet, rates.unet, rates.unet_plus)
        for block in dict.fromkeys(module.target.block for module in unet):
            members = [module for module in unet if module.target.block == block]
            weight = 1.0 if block is None else rates.block_weights[block]
            groups += _split("unet" if block is None else f"unet_block{block}", members, rates.unet * weight, rates.unet_plus)
        return groups

    def _text_groups(self, rates: Rates) -> list[ParamGroup]:
        """One group for all text encoders; where they have rates of their own, one each, numbered."""
        if len(rates.text_encoders) == 1:
            texts = [module for _, module in self._each() if module.target.is_text]
            return _split("textencoder", texts, rates.text_encoders[0], rates.text_encoder_plus)
        groups: list[ParamGroup] = []
        for number, (part, rate) in enumerate(zip(("text_encoder", "text_encoder_2"), rates.text_encoders, strict=False), start=1):
            texts = [module for _, module in self._each() if module.target.part == part]
            groups += _split(f"textencoder {number}", texts, rate, rates.text_encoder_plus)
        return groups

    def load(self, tensors: Mapping[str, Tensor]) -> LoadReport:
        """Copy a file's factors in, keeping their effect: where the file's alpha differs from ours, the up factor is scaled to make up for it.

        Raises:
            ValueError: a factor has another shape; the message names it.
        """
        present = {key.partition(".")[0] for key in tensors}
        rescaled = []
        for name, module in self._each():
            if name not in present:
                continue
            own = module.state_dict()
            found = {key: tensors[f"{name}.{key}"] for key in own if f"{name}.{key}" in tensors}
            ratio = _strength(module, found) / module.scale
            _copy(name, {key: value for key, value in own.items() if key != "alpha"}, found)
            if not math.isclose(ratio, 1.0, rel_tol=ALPHA_ROUNDING):
                rescaled.append(name)
                with torch.no_grad():
                    for parameter in module.plus_parameters():
                        parameter.mul_(ratio)
        names = self.modules_by_name
        return LoadReport(tuple(n for n in names if n not in present), tuple(sorted(present - set(names))), tuple(rescaled))

    def _each(self) -> Iterator[tuple[str, AdapterModule]]:
        yield from cast("dict[str, AdapterModule]", self._modules).items()


@torch.no_grad()
def add_to_weight(target: AdapterTarget, change: Tensor, factor: float) -> None:
    """Add factor · change to a target's weight: computed in float32 on the weight's device, stored in its dtype."""
    weight = cast(nn.Parameter, target.module.weight)
    weight.copy_((weight.float() + factor * change.float().to(weight.device).view(weight.shape)).to(weight.dtype))


def _strength(module: AdapterModule, found: Mapping[str, Tensor]) -> float:
    """alpha / rank as a file has it; without an alpha, or with 0, it is 1."""
    alpha = found.get("alpha")
    return 1.0 if alpha is None else float(alpha) / module.rank or 1.0


def _copy(name: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for key, tensor in own.items():
        if key not in found:
            raise ValueError(f"{name} has no {key}")
        if found[key].shape != tensor.shape:
            raise ValueError(f"{name}.{key} is {tuple(found[key].shape)} in the file and {tuple(tensor.shape)} here")
        tensor.copy_(found[key])


def _split(name: str, modules: Sequence[AdapterModule], rate: float, plus: float | None) -> list[ParamGroup]:
    """One group, or with a LoRA+ ratio two: the second holds the up factors."""
    if not modules or not rate:
        return []
    if not plus:
        return [ParamGroup(name, [parameter for module in modules for parameter in module.parameters()], rate)]
    fast = [parameter for module in modules for parameter in module.plus_parameters()]
    known = {id(parameter) for parameter in fast}
    slow = [parameter for module in modules for parameter in module.parameters() if id(parameter) not in known]
    return [ParamGroup(name, slow, rate), ParamGroup(f"{name} plus", fast, rate * plus)]
