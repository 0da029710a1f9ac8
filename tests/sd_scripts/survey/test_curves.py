"""Learning-rate curves against rates recorded from the ecosystem's trainer, step by step, on a real optimizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sd_scripts.errors import ConfigError
from sd_scripts.library.optim.schedulers import build_scheduler
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.survey.curves import SHAPES, make_curve

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


@pytest.mark.parametrize("row", [row for row in ROWS if "raises" in row and row["lr_scheduler"] in SHAPES and row["base_lrs"] != [1e-07]], ids=row_id)
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
        ({"lr_scheduler": "polynomial", "lr_scheduler_args": ("lr_end",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "piecewise_constant", "lr_scheduler_args": ("step_rules='x:y,z'",)}, 0, "lr_scheduler_args"),
        ({"lr_scheduler": "warmup_stable_decay", "lr_scheduler_args": ("decay_type='sine'",)}, 0, "lr_scheduler_args"),
    ],
)
def test_wrong_schedules_name_the_option(values, warmup, field):
    with pytest.raises(ConfigError) as refusal:
        make_curve(LRSchedule(**values), total_steps=20, warmup_steps=warmup, decay_steps=0)
    assert refusal.value.field == field
