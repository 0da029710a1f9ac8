"""Weights that are updated during the backward pass: the same numbers as afterwards, without all gradients at once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from sd_scripts.library.optim.early import EarlyOptimizer, split_groups
from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.optim.optimizers import build_early_optimizer, build_optimizer
from sd_scripts.params.optimizer import Optimizer

INDEPENDENT = ("AdamW", "AdamWStochastic", "Lion", "Muon", "SOAP", "SGDNesterov", "Adafactor")


def model() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def groups_of(net: nn.Sequential) -> list[ParamGroup]:
    return [ParamGroup("first", list(net[0].parameters()), 1e-2), ParamGroup("rest", [*net[2].parameters(), *net[4].parameters()], 3e-3)]


def options(name: str) -> Optimizer:
    return Optimizer(optimizer_type=name, learning_rate=1e-2, optimizer_args=("relative_step=False",) if name == "Adafactor" else None)


def learn(net: nn.Sequential, optimizer: torch.optim.Optimizer, steps: Sequence[int]) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        net(torch.randn(4, 6, generator=generator)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def early(net: nn.Sequential, name: str, parts: int | None) -> EarlyOptimizer:
    return build_early_optimizer(groups_of(net), options(name), parts=parts, ready=lambda weights: None)


@pytest.mark.parametrize("parts", [None, 1, 3])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_the_numbers_are_those_of_an_update_afterwards(name, parts):
    usual, soon = model(), model()
    learn(usual, build_optimizer(groups_of(usual), options(name)), range(5))
    learn(soon, early(soon, name, parts), range(5))
    for a, b in zip(usual.parameters(), soon.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_no_more_gradients_lie_there_than_one_part_has():
    net, most = model(), [0]

    def ready(weights: list[nn.Parameter]) -> None:
        most[0] = max(most[0], sum(weight.grad is not None for weight in net.parameters()))

    optimizer = build_early_optimizer(groups_of(net), options("AdamW"), parts=None, ready=ready)
    learn(net, optimizer, range(2))
    assert most == [1]
    assert all(weight.grad is None for weight in net.parameters())


def test_a_weight_that_is_not_trained_any_more_holds_nobody_up():
    net = model()
    optimizer = early(net, "AdamW", 1)
    learn(net, optimizer, range(2))
    before = [weight.detach().clone() for weight in net.parameters()]
    net[0].requires_grad_(False)
    learn(net, optimizer, range(2, 4))
    changed = [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]
    assert changed == [False, False, True, True, True, True]


def test_two_parts_of_bf16_are_rounded_independently():
    weights = [nn.Parameter(torch.ones(4096, dtype=torch.bfloat16)) for _ in range(2)]
    optimizer = build_early_optimizer([ParamGroup("all", weights, 1e-3)], options("AdamWStochastic"), parts=None, ready=lambda ready: None)
    sum(weight.float().sum() for weight in weights).backward()
    optimizer.step()
    assert not torch.equal(*weights)


def test_it_goes_on_exactly_from_its_state():
    whole, first, second = model(), model(), model()
    learn(whole, early(whole, "AdamW", None), range(4))
    begun = early(first, "AdamW", None)
    learn(first, begun, range(2))
    second.load_state_dict(first.state_dict())
    resumed = early(second, "AdamW", None)
    resumed.load_state_dict(begun.state_dict())
    learn(second, resumed, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("parts", [None, 1, 2, 5, 50])
def test_pieces_hold_every_weight_once_in_order_with_its_rate(parts):
    net = model()
    groups = groups_of(net)
    pieces = split_groups(groups, parts)
    found = [(id(weight), group.name, group.lr) for piece in pieces for group in piece for weight in group.params]
    assert found == [(id(weight), group.name, group.lr) for group in groups for weight in group.params]
    assert len(pieces) == (6 if parts is None else min(parts, len(pieces)))
    assert len({group.piece for piece in pieces for group in piece}) == len(pieces)
