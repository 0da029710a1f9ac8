"""Compiled blocks compute what the blocks compute, and the compiler's failures are told."""

from __future__ import annotations

import pytest
import torch
from tiny_runs import events, report_to, train

from sd_scripts.errors import ConfigError
from sd_scripts.library.training.compiling import as_compiler_failure, refuse_compiling
from sd_scripts.library.weights_file import read_weights
from sd_scripts.params.check import check
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

WAYS = {
    "plain": {"dynamo_backend": "eager"},
    "checkpointed": {"dynamo_backend": "aot_eager", "gradient_checkpointing": True},
    "held": {"dynamo_backend": "aot_eager", "quantize_base": "nf4"},
}


@pytest.fixture
def graphs():
    """Counts what is compiled."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    yield lambda kind="stats", name="unique_graphs": counters[kind][name]
    torch._dynamo.reset()


@pytest.mark.parametrize("way", WAYS)
def test_compiled_blocks_train_the_same_weights(tmp_path, graphs, way):
    given = {name: value for name, value in WAYS[way].items() if name != "dynamo_backend"}
    assert train(tmp_path, output_name="plain", max_train_steps=2, **given) == 0
    assert graphs() == 0
    assert train(tmp_path, output_name="compiled", max_train_steps=2, torch_compile=True, **WAYS[way]) == 0
    assert graphs() > 0
    assert bool(graphs("aot_autograd", "total")) == (WAYS[way]["dynamo_backend"] == "aot_eager")  # the backend asked for is the one that compiled
    plain, compiled = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("plain", "compiled"))
    assert max((plain[key] - compiled[key]).abs().max().item() for key in plain) < 1e-3


def test_the_launchers_words_reach_the_compiler(tmp_path, monkeypatch, capsys):
    report_to(tmp_path / "run", monkeypatch)
    monkeypatch.setenv("ACCELERATE_DYNAMO_USE_FULLGRAPH", "True")
    dropping = {"network_args": ["module_dropout=0.5"]}  # its draw cannot be compiled
    assert train(tmp_path, torch_compile=True, dynamo_backend="eager", max_train_steps=1, **dropping) == 1
    (error,) = events(tmp_path / "run", "error")
    assert "could not be compiled" in error["text"] and "torch_compile" in error["fix"]


def test_only_the_compilers_errors_are_taken_for_its_own():
    assert as_compiler_failure(RuntimeError("torch._dynamo")) is None


def test_a_compiler_of_another_device_is_refused_before_loading():
    config = make_config(command("train_network"), {"torch_compile": True, "dynamo_backend": "cudagraphs"})
    with pytest.raises(ConfigError, match="NVIDIA"):
        refuse_compiling(config, torch.device("cpu"))


@pytest.mark.parametrize(("backend", "severity"), [("tensort", "error"), ("ofi", "error"), ("ipex", "error"), ("inductor", None), ("eager", None)])
def test_compilers_that_are_gone_are_named(backend, severity):
    found = check(make_config(command("train_network"), {"torch_compile": True, "dynamo_backend": backend}))
    assert {problem.severity for problem in found if problem.field == "dynamo_backend"} == ({severity} if severity else set())
