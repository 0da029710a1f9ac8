"""Running out of memory is told with the next cheapest remedy that is not in use yet."""

from __future__ import annotations

import pytest
import torch

from sd_scripts.library.training.memory import as_out_of_memory, memory_now, remedies
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config


def config(**given: object):
    """A config of the LoRA trainer."""
    return make_config(command("train_network"), given)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    MemoryError(),
]


SAVING = {"cache_latents": True, "mixed_precision": "bf16", "gradient_checkpointing": True, "cpu_offload_checkpointing": True}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_way_to_run_out_of_memory_is_known(error):
    named = as_out_of_memory(error, config())
    assert named is not None and named.exit_code == 4 and "cache_latents" in named.fix


def test_another_error_is_not_taken_for_it():
    assert as_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), config()) is None


def test_remedies_in_use_are_not_proposed_again():
    used = config(**SAVING, train_batch_size=4, gradient_accumulation_steps=2)
    assert next(remedies(used)).startswith("Set train_batch_size to 2 and gradient_accumulation_steps to 4")


def test_there_is_always_one_remedy_left():
    used = config(**SAVING, optimizer_type="Lion", quantize_base="nf4")
    assert list(remedies(used)) == ["Use a lower resolution or a lower network_dim."]


def test_whole_models_are_told_of_early_updates_where_they_work():
    whole = make_config(command("train_db"), SAVING)
    assert next(remedies(whole)).startswith("Switch fused_backward_pass on")
    waiting = make_config(command("train_db"), {**SAVING, "gradient_accumulation_steps": 2})
    assert not any("fused_backward_pass" in remedy for remedy in remedies(waiting))


def test_memory_in_use_is_told_in_bytes():
    assert memory_now(torch.device("cpu"))["rss_bytes"] > 10_000_000
