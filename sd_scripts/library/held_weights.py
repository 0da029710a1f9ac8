"""Frozen weights held in fewer bits, and turned into the type of computing each time they are used.

A `HeldWeight` passes for the weight that it stands for: whatever computes with it (linear layers, convolutions, their backward passes, adapters that
read it) is given the values, made anew and thrown away afterwards. So a layer costs its few bits, and the model's largest weight once.

Source: 8-bit floats: Micikevicius et al. 2022, "FP8 Formats for Deep Learning", arXiv:2209.05433; whole numbers by row: Dettmers et al. 2022,
"LLM.int8()", arXiv:2208.07339; NF4: Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, section 3 and appendix E.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from sd_scripts.params.config import Config
from sd_scripts.params.memory import FrozenPrecision, Precision
from sd_scripts.params.network import Network

Format = Literal["fp8", "int8", "nf4"]
LARGEST: Mapping[Format, float] = {"fp8": 448.0, "int8": 127.0}
"""The largest number of each format that has one scale per row."""
BLOCK = 64
"""Neighbouring weights that share a scale in NF4."""
NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""Quantiles of a normal distribution, which weights nearly have: the numbers of the paper."""
HOLDING = (nn.Linear, nn.Conv2d)
"""Layers whose weights can be held."""
_TINY = 1e-12
_aten = torch.ops.aten


class HeldWeight(Tensor):
    """A weight of a `shape` and a `dtype` that exists as `codes` and `scales`.

    fp8 and int8: `codes` in the weight's shape, `scales` float32, one per row (first dimension). nf4: `codes` uint8, two weights in each, `scales`
    float32, one per 64 weights.
    """

    codes: Tensor
    scales: Tensor
    format: Format

    @staticmethod
    def __new__(cls, codes: Tensor, scales: Tensor, form: Format, *, shape: torch.Size, dtype: torch.dtype) -> Self:  # as torch calls it
        """Wrap codes and scales as they are."""
        return Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=codes.device, requires_grad=False)

    def __init__(self, codes: Tensor, scales: Tensor, form: Format, *, shape: torch.Size, dtype: torch.dtype) -> None:  # shape and dtype are torch's
        """See `hold`, which makes codes and scales of a weight."""
        self.codes, self.scales, self.format = codes, scales, form

    def __repr__(self, *, tensor_contents: object = None) -> str:  # as torch calls it
        """Without the values, which torch would make for it."""
        return f"HeldWeight({self.format}, {tuple(self.shape)}, {self.dtype}, {self.device})"

    def values(self) -> Tensor:  # type: ignore[override]
        """The weight, in its dtype."""
        if self.format == "nf4":
            return _from_nf4(self.codes, self.scales, self.shape, self.dtype)
        return (self.codes.to(torch.float32) * self.scales).to(self.dtype)

    @property
    def held_bytes(self) -> int:
        """What it takes in memory."""
        return self.codes.nbytes + self.scales.nbytes

    def __tensor_flatten__(self) -> tuple[list[str], tuple[Format, torch.dtype]]:
        """The tensors inside, and what else it is made of: for torch.compile and for moves of whole modules."""
        return ["codes", "scales"], (self.format, self.dtype)

    @classmethod
    def __tensor_unflatten__(cls, inner: Mapping[str, Tensor], rest: tuple[Format, torch.dtype], size: Any, stride: Any) -> Self:
        """Put it together again."""
        form, dtype = rest
        return cls(inner["codes"], inner["scales"], form, shape=torch.Size(size), dtype=dtype)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # ty: ignore[incompatible-method-override]
        cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Copies and moves stay held; `copy_` into one holds what it is given; everything else computes with the values."""
        given = dict(kwargs or {})
        rule = _RULES.get(func)
        if rule is not None and isinstance(args[0], HeldWeight):
            return rule(*args, **given)
        plain_args, plain_kwargs = tree_map_only(HeldWeight, HeldWeight.values, (tuple(args), given))
        return func(*plain_args, **plain_kwargs)


def hold(weight: Tensor, form: Format) -> HeldWeight:
    """A weight of at least two dimensions in fewer bits: each number rounded to the nearest that the format has, at the scale of its row or block."""
    if form == "nf4":
        codes, scales = _to_nf4(weight)
    else:
        rows = weight.detach().float()
        scales = (rows.flatten(1).abs().amax(dim=1) / LARGEST[form]).clamp(min=_TINY).view(-1, *(1 for _ in weight.shape[1:]))
        scaled = rows / scales
        codes = scaled.to(torch.float8_e4m3fn) if form == "fp8" else scaled.round().to(torch.int8)
    return HeldWeight(codes, scales, form, shape=weight.shape, dtype=weight.dtype)


def held_formats(config: Config) -> dict[str, Format]:
    """What a run holds in fewer bits: a format by part ("unet", "text_encoder", ...). Empty where `base_weights` have to be merged first."""
    if Network in config and config[Network].base_weights:
        return {}
    return wanted_formats(config)


def wanted_formats(config: Config) -> dict[str, Format]:
    """See `held_formats`: as asked for, whatever has to be done before."""
    frozen = config[FrozenPrecision] if FrozenPrecision in config else FrozenPrecision()
    if frozen.quantize_base != "none":
        return {"unet": frozen.quantize_base}
    if frozen.fp8_base_unet:
        return {"unet": "fp8"}
    return dict.fromkeys(("unet", "text_encoder", "text_encoder_2"), "fp8") if config[Precision].fp8_base else {}


def hold_layers(module: nn.Module, form: Format) -> None:
    """Hold the weights of a frozen module's linear layers and convolutions, where they are not yet. Biases, norms and embeddings stay."""
    for layer in module.modules():
        if isinstance(layer, HOLDING) and not isinstance(layer.weight.data, HeldWeight):
            layer.weight = nn.Parameter(hold(layer.weight.data, form), requires_grad=False)


