"""How many numbers each kind of lycoris.kohya trains in a layer, from the layer's shape: the package's shapes, without the package."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sd_scripts.params.families.facts import AdapterPlace
from sd_scripts.params.lycoris_layers import NORM, LayerSettings


@dataclass(frozen=True, slots=True)
class _Sides:
    """Outputs, inputs and kernel area of a weight, and the rank of its adapter."""

    outputs: int
    inputs: int
    area: int
    rank: int


def learnt(place: AdapterPlace, settings: LayerSettings) -> int:
    """Trained numbers of one layer."""
    algo, given = settings.algo, settings.options
    if algo == NORM:
        return place.shape[0] * (2 if place.bias else 1)
    sides = _Sides(place.shape[0], place.shape[1], math.prod(place.shape[2:]), settings.rank)
    count = {
        "lora": _lora, "locon": _lora, "dylora": _dylora, "loha": _loha, "lokr": _lokr, "ia3": _ia3, "glora": _glora, "full": _full,
        "diag-oft": _turned, "boft": _butterflies,
    }[algo](sides, given)  # fmt: skip
    if algo == "full" and place.bias:
        count += sides.outputs
    if algo in ("diag-oft", "boft") and given["rescaled"]:
        count += sides.outputs
    if algo in ("lora", "locon", "loha", "lokr") and given["weight_decompose"]:
        count += sides.outputs if given["wd_on_out"] else sides.inputs
    return count + int(given["use_scalar"] and algo in ("lora", "locon", "loha", "lokr", "glora"))


def _tucker(sides: _Sides, given: Mapping[str, Any]) -> bool:
    return bool(given["use_tucker"]) and sides.area > 1


def _lora(sides: _Sides, given: Mapping[str, Any]) -> int:
    if _tucker(sides, given):
        return sides.rank * (sides.inputs + sides.rank * sides.area + sides.outputs)
    return _dylora(sides, given)


def _dylora(sides: _Sides, given: Mapping[str, Any]) -> int:
    return sides.rank * (sides.inputs * sides.area + sides.outputs)


def _loha(sides: _Sides, given: Mapping[str, Any]) -> int:
    inner = sides.inputs + sides.rank * sides.area if _tucker(sides, given) else sides.inputs * sides.area
    return 2 * sides.rank * (sides.outputs + inner)


def _lokr(sides: _Sides, given: Mapping[str, Any]) -> int:
    rank, whole = sides.rank, bool(given["full_matrix"])
    (out_1, out_2), (in_1, in_2) = split_side(sides.outputs, given["factor"]), split_side(sides.inputs, given["factor"])
    if given["unbalanced_factorization"]:
        out_1, out_2 = out_2, out_1
    both = given["decompose_both"] and not whole and rank < max(out_1, in_1) / 2
    small = rank * (out_1 + in_1) if both else out_1 * in_1
    if whole or rank >= max(out_2, in_2) / 2:
        return small + out_2 * in_2 * sides.area
    return small + rank * (out_2 + (in_2 + rank * sides.area if _tucker(sides, given) else in_2 * sides.area))


def _ia3(sides: _Sides, given: Mapping[str, Any]) -> int:
    return sides.inputs if given["train_on_input"] else sides.outputs


def _glora(sides: _Sides, given: Mapping[str, Any]) -> int:
    return sides.rank * (2 * sides.inputs + sides.inputs * sides.area + sides.outputs)


def _full(sides: _Sides, given: Mapping[str, Any]) -> int:
    return sides.outputs * sides.inputs * sides.area


def _turned(sides: _Sides, given: Mapping[str, Any]) -> int:
    size, blocks = split_side(sides.outputs, sides.rank)
    return blocks * size * size


def _butterflies(sides: _Sides, given: Mapping[str, Any]) -> int:
    """Each of the m factors turns all outputs in blocks of an even size b, where b times a power of two makes the outputs."""
    size = max((even for even in range(2, sides.rank + 1, 2) if _splits(sides.outputs, even)), default=0)
    if not size:
        return 0
    return (int(math.log2(sides.outputs // size)) + 1) * (sides.outputs // size) * size * size


def _splits(outputs: int, even: int) -> bool:
    times, rest = divmod(outputs, even)
    return rest == 0 and times & (times - 1) == 0


def least_rank(outputs: int) -> int:
    """The smallest rank at which boft can split so many outputs, 0 for none."""
    return next((even for even in range(2, outputs + 1, 2) if _splits(outputs, even)), 0)


def split_side(size: int, factor: int) -> tuple[int, int]:
    """A side of a weight as small · large for LoKr: the small part is `factor` where that divides it, else the largest divisor up to factor and root.

    -1 means no other limit than the root.
    """
    if factor > 0 and size % factor == 0:
        return min(factor, size // factor), max(factor, size // factor)
    most = math.isqrt(size) if factor < 0 else min(factor, math.isqrt(size))
    small = next(divisor for divisor in range(max(1, most), 0, -1) if size % divisor == 0)
    return small, size // small
