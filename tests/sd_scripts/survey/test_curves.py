"""Learning-rate curves against rates recorded from the ecosystem's trainer, step by step, on a real optimizer."""

from __future__ import annotations

import io
import json
import math
import tomllib
from pathlib import Path

import pytest
import torch
from transformers.optimization import get_cosine_with_min_lr_schedule_with_warmup_lr_rate

from sd_scripts.errors import ConfigError
from sd_scripts.library.optim.schedulers import Plateau, build_scheduler
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.survey.curves import NO_WARMUP, SHAPES, make_curve

GOLDEN = Path(__file__).parents[2] / "golden"
ROWS = json.loads((GOLDEN / "schedules.json").read_text("utf-8"))["lr"]
NUMBERS = {"lr_scheduler_num_cycles": int, "lr_scheduler_power": float, "lr_scheduler_timescale": int, "lr_scheduler_min_lr_ratio": float}


def options(row: dict) -> LRSchedule:
    values: dict = {"lr_scheduler": row["lr_scheduler"]}
    words = list(row["flags"])
    while words:
        name = words.pop(0).removeprefix("--")
        taken = []
        while words and not words[0].startswith("--"):
            taken.append(words.pop(0))
        if name in NUMBERS:
            values[name] = NUMBERS[name](taken[0])
        elif name == "lr_scheduler_args":
            values[name] = tuple(taken)
        elif name == "lr_scheduler_type":
            values[name] = taken[0]
    return LRSchedule(**values)


def count(value: float, total: int) -> int:
    return int(value * total) if isinstance(value, float) else value


def row_id(row: dict) -> str:
    return " ".join([row["lr_scheduler"], *row["flags"], f"x{row['num_processes']}"])


def rates(row: dict, steps: int) -> list[list[float]]:
    """Rates before each optimizer step, as a run would use them; adafactor's own schedule is the optimizer's business."""
    total = row["max_train_steps"]
    params = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in row["base_lrs"]]
    optimizer = torch.optim.SGD(params, lr=row["base_lrs"][0])
    scheduler = build_scheduler(
        optimizer,
        options(row),
        total_steps=total,
        warmup_steps=count(row["lr_warmup_steps_parsed"], total),
        decay_steps=count(row["lr_decay_steps_parsed"], total),
    )
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return seen


COMPARED = [row for row in ROWS if "lr" in row and not row["lr_scheduler"].startswith("adafactor")]
ONE_PROCESS = [row for row in COMPARED if row["num_processes"] == 1]


@pytest.mark.parametrize("row", ONE_PROCESS, ids=row_id)
def test_rates_are_the_recorded_ones(row):
    recorded = [lr if isinstance(lr, list) else [lr] for lr in row["lr"]]
    seen = rates(row, row["scheduler_steps"][-1] + 1)
    for step, expected in zip(row["scheduler_steps"], recorded, strict=True):
        assert seen[step] == pytest.approx(expected, rel=1e-7, abs=1e-13)


def test_a_share_as_warm_up_is_the_same_share_on_two_processes():
    row = next(row for row in COMPARED if row["num_processes"] == 2 and "20%" in row["flags"])
    every_second = row["lr"][: 2 * row["max_train_steps"] : 2]
    assert [lr for (lr,) in rates(row, row["max_train_steps"])] == pytest.approx(every_second, rel=1e-7, abs=1e-13)


def test_warm_up_steps_are_optimizer_steps_on_two_processes():
    row = next(row for row in COMPARED if row["num_processes"] == 2 and "20%" not in row["flags"])
    assert [lr for (lr,) in rates(row, 3)] == pytest.approx([0.0, 0.0005, 0.001])


BUILT = {row["case"] for row in tomllib.loads((GOLDEN / "deviations.toml").read_text("utf-8"))["deviation"] if row["file"] == "schedules.json"}
REFUSED = [
    row for row in ROWS if "raises" in row and row["lr_scheduler"] in SHAPES and row["base_lrs"] != [1e-07] and row["lr_scheduler"] not in BUILT
]


@pytest.mark.parametrize("row", REFUSED, ids=row_id)
def test_what_the_ecosystem_cannot_do_is_refused_with_a_fix(row):
    warmup = 2 if "--lr_warmup_steps" in row["flags"] else 0
    with pytest.raises(ConfigError) as refusal:
        make_curve(options(row), total_steps=row["max_train_steps"], warmup_steps=warmup, decay_steps=0)
    assert refusal.value.fix


