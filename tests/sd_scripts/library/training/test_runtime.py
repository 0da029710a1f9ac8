"""Model draws follow from the place in the run; numbers from the device arrive as they were sent."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from tiny_runs import free_port, fresh_process

from sd_scripts.library.training import runtime as machine
from sd_scripts.library.training.runtime import LateNumber, start_runtime
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config


def runtime(**given: object):
    """The runtime of one process."""
    return start_runtime(make_config(command("train_network"), given))


def test_draws_in_the_model_depend_on_the_place_alone():
    here = runtime()
    here.seed_model(1, epoch=1, step=3, micro_step=0)
    first = torch.rand(4)
    torch.rand(100)
    here.seed_model(1, epoch=1, step=3, micro_step=0)
    again = torch.rand(4)
    here.seed_model(1, epoch=1, step=3, micro_step=1)
    assert torch.equal(first, again) and not torch.equal(first, torch.rand(4))


@pytest.mark.parametrize(("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_layers_compute_in_the_precision_asked_for(precision, dtype):
    here = runtime(mixed_precision=precision)
    with here.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype
    assert (here.scaler is not None) == (precision == "fp16")


def test_a_process_alone_has_nothing_to_exchange():
    here = runtime()
    assert here.agreed(5) == 5 and here.gathered("x") == ["x"]
    assert here.sum_gradients([], torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("given", "minutes"), [({}, 30), ({"ddp_timeout": 7}, 7), ({"ddp_timeout": 600}, 600)])
def test_processes_wait_for_each_other_as_long_as_they_are_told(monkeypatch, given, minutes):
    """What torch's groups were made with, of a training with one process that a launcher has started: 30 minutes are torch's own for gloo."""
    started = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    fresh_process()
    try:
        here = runtime(**given)
        groups = [dist.group.WORLD, here.group_in_memory()]
        assert [group._get_backend(torch.device("cpu")).options._timeout for group in groups] == [timedelta(minutes=minutes)] * 2
    finally:
        dist.destroy_process_group()
        fresh_process()


def test_a_late_number_is_what_it_was_when_asked_for():
    numbers = torch.tensor([1.0, 2.0])
    late = LateNumber(numbers)
    assert late.read() == [1.0, 2.0]


def test_gradients_of_a_whole_model_travel_in_several_messages(monkeypatch):
    monkeypatch.setattr(machine, "MESSAGE_NUMBERS", 10)
    grads = [torch.zeros(size) for size in (4, 4, 4, 30, 1)]
    assert [[grad.numel() for grad in message] for message in machine._messages(grads)] == [[4, 4], [4], [30], [1]]
    assert list(machine._messages([])) == [[]]
