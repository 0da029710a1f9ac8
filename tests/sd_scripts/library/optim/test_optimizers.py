"""Every optimizer that is on this machine learns, reloads its state exactly, and absent or wrong ones are named."""

from __future__ import annotations

import importlib.util
import inspect
import io
import pkgutil

import pytest
import torch

from sd_scripts.errors import ConfigError
from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.optim.optimizers import REGISTRY, OwnRates, build_optimizer, entry_of, is_schedule_free, schedule_for, uses_relative_steps
from sd_scripts.params.optimizer import OPTIMIZER_PACKAGES, Optimizer
from sd_scripts.params.optimizer_args import ARGUMENTS, wrong_argument
from sd_scripts.params.schedule import LRSchedule

HERE = [name for name, entry in REGISTRY.items() if importlib.util.find_spec(entry.module.partition(".")[0])]
RATES = {
    "sgdnesterov": 0.05,
    "sgdnesterov8bit": 0.05,
    "lion": 0.01,
    "lion8bit": 0.01,
    "pagedlion8bit": 0.01,
    "adafactor": 0.05,
    "sgdschedulefree": 1.0,
    "bitsandbytes.optim.ademamix8bit": 0.005,
    "bitsandbytes.optim.pagedademamix8bit": 0.005,
    "pytorch_optimizer.came": 0.005,
}
"""Rates that suit the little problem below; the others learn it at 0.02."""
OWN_RATE = ("prodigy", "dadapt")
ERRATIC = (
    "dadaptadam",
    "dadaptation",
    "dadaptadampreprint",
    "dadaptsgd",
    "dadaptadagrad",
    "dadaptadan",
    "dadaptadanip",
    "dadaptlion",
    "prodigyplus.prodigyplusschedulefree",
)
SILENT = {"radamschedulefree": ("silent_sgd_phase=False",), "adafactor": ("relative_step=False", "scale_parameter=False")}
"""Arguments with which every optimizer moves from the first steps on."""


def fit(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter, steps: int) -> list[float]:
    inputs = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    target = torch.randn(64, 64, generator=torch.Generator().manual_seed(2))
    losses = []
    if is_schedule_free(optimizer):
        optimizer.train()
    for _ in range(steps):
        loss = ((inputs @ weight - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def make(name: str) -> tuple[torch.optim.Optimizer, torch.nn.Parameter]:
    weight = torch.nn.Parameter(torch.randn(64, 64, generator=torch.Generator().manual_seed(3)) * 0.1)
    lr = 1.0 if name.startswith(OWN_RATE) else RATES.get(name, 0.02)
    args = ("relative_step=False", "scale_parameter=False") if name == "adafactor" else None
    return build_optimizer([ParamGroup("unet", [weight], lr)], Optimizer(optimizer_type=name, learning_rate=lr, optimizer_args=args)), weight


@pytest.mark.parametrize("name", [name for name in HERE if name not in ERRATIC])
def test_an_optimizer_learns(name):
    losses = fit(*make(name), steps=60)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", HERE)
def test_an_optimizer_goes_on_exactly_from_its_state(name):
    optimizer, weight = make(name)
    fit(optimizer, weight, 3)
    again, other = make(name)
    other.data.copy_(weight.data)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert fit(optimizer, weight, 3) == fit(again, other, 3)


def test_the_name_of_a_group_reaches_the_optimizer():
    optimizer, _ = make("adamw")
    assert [group["name"] for group in optimizer.param_groups] == ["unet"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "AdamW"),
        ({"use_8bit_adam": True}, "AdamW8bit"),
        ({"use_lion_optimizer": True}, "Lion"),
        ({"optimizer_type": "ADAMW"}, "AdamW"),
        ({"optimizer_type": "NAdam"}, "NAdam"),
        ({"optimizer_type": "torch.optim.RMSprop"}, "RMSprop"),
    ],
)
def test_names_are_read_as_the_ecosystem_reads_them(options, name):
    assert entry_of(Optimizer(**options)).name == name


