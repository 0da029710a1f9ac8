"""Weights in fewer bits: how near they come, what they take, and that everything computes with them as with any weight."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from sd_scripts.library.held_weights import NF4, Format, HeldWeight, hold, hold_layers

FORMATS: list[tuple[Format, float, float]] = [("fp8", 0.04, 0.55), ("int8", 0.01, 0.55), ("nf4", 0.12, 0.3)]
"""Relative error, and the share of what 16 bits take."""


def layer(kind: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, torch.Tensor]:
    """A frozen layer and something to give it."""
    torch.manual_seed(3)
    made, inputs = (nn.Linear(96, 40), torch.randn(3, 96)) if kind == "linear" else (nn.Conv2d(6, 8, 3), torch.randn(2, 6, 9, 9))
    return made.to(dtype).requires_grad_(False), inputs.to(dtype).requires_grad_()


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(((one.float() - other.float()).norm() / other.float().norm()).detach())


@pytest.mark.parametrize(("form", "error", "share"), FORMATS, ids=[form for form, *_ in FORMATS])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_output_and_gradient_come_near_and_memory_shrinks(form, error, share, kind):
    module, inputs = layer(kind, torch.bfloat16)
    plain = module(inputs)
    (plain_grad,) = torch.autograd.grad(plain.float().square().sum(), inputs)
    bytes_before = module.weight.nbytes
    hold_layers(module, form)
    held = module(inputs)
    (held_grad,) = torch.autograd.grad(held.float().square().sum(), inputs)
    assert 0 < distance(held, plain) < error and distance(held_grad, plain_grad) < error
    assert isinstance(module.weight.data, HeldWeight) and isinstance(module.weight, nn.Parameter)
    assert module.weight.data.held_bytes < share * bytes_before
    assert (module.weight.shape, module.weight.dtype) == (module.weight.data.values().shape, torch.bfloat16)


@pytest.mark.parametrize("form", ["fp8", "int8", "nf4"])
def test_each_number_becomes_the_nearest_of_its_format(form):
    weight = torch.linspace(-1, 1, 256).view(4, 64)
    held = hold(weight, form)
    if form == "nf4":
        levels = torch.tensor(NF4) * weight.abs().amax(dim=1, keepdim=True)[:, :, None]
        nearest = levels.expand(4, 64, 16).gather(2, (levels - weight[:, :, None]).abs().argmin(dim=2, keepdim=True))[:, :, 0]
        assert torch.allclose(held.values(), nearest, atol=1e-6)
    else:
        largest = weight.abs().amax(dim=1, keepdim=True)
        step = largest / 127 / 2 if form == "int8" else weight.abs() * 2**-4 + largest * 2**-10
        assert ((held.values() - weight).abs() <= step * 1.001).all()
    assert torch.equal(hold(held.values(), form).codes, held.codes)


def test_the_codes_are_of_the_type_that_they_are_called_by():
    types = {form: hold(torch.randn(8, 64), form).codes.dtype for form in ("fp8", "int8", "nf4")}
    assert types == {"fp8": torch.float8_e4m3fn, "int8": torch.int8, "nf4": torch.uint8}
    assert all(low < high for low, high in pairwise(NF4)) and len(NF4) == 16


@pytest.mark.parametrize("form", ["fp8", "int8", "nf4"])
def test_sizes_that_fill_no_block_and_rows_of_zeros(form):
    weight = torch.randn(5, 7)
    weight[2] = 0
    values = hold(weight, form).values()
    assert values.shape == (5, 7) and values.isfinite().all() and not values[2].any()


@pytest.mark.parametrize("form", ["fp8", "int8", "nf4"])
def test_moves_and_copies_stay_held_and_other_dtypes_are_values(form):
    module, inputs = layer("linear")
    hold_layers(module, form)
    before = module(inputs.detach())
    twin = copy.deepcopy(module).to("cpu")
    assert isinstance(twin.weight.data, HeldWeight) and twin(inputs.detach()).equal(before)
    assert not isinstance(module.weight.to(torch.bfloat16), HeldWeight)
    assert module.to("meta").weight.device.type == "meta"


def test_adding_to_a_held_weight_holds_the_sum():
    module, _ = layer("linear")
    hold_layers(module, "int8")
    before = module.weight.data.values()
    with torch.no_grad():
        module.weight.copy_(module.weight.float() + 1.0)
    assert isinstance(module.weight.data, HeldWeight) and distance(module.weight.data.values(), before + 1.0) < 0.01


def test_only_layers_are_held():
    module = nn.Sequential(nn.Embedding(8, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Conv1d(8, 8, 1))
    hold_layers(module, "nf4")
    assert [name for name, value in module.named_parameters() if isinstance(value.data, HeldWeight)] == ["1.weight"]
