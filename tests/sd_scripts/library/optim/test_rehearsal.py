"""Optimizer and schedule are tried before a model is loaded: what works is let through, what cannot is named."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
import torch
from tiny_runs import train

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.ldm.family import LatentDiffusion
from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.optim.optimizers import REGISTRY, build_optimizer
from sd_scripts.library.optim.rehearsal import rehearse
from sd_scripts.params.optimizer import ONE_RATE, Optimizer
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.survey.plan import Plan

HERE = [name for name, entry in REGISTRY.items() if importlib.util.find_spec(entry.module.partition(".")[0])]
PLAN = Plan(**{field.name: 10 for field in dataclasses.fields(Plan)})
CPU = torch.device("cpu")


def tried(optimizer: str = "", *, dtype: torch.dtype = torch.float32, args: tuple[str, ...] = (), **schedule: object) -> None:
    plan = dataclasses.replace(PLAN, warmup_steps=0, decay_steps=0)
    rehearse(Optimizer(optimizer_type=optimizer, learning_rate=1.0, optimizer_args=args), LRSchedule(**schedule), plan, device=CPU, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", [*HERE, "RMSprop", "torch.optim.NAdam"])
def test_every_optimizer_of_the_list_can_make_a_step_in_either_precision(name, dtype, capsys):
    before = torch.random.get_rng_state()
    tried(name, dtype=dtype)
    assert torch.random.get_rng_state().equal(before)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "field", "said"),
    [
        ("torch.optim.LBFGS", "optimizer_type", "several times"),
        ("torch.optim.SparseAdam", "optimizer_type", "dense gradients"),
        pytest.param("pytorch_optimizer.AdaHessian", "optimizer_type", "cannot make a step", marks=pytest.mark.skipif("soap" not in HERE, reason="")),
        pytest.param("pytorch_optimizer.SAM", "optimizer_args", "base_optimizer", marks=pytest.mark.skipif("soap" not in HERE, reason="")),
        ("torch.optim.Optimizer", "optimizer_args", "cannot be made"),
    ],
)
def test_what_cannot_make_a_step_is_named(name, field, said):
    with pytest.raises(ConfigError, match=said) as refusal:
        tried(name)
    assert refusal.value.field == field and refusal.value.fix


@pytest.mark.parametrize(("name", "args"), [("CosineAnnealingLR", ("T_max=10",)), ("torch.optim.lr_scheduler.StepLR", ("step_size=2",))])
def test_a_class_of_schedules_is_tried(name, args):
    tried(lr_scheduler_type=name, lr_scheduler_args=args)


@pytest.mark.parametrize(
    ("name", "field"), [("ReduceLROnPlateau", "lr_scheduler_type"), ("LambdaLR", "lr_scheduler_args"), ("no.such.Class", "lr_scheduler_type")]
)
def test_a_class_that_is_no_schedule_here_is_named(name, field):
    with pytest.raises(ConfigError) as refusal:
        tried(lr_scheduler_type=name)
    assert refusal.value.field == field


@pytest.mark.parametrize(("name", "value"), [("optimizer_type", "torch.optim.LBFGS"), ("lr_scheduler_type", "ReduceLROnPlateau")])
def test_it_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch, capsys, name, value):
    monkeypatch.setattr(LatentDiffusion, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    assert train(tmp_path, **{name: value}) == 2
    assert f"--{name}" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in HERE if REGISTRY[name].name in ONE_RATE])
def test_optimizers_of_one_rate_are_those_that_fail_with_two(name):
    def built(*rates: float) -> torch.optim.Optimizer:
        weights = [torch.nn.Parameter(torch.ones(4, 4)) for _ in rates]
        for weight in weights:
            weight.grad = torch.ones(4, 4)
        return build_optimizer([ParamGroup("unet", [weight], rate) for weight, rate in zip(weights, rates, strict=True)], Optimizer(name, 1.0))

    with pytest.raises(ConfigError, match=r"one rate for all weights, not 1, 0\.5"):
        built(1.0, 0.5)
    optimizer = built(1.0, 1.0, 0.0)
    optimizer.step()
    optimizer.param_groups[1]["lr"] = 0.5
    with pytest.raises(RuntimeError, match="different lr values"):
        optimizer.step()