def test_two_contradicting_choices_are_refused():
    with pytest.raises(ConfigError, match="optimizer_type is Lion"):
        entry_of(Optimizer(optimizer_type="Lion", use_8bit_adam=True))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"optimizer_type": "Nonsense"}, "optimizer_type"),
        ({"optimizer_type": "nowhere.Adam"}, "optimizer_type"),
        ({"optimizer_args": ("weight_decy=1",)}, "optimizer_args"),
        ({"optimizer_args": ("weight_decay",)}, "optimizer_args"),
        ({"optimizer_type": "torch.optim.NAdam", "optimizer_args": ("momentum_deca=1",)}, "optimizer_args"),
        ({"optimizer_type": "torch.optim.Muon"}, "optimizer_args"),
    ],
)
def test_wrong_choices_name_the_option(options, field):
    weight = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(ConfigError) as refusal:
        build_optimizer([ParamGroup("unet", [weight], 0.1)], Optimizer(**options))
    assert refusal.value.field == field


def test_adafactor_finds_its_own_rate_and_the_schedule_is_left_out():
    config = Optimizer(optimizer_type="Adafactor", learning_rate=0.5)
    weight = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = build_optimizer([ParamGroup("unet", [weight], 0.5)], config)
    scheduler = schedule_for(optimizer, config, LRSchedule(lr_scheduler="cosine"), total_steps=10, warmup_steps=0, decay_steps=0)
    assert uses_relative_steps(config) and isinstance(scheduler, OwnRates)
    fit_weight = (weight.sum() ** 2) * 1e-3
    fit_weight.backward()
    optimizer.step()
    assert 0 < scheduler.get_last_lr()[0] < 0.1


@pytest.mark.parametrize("name", HERE)
def test_three_steps_change_both_factors_of_a_lora(name):
    down, up = (torch.nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(4)) * 0.1) for shape in ((4, 64), (64, 4)))
    before = [down.detach().clone(), up.detach().clone()]
    lr = 1.0 if "prodigy" in name or name.startswith("dadapt") else 0.01
    optimizer = build_optimizer(
        [ParamGroup("unet", [down, up], lr)], Optimizer(optimizer_type=name, learning_rate=lr, optimizer_args=SILENT.get(name))
    )
    if is_schedule_free(optimizer):
        optimizer.train()
    for _ in range(3):
        optimizer.zero_grad()
        (up @ down - 1).square().sum().backward()
        optimizer.step()
    assert not torch.equal(down, before[0]) and not torch.equal(up, before[1])
    assert torch.isfinite(down).all() and torch.isfinite(up).all()


def test_the_registry_and_the_list_of_the_form_name_the_same_optimizers():
    assert {name.lower() for name in OPTIMIZER_PACKAGES} == set(REGISTRY) == {name.lower() for name in ARGUMENTS}


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name.lower() in HERE])
def test_the_table_of_arguments_is_that_of_the_class(name):
    entry = torch.optim.Muon if name == "Muon" else pkgutil.resolve_name(f"{REGISTRY[name.lower()].module}:{REGISTRY[name.lower()].name}")
    signature = inspect.signature(entry).parameters
    assert set(ARGUMENTS[name]) == set(signature) - {"self", "params", "lr", "args", "kwargs"}
    for key, parameter in signature.items():
        if key in ARGUMENTS[name] and isinstance(parameter.default, (bool, tuple, float)):
            assert wrong_argument(name, key, parameter.default) is None


def test_muon_steps_matrices_and_adamw_the_rest():
    matrix, convolution = torch.nn.Parameter(torch.randn(8, 16)), torch.nn.Parameter(torch.randn(4, 4, 3, 3))
    optimizer = build_optimizer([ParamGroup("unet", [matrix, convolution], 0.01)], Optimizer(optimizer_type="Muon", learning_rate=0.01))
    assert [group["name"] for group in optimizer.param_groups] == ["unet", "unet (AdamW)"]
    before = matrix.detach().clone(), convolution.detach().clone()
    (matrix.square().sum() + convolution.square().sum()).backward()
    optimizer.step()
    assert set(optimizer.state[matrix]) == {"momentum_buffer"} and "exp_avg" in optimizer.state[convolution]
    assert torch.linalg.matrix_norm(matrix - before[0], 2) > 0 and not torch.equal(convolution, before[1])
    singular = torch.linalg.svdvals(before[0] * (1 - 0.01 * 0.01) - matrix)
    assert singular.max() / singular.min() < 2  # Newton and Schulz bring all of them near 1
