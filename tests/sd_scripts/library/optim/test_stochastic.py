"""Rounding at random is exact on average, and AdamW with it learns in bf16 what rounding to nearest loses."""

from __future__ import annotations

import math

import pytest
import torch

from sd_scripts.library.optim.stochastic import AdamWStochastic, round_stochastically


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("base", [1.0, -1.0, 3.0e-5])
def test_the_mean_of_rounded_numbers_is_the_number(base, share):
    low = torch.tensor(base).bfloat16().float()
    high = torch.nextafter(low.bfloat16(), torch.tensor(math.copysign(math.inf, base)).bfloat16()).float()
    exact = (low + share * (high - low)).expand(200_000).contiguous()
    rounded = round_stochastically(exact, generator(1)).float()
    assert set(rounded.unique().tolist()) == {float(low), float(high)}
    assert float((rounded == high).float().mean()) == pytest.approx(share, abs=0.005)


def test_what_bf16_can_hold_stays_and_so_do_infinities():
    values = torch.tensor([0.0, 1.5, -2.0, math.inf, -math.inf])
    assert torch.equal(round_stochastically(values, generator(2)).float(), values)
    assert round_stochastically(torch.tensor([math.nan]), generator(3)).isnan().all()


def test_in_float32_it_is_adamw():
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 64)) for _ in range(2)]
    own = AdamWStochastic([{"params": [weights[0]]}], lr=0.01, weight_decay=0.1)
    torchs = torch.optim.AdamW([weights[1]], lr=0.01, weight_decay=0.1)
    for step in range(20):
        for weight, optimizer in zip(weights, (own, torchs), strict=True):
            weight.grad = torch.sin(weight.detach() * 3 + step)
            optimizer.step()
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-7)


def test_small_steps_add_up_in_bf16_where_nearest_loses_them():
    lost, kept = (torch.nn.Parameter(torch.ones(4096, dtype=torch.bfloat16)) for _ in range(2))
    nearest = torch.optim.AdamW([lost], lr=1e-4, weight_decay=0)
    own = AdamWStochastic([{"params": [kept]}], lr=1e-4, weight_decay=0)
    for _ in range(100):
        for weight, optimizer in ((lost, nearest), (kept, own)):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
    assert torch.equal(lost, torch.ones_like(lost))  # a step of 1e-4 is below half a place of bf16 at 1
    assert float(kept.detach().float().mean()) == pytest.approx(1 - 100 * 1e-4, abs=5e-4)
    assert own.state[kept]["exp_avg"].dtype == torch.bfloat16


def test_two_parameters_are_rounded_independently():
    weights = [torch.nn.Parameter(torch.ones(4096, dtype=torch.bfloat16)) for _ in range(2)]
    optimizer = AdamWStochastic([{"params": weights}], lr=1e-3, weight_decay=0)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert not torch.equal(*weights)
