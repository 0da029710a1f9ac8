"""A few steps on a small weight before a model is loaded: what optimizer or schedule cannot do here is told at once, and named."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.optim.optimizers import build_optimizer, entry_of, is_schedule_free, schedule_for
from sd_scripts.library.optim.schedulers import Scheduler
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.survey.plan import Plan

SIDE = 64
"""Rows and columns of the weight: just large enough for optimizers that keep large weights in 8 bits to do so."""
STEPS = 2


def rehearse(config: Optimizer, schedule: LRSchedule, plan: Plan, *, device: torch.device, dtype: torch.dtype) -> None:
    """Try optimizer and schedule on a weight of `dtype` on `device`. Nothing remains of it: the generators stand where they stood.

    Raises:
        ConfigError: one of them is not there, does not take its arguments, or cannot make a step.
    """
    with _unnoticed(device):
        _rehearse(config, schedule, plan, device=device, dtype=dtype)


@contextmanager
def _unnoticed(device: torch.device) -> Generator[None]:
    """Some classes draw for their rounding, and print what they think of the weights, which would be said of the wrong ones here."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), redirect_stdout(io.StringIO()):
        yield


def _rehearse(config: Optimizer, schedule: LRSchedule, plan: Plan, *, device: torch.device, dtype: torch.dtype) -> None:
    weight = nn.Parameter(torch.linspace(-1, 1, SIDE * SIDE, dtype=dtype, device=device).view(SIDE, SIDE))
    optimizer: Any = build_optimizer([ParamGroup("unet", [weight], config.learning_rate)], config)
    scheduler = schedule_for(optimizer, config, schedule, total_steps=plan.total_steps, warmup_steps=plan.warmup_steps, decay_steps=plan.decay_steps)
    if is_schedule_free(optimizer):
        optimizer.train()
    for _ in range(min(STEPS, plan.total_steps)):
        weight.grad = weight.detach() * 1e-3
        _try_step(optimizer, entry_of(config).name)
        _try_schedule(scheduler, schedule)


def _try_step(optimizer: torch.optim.Optimizer, name: str) -> None:
    try:
        optimizer.step()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a class of another package may raise whatever it likes
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        if "closure" in reason:
            reason = "it wants to compute the loss several times for each step, and a step here has one loss"
        raise ConfigError("optimizer_type", f"{name} cannot make a step: {reason}.", fix="Choose another optimizer, such as AdamW.") from error


def _try_schedule(scheduler: Scheduler, schedule: LRSchedule) -> None:
    if not schedule.lr_scheduler_type:
        scheduler.step()
        return
    try:
        scheduler.step()
        scheduler.get_last_lr()
    except Exception as error:  # as above
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        fix = "Use lr_scheduler reduce_lr_on_plateau." if "Plateau" in schedule.lr_scheduler_type else "Choose another class, or lr_scheduler."
        raise ConfigError("lr_scheduler_type", f"{schedule.lr_scheduler_type} cannot make a step: {reason}.", fix=fix) from error
