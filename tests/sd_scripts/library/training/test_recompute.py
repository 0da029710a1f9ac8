"""Gradient checkpointing: what it keeps, what it computes again, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch
from tiny_runs import train
from torch import nn

from sd_scripts.library.training import recompute
from sd_scripts.library.training.recompute import Recompute
from sd_scripts.library.weights_file import read_weights


class Counted(nn.Module):
    """A layer that counts how often it is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.1, 1.0, 16).view(4, 4))
        self.runs = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return torch.tanh(inputs @ self.weight)


def gradients(blocks: list[Counted], way: Recompute | None) -> list[torch.Tensor]:
    """The gradients of the blocks in a row."""
    hidden = torch.ones(2, 4, requires_grad=True)
    for block in blocks:
        block.weight.grad = None
        hidden = block(hidden) if way is None else way(block, hidden)
    hidden.sum().backward()
    return [block.weight.grad for block in blocks if block.weight.grad is not None]


@pytest.mark.parametrize(("every", "runs"), [(1, [2, 2, 2, 2, 2]), (2, [2, 1, 2, 1, 2]), (3, [2, 1, 1, 2, 1])])
@pytest.mark.parametrize("offload", [False, True])
def test_every_nth_block_is_computed_twice_and_gradients_stay_the_same(every, runs, offload):
    blocks = [Counted() for _ in range(5)]
    plain = gradients(blocks, None)
    for block in blocks:
        block.runs = 0
    again = Recompute(every, offload)
    assert all(one.equal(other) for one, other in zip(plain, gradients(blocks, again), strict=True))
    assert [block.runs for block in blocks] == runs
    gradients(blocks, again)
    assert [block.runs for block in blocks] == [2 * count for count in runs]


def test_only_what_goes_into_a_block_is_moved(monkeypatch):
    moved = []
    monkeypatch.setattr(recompute, "_to_main_memory", lambda tensor: moved.append(tensor) or (tensor.device, tensor.clone()))
    gradients([Counted(), Counted()], Recompute(offload=True))
    assert [tuple(tensor.shape) for tensor in moved if tensor.numel()] == [(2, 4), (2, 4)]


def test_weights_stay_where_they_are():
    weight = nn.Parameter(torch.ones(2, device="meta"))
    assert recompute._to_main_memory(weight) == (weight.device, weight)


@pytest.mark.parametrize("given", [{"gradient_checkpointing_every": 2}, {"cpu_offload_checkpointing": True}], ids=lambda given: next(iter(given)))
def test_a_training_ends_with_the_same_weights(tmp_path, given):
    assert train(tmp_path, output_name="plain", gradient_checkpointing=True) == 0
    assert train(tmp_path, output_name="other", gradient_checkpointing=True, **given) == 0
    plain, other = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("plain", "other"))
    assert max((plain[key] - other[key]).abs().max().item() for key in plain) < 1e-4
    if "cpu_offload_checkpointing" in given:
        assert all(plain[key].equal(other[key]) for key in plain)


@pytest.mark.parametrize("offload", [False, True])
def test_a_training_moves_activations_where_it_is_told_to(tmp_path, monkeypatch, offload):
    moved, move = [], recompute._to_main_memory
    monkeypatch.setattr(recompute, "_to_main_memory", lambda tensor: moved.append(tensor.numel()) or move(tensor))
    assert train(tmp_path, gradient_checkpointing=True, cpu_offload_checkpointing=offload, max_train_steps=1) == 0
    assert bool(moved) == offload