@pytest.mark.parametrize(
    ("values", "warmup", "field"),
    [
        ({"lr_scheduler": "nonsense"}, 0, "lr_scheduler"),
        ({"lr_scheduler": "cosine"}, 30, "lr_warmup_steps"),
        ({"lr_scheduler": "cosine", "lr_scheduler_args": ("power=2",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "rex", "lr_scheduler_args": ("d=0.9",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "reduce_lr_on_plateau", "lr_scheduler_args": ("factor=2",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "reduce_lr_on_plateau", "lr_scheduler_args": ("patience=1.5",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "reduce_lr_on_plateau", "lr_scheduler_args": ("threshold_mode=max",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "cosine_warmup_with_min_lr", "lr_scheduler_args": ("warmup_lr_rate=0.1",)}, 0, "lr_scheduler_min_lr_ratio"),
        ({"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_args": ("min_lr=low",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "polynomial", "lr_scheduler_args": ("lr_end",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "piecewise_constant", "lr_scheduler_args": ("step_rules='x:y,z'",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "warmup_stable_decay", "lr_scheduler_args": ("decay_type='sine'",)}, 0, "lr_scheduler_args"),
    ],
)
def test_wrong_schedules_name_the_option(values, warmup, field):
    with pytest.raises(ConfigError) as refusal:
        make_curve(LRSchedule(**values), total_steps=20, warmup_steps=warmup, decay_steps=0)
    assert refusal.value.field == field


def optimizer_at(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=1.0)


def trained(config: LRSchedule, total: int, warmup: int, rate: float = 0.002) -> list[float]:
    """The rate of each step of a run on a real optimizer."""
    optimizer, seen = optimizer_at(rate), []
    scheduler = build_scheduler(optimizer, config, total_steps=total, warmup_steps=warmup, decay_steps=0)
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize("first", [None, 0.2])
def test_the_cosine_with_its_own_warm_up_is_that_of_transformers(warmup, first):
    words = ("min_lr_rate=0.1",) if first is None else ("min_lr_rate=0.1", f"warmup_lr_rate={first}")
    theirs = get_cosine_with_min_lr_schedule_with_warmup_lr_rate(optimizer_at(0.002), warmup, 20, min_lr_rate=0.1, warmup_lr_rate=first)
    expected = []
    for _ in range(20):
        expected.append(theirs.get_last_lr()[0])
        theirs.optimizer.step()
        theirs.step()
    assert trained(LRSchedule(lr_scheduler="cosine_warmup_with_min_lr", lr_scheduler_args=words), 20, warmup) == pytest.approx(expected, rel=1e-9)


def test_rex_is_the_papers_formula():
    seen = trained(LRSchedule(lr_scheduler="rex"), 10, 0, rate=1.0)
    assert seen == pytest.approx([(1 - t / 10) / (0.5 + 0.5 * (1 - t / 10)) for t in range(10)])
    assert seen[5] == pytest.approx(2 / 3)


def test_rex_keeps_its_floor_and_its_warm_up():
    curve = make_curve(LRSchedule(lr_scheduler="rex", lr_scheduler_min_lr_ratio=0.25), total_steps=12, warmup_steps=2, decay_steps=0)
    assert [curve.multiplier(step, base_lr=1.0) for step in (0, 1, 2, 12)] == pytest.approx([0, 0.5, 1, 0.25])


@pytest.mark.parametrize("name", SHAPES)
def test_the_drawn_curve_is_what_the_trainer_does(name):
    args = {"piecewise_constant": ("step_rules=1:5,0.1",)}.get(name)
    warmup = 0 if name in NO_WARMUP else 3
    config = LRSchedule(lr_scheduler=name, lr_scheduler_args=args, lr_scheduler_min_lr_ratio=0.1)
    curve = make_curve(config, total_steps=15, warmup_steps=warmup, decay_steps=0)
    assert trained(config, 15, warmup) == pytest.approx([0.002 * curve.multiplier(step, base_lr=0.002) for step in range(15)], rel=1e-12)


PLATEAU_OPTIONS = LRSchedule(lr_scheduler="reduce_lr_on_plateau", lr_scheduler_args=("factor=0.5", "patience=1"), lr_scheduler_min_lr_ratio=0.2)


def plateau(optimizer: torch.optim.Optimizer) -> Plateau:
    built = build_scheduler(optimizer, PLATEAU_OPTIONS, total_steps=100, warmup_steps=2, decay_steps=0)
    assert isinstance(built, Plateau)
    return built


def test_the_rate_falls_when_the_average_loss_does_not():
    optimizer = optimizer_at(1.0, 0.1)
    scheduler, seen = plateau(optimizer), []
    assert scheduler.get_last_lr() == [0, 0]
    for loss in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9, 0.9):
        scheduler.step()
        scheduler.step()
        scheduler.observe(loss)
        seen.append(scheduler.get_last_lr()[0])
    assert seen == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2]
    assert scheduler.get_last_lr() == pytest.approx([0.2, 0.02])


def test_a_plateau_goes_on_from_its_state():
    losses = [1.0, 0.9, 0.95, 0.93, 0.92, 0.99, 0.97, 0.9]
    whole, half, rest = (plateau(optimizer_at(0.1)) for _ in range(3))
    rates = []
    for loss in losses:
        whole.step()
        whole.observe(loss)
        rates.append(whole.get_last_lr())
    for loss in losses[:4]:
        half.step()
        half.observe(loss)
    file = io.BytesIO()
    torch.save(half.state_dict(), file)
    file.seek(0)
    rest.load_state_dict(torch.load(file, weights_only=True))
    assert rest.get_last_lr() == rates[3]
    for loss, expected in zip(losses[4:], rates[4:], strict=True):
        rest.step()
        rest.observe(loss)
        assert rest.get_last_lr() == expected
    assert len({tuple(rate) for rate in rates}) > 2 and not any(math.isnan(rate) for (rate,) in rates)