def _to_nf4(weight: Tensor) -> tuple[Tensor, Tensor]:
    flat = weight.detach().float().flatten()
    blocks = nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(dim=1, keepdim=True).clamp(min=_TINY)
    table = torch.tensor(NF4, device=weight.device)
    codes = torch.bucketize(blocks / scales, (table[1:] + table[:-1]) / 2).to(torch.uint8).view(-1, 2)
    return codes[:, 0] << 4 | codes[:, 1], scales


def _from_nf4(codes: Tensor, scales: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    table = torch.tensor(NF4, device=codes.device)
    pairs = torch.stack((codes >> 4, codes & 15), dim=1).int()
    return (table[pairs].view(-1, BLOCK) * scales).flatten()[: shape.numel()].view(shape).to(dtype)


def _detach(weight: HeldWeight) -> HeldWeight:
    return HeldWeight(weight.codes, weight.scales, weight.format, shape=weight.shape, dtype=weight.dtype)


def _clone(weight: HeldWeight, **_: Any) -> HeldWeight:
    return HeldWeight(weight.codes.clone(), weight.scales.clone(), weight.format, shape=weight.shape, dtype=weight.dtype)


def _to_copy(weight: HeldWeight, **asked: Any) -> Tensor:
    """A move keeps the bits; another dtype is a wish for the values."""
    dtype = asked.get("dtype") or weight.dtype
    if dtype != weight.dtype:
        return weight.values().to(device=asked.get("device"), dtype=dtype)
    device = asked.get("device") or weight.device
    return HeldWeight(weight.codes.to(device), weight.scales.to(device), weight.format, shape=weight.shape, dtype=dtype)


def _copy(weight: HeldWeight, source: Tensor, *_: Any) -> HeldWeight:
    fresh = source if isinstance(source, HeldWeight) and source.format == weight.format else hold(source.to(weight.device), weight.format)
    weight.codes.copy_(fresh.codes)
    weight.scales.copy_(fresh.scales)
    return weight


_RULES: dict[Any, Callable[..., Tensor]] = {
    _aten.detach.default: _detach,
    _aten.clone.default: _clone,
    _aten._to_copy.default: _to_copy,
    _aten.copy_.default: _copy,
}
