"""The moving average of weights: its numbers, its place in the model and back, and what it remembers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sd_scripts.library.optim.average import WeightAverage
from sd_scripts.library.training.session import _average
from sd_scripts.params.averaging import Averaging
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in ((4, 3), (5,))]


def moved(weights: list[nn.Parameter], by: float) -> None:
    for weight in weights:
        weight.data.add_(by)


def test_the_average_is_that_of_the_formula():
    """Written out: an average that starts at the first weights, and a decay that rises from 2/11 to what was asked for."""
    weights = parameters()
    expected, average = weights[0].detach().clone(), WeightAverage(weights, decay=0.4)
    for step in range(1, 6):
        moved(weights, 0.1 * step)
        average.update(step)
        kept = min(0.4, (1 + step) / (10 + step))
        expected = expected * kept + weights[0].detach() * (1 - kept)
    average.show()
    torch.testing.assert_close(weights[0].detach(), expected)


def test_only_every_nth_step_counts():
    weights = parameters()
    average = WeightAverage(weights, decay=0.9, interval=3)
    for step in range(1, 8):
        average.update(step)
    assert average.updates == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("on_cpu", [False, True])
def test_it_is_shown_and_hidden_without_a_trace(dtype, on_cpu):
    weights = parameters(dtype)
    average = WeightAverage(weights, decay=0.9, on_cpu=on_cpu)
    moved(weights, 1.0)
    average.update(1)
    trained = [weight.detach().clone() for weight in weights]
    state = [value.clone() for value in average.state_dict()["averages"]]
    average.hide()
    for _ in range(2):
        average.show()
        average.show()  # a checkpoint within a preview
        assert all(not torch.equal(weight, before) for weight, before in zip(weights, trained, strict=True))
        average.hide()
        assert all(torch.equal(weight, before) for weight, before in zip(weights, trained, strict=True))
    assert all(torch.equal(now, before) for now, before in zip(average.state_dict()["averages"], state, strict=True))


def test_averages_lie_beside_the_weights_or_with_ema_cpu_only_in_main_memory():
    """Seen by weights that have a place and no numbers: averages can lie beside them, but cannot be brought anywhere else."""
    weights = SimpleNamespace(trainable=lambda: [nn.Parameter(torch.zeros(2, device="meta"))])
    beside, in_memory = (make_config(command("train_network"), {"ema_decay": 0.9, "ema_cpu_only": on})[Averaging] for on in (False, True))
    assert _average(beside, weights) is not None
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        _average(in_memory, weights)


def test_small_changes_of_half_weights_are_not_lost():
    """In bf16 a thousandth of a change vanishes; the average holds it."""
    weights = [nn.Parameter(torch.ones(4, dtype=torch.bfloat16))]
    average = WeightAverage(weights, decay=0.99)
    average.updates = 10_000
    moved(weights, 0.0078125)
    average.update(1)
    torch.testing.assert_close(average.state_dict()["averages"][0], torch.full((4,), 1 + 0.0078125 * 0.01), rtol=0, atol=1e-7)


def test_it_goes_on_from_its_state_and_refuses_another():
    weights = parameters()
    average = WeightAverage(weights, decay=0.9)
    moved(weights, 1.0)
    average.update(1)
    other = WeightAverage(weights, decay=0.9)
    other.load_state_dict(average.state_dict())
    for each in (average, other):
        each.update(2)
    assert all(torch.equal(a, b) for a, b in zip(average.state_dict()["averages"], other.state_dict()["averages"], strict=True))
    with pytest.raises(ValueError, match="other weights"):
        WeightAverage(weights[:1], decay=0.9).load_state_dict(average.state_dict())
