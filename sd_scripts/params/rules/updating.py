"""Rules on when weights are updated, and on their average."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.params.averaging import Averaging
from sd_scripts.params.config import Config
from sd_scripts.params.finetune import GroupedUpdate
from sd_scripts.params.memory import Precision
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem, error
from sd_scripts.params.rules.learning import is_schedule_free, is_self_tuning, optimizer_name
from sd_scripts.params.rules.rule import Rule
from sd_scripts.params.training import Training


def obstacles_to_early_updates(config: Config) -> Iterator[tuple[str, str]]:
    """Why weights cannot be updated during the backward pass, and what to change: some things are known only after it."""
    optimizer, steps = config[Optimizer], config[Training].gradient_accumulation_steps
    if steps > 1:
        message = f"Gradients of {steps} batches cannot be gathered: they are used and forgotten at once."
        yield message, "Set gradient_accumulation_steps to 1 and raise train_batch_size."
    if config[Precision].mixed_precision == "fp16":
        yield "fp16 needs to see all gradients before it knows whether a step counts.", "Set mixed_precision to bf16, or leave it out."
    if is_self_tuning(optimizer) or is_schedule_free(optimizer):
        yield f"{optimizer_name(optimizer)} has to see all weights together.", "Use AdamW, AdamW8bit, Adafactor or Lion, or leave it out."


def early_updates_fit(config: Config) -> Iterator[Problem]:
    """Nothing else waits for gradients that are forgotten by then."""
    on = config[Optimizer].fused_backward_pass
    groups = config[GroupedUpdate].fused_optimizer_groups if GroupedUpdate in config else None
    if on and groups:
        yield error(
            "fused_optimizer_groups",
            "fused_backward_pass updates each weight on its own already.",
            "Keep one of them.",
            {"fused_optimizer_groups": None},
        )
    if on or groups:
        for message, fix in obstacles_to_early_updates(config):
            yield error("fused_backward_pass" if on else "fused_optimizer_groups", message, fix)


def one_average(config: Config) -> Iterator[Problem]:
    """A schedule-free optimizer averages by itself."""
    if config[Averaging].ema_decay is not None and is_schedule_free(config[Optimizer]):
        message = f"{optimizer_name(config[Optimizer])} averages the weights itself."
        yield error("ema_decay", message, "Leave ema_decay empty, or use another optimizer.")


RULES: tuple[Rule, ...] = (early_updates_fit, one_average)
