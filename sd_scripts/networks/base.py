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
from sd_scripts.params.layers import Layer

ALPHA_ROUNDING = 0.005
"""Relative error of an alpha that was saved as bfloat16."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates of one adapter: of the U-Net, and of each text encoder or one for all of them.

    `block_weights[i]` is a factor for U-Net block i; a `plus` ratio multiplies up factors' rates (LoRA+).
    `by_name` holds tests of names with the rate of what passes; the first counts.
    """

    unet: float
    text_encoders: tuple[float, ...]
    unet_plus: float | None = None
    text_encoder_plus: float | None = None
    block_weights: tuple[float, ...] | None = None
    by_name: tuple[tuple[Callable[[str], bool], float], ...] = ()


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How a file fitted: modules of the adapter that it lacks, modules of it that the adapter lacks, and modules whose alpha differed in it."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    rescaled: tuple[str, ...] = ()


class AdapterModule(nn.Module, ABC):
    """The adapter of one target: replaces the target module's `forward` while attached. The target is not a child, so it is neither saved nor moved.

    `alpha` is a 0-dim buffer, since files carry it as a tensor; `scale` = alpha / rank, where alpha 0 counts as rank. `factor` is scale times the
    adapter's multiplier.
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

    @property
    def weight(self) -> Tensor:
        """The target's own weight."""
        return cast(nn.Parameter, self.target.module.weight)

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """The target's output, changed by this adapter at its `factor`."""

    @abstractmethod
    def change(self) -> Tensor:
        """Change of the target's weight at multiplier 1, in the weight's shape, float32."""

    def plus_parameters(self) -> list[nn.Parameter]:  # of most kinds
        """The parameters that LoRA+ trains faster."""
        return []

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that learn."""
        return list(self.parameters())

    def factors(self) -> list[nn.Parameter]:
        """Parameters whose product the change is proportional to; none where it is not proportional to any."""
        return []

    @torch.no_grad()
    def norm(self) -> Tensor:
        """Frobenius norm of the change, 0-dim."""
        return self.change().norm()

    @torch.no_grad()
    def shrink(self, ratio: Tensor) -> None:
        """Multiply the change by `ratio`, shared out evenly among its factors."""
        factors = self.factors()
        for parameter in factors:
            parameter.mul_(ratio ** (1 / len(factors)))

    def strength_in(self, found: Mapping[str, Tensor]) -> float:
        """alpha / rank as a file has it; without an alpha, or with 0, it is 1."""
        alpha = found.get("alpha")
        return 1.0 if alpha is None else float(alpha) / self.rank or 1.0

    def file_tensors(self) -> dict[str, Tensor]:
        """Tensors as files of the ecosystem hold them, by the part of their key behind the target's name."""
        return dict(self.state_dict())

    @torch.no_grad()
    def load_file(self, found: Mapping[str, Tensor]) -> bool:
        """Take a file's tensors and keep their effect: where the file's alpha differs, a factor is scaled to make up for it, and True returned.

        Raises:
            ValueError: a tensor is missing, has another shape or no place here; the message names it.
        """
        own = {key: tensor for key, tensor in self.state_dict().items() if key != "alpha"}
        refuse_others(found, own)
        copy_all(own, found)
        ratio = self.strength_in(found) / self.scale
        if math.isclose(ratio, 1.0, rel_tol=ALPHA_ROUNDING) or not self.factors():
            return False
        self.factors()[-1].mul_(ratio)
        return True

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
        """Write the change times the multiplier into the target's weight: computed in float32, stored in the weight's dtype."""
        add_to_weight(self.target, self.change(), self.factor / self.scale)


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
        named = [_rate_by_name(name, rates) for name, _ in self._each()]
        rest = [module for place, (_, module) in zip(named, self._each(), strict=True) if place is None]
        unet = [module for module in rest if not module.target.is_text]
        groups = _text_groups(rest, rates)
        for place, (_, rate) in enumerate(rates.by_name):
            members = [module for found, (_, module) in zip(named, self._each(), strict=True) if found == place]
            texts = [module for module in members if module.target.is_text]
            groups += _split(f"textencoder reg_lr_{place}", texts, rate, rates.text_encoder_plus)
            groups += _split(f"reg_lr_{place}", [module for module in members if not module.target.is_text], rate, rates.unet_plus)
        if rates.block_weights is None:
            return groups + _split("unet", unet, rates.unet, rates.unet_plus)
        for block in dict.fromkeys(module.target.block for module in unet):
            members = [module for module in unet if module.target.block == block]
            weight = 1.0 if block is None else rates.block_weights[block]
            groups += _split("unet" if block is None else f"unet_block{block}", members, rates.unet * weight, rates.unet_plus)
        return groups

    def load(self, tensors: Mapping[str, Tensor]) -> LoadReport:
        """Copy a file's factors in, keeping their effect: where the file's alpha differs from ours, the up factor is scaled to make up for it.

        Raises:
            ValueError: a factor has another shape; the message names it.
        """
        present = {key.partition(".")[0] for key in tensors}
        rescaled = []
        for name, module in self._each():
            if name in present and self._loaded(name, module, tensors):
                rescaled.append(name)
        names = self.modules_by_name
        return LoadReport(tuple(n for n in names if n not in present), tuple(sorted(present - set(names))), tuple(rescaled))

    def file_tensors(self) -> dict[str, Tensor]:
        """The tensors of the adapter's file by their keys."""
        return {f"{name}.{key}": tensor for name, module in self._each() for key, tensor in module.file_tensors().items()}

    def state(self) -> dict[str, Tensor]:
        """Every parameter and buffer by its name: what resuming needs, which a file may hold in another form."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave. Raises ValueError for a tensor that is missing, too many or of another shape."""
        own = self.state()
        strange = sorted(set(state) - set(own))
        if strange:
            raise ValueError(f"{strange[0]} is none of its tensors")
        copy_all(own, state)

    @torch.no_grad()
    def scale_norms(self, max_norm: float) -> tuple[int, float, float]:
        """Shrink every module whose change has a Frobenius norm above `max_norm`.

        Returns:
            How many were shrunk, and mean and maximum norm afterwards. Reading these makes the accelerator wait: only with this option on.
        """
        modules = [module for _, module in self._each() if module.factors()]
        if not modules:
            return 0, 0.0, 0.0
        norms = torch.stack([module.norm() for module in modules])
        ratios = max_norm / norms.clamp(min=max_norm)
        for module, ratio in zip(modules, ratios, strict=True):
            module.shrink(ratio)
        after = norms * ratios
        return int((ratios < 1).sum()), float(after.mean()), float(after.max())

    def _loaded(self, name: str, module: AdapterModule, tensors: Mapping[str, Tensor]) -> bool:
        start = f"{name}."
        try:
            return module.load_file({key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)})
        except ValueError as reason:
            raise ValueError(f"{name}.{reason}") from reason

    def _each(self) -> Iterator[tuple[str, AdapterModule]]:
        yield from cast("dict[str, AdapterModule]", self._modules).items()


def layer_of(target: AdapterTarget) -> Layer:
    """A target as the rules about layers know it."""
    return Layer(
        target.name, target.block, target.kind == "conv3x3", target.conv,
        is_norm=target.kind == "norm", is_outer=target.is_outer, alias=target.alias,
    )  # fmt: skip


@torch.no_grad()
def add_to_weight(target: AdapterTarget, change: Tensor, factor: float) -> None:
    """Add factor · change to a target's weight: computed in float32 on the weight's device, stored in its dtype."""
    weight = cast(nn.Parameter, target.module.weight)
    weight.copy_((weight.float() + factor * change.float().to(weight.device).view(weight.shape)).to(weight.dtype))


def copy_all(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Copy tensors by their keys. Raises ValueError for one that is missing or has another shape."""
    for key, tensor in own.items():
        if key not in found:
            raise ValueError(f"{key} is missing")
        if found[key].shape != tensor.shape:
            raise ValueError(f"{key} is {tuple(found[key].shape)} in the file and {tuple(tensor.shape)} here")
        tensor.copy_(found[key])


def refuse_others(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise ValueError where a file holds more for a module than the module has: leaving it out would change its effect."""
    others = sorted(set(found) - set(own) - {"alpha"})
    if others:
        hint = ": switch dora_wd on" if others[0] == "dora_scale" else ""
        raise ValueError(f"{others[0]} has no place in this adapter{hint}")


def _split(name: str, modules: Sequence[AdapterModule], rate: float, plus: float | None) -> list[ParamGroup]:
    """One group, or with a LoRA+ ratio two: the second holds the up factors."""
    if not modules or not rate:
        return []
    fast = [parameter for module in modules for parameter in module.plus_parameters()] if plus else []
    if not plus or not fast:
        return [ParamGroup(name, [parameter for module in modules for parameter in module.trained_parameters()], rate)]
    known = {id(parameter) for parameter in fast}
    slow = [parameter for module in modules for parameter in module.trained_parameters() if id(parameter) not in known]
    return [ParamGroup(name, slow, rate), ParamGroup(f"{name} plus", fast, rate * plus)]


def _rate_by_name(name: str, rates: Rates) -> int | None:
    return next((place for place, (matches, _) in enumerate(rates.by_name) if matches(name)), None)


def _text_groups(modules: Sequence[AdapterModule], rates: Rates) -> list[ParamGroup]:
    """One group for all text encoders; where they have rates of their own, one each, numbered."""
    if len(rates.text_encoders) == 1:
        return _split("textencoder", [module for module in modules if module.target.is_text], rates.text_encoders[0], rates.text_encoder_plus)
    groups: list[ParamGroup] = []
    for number, (part, rate) in enumerate(zip(("text_encoder", "text_encoder_2"), rates.text_encoders, strict=False), start=1):
        texts = [module for module in modules if module.target.part == part]
        groups += _split(f"textencoder {number}", texts, rate, rates.text_encoder_plus)
    return groups
