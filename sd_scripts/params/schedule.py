"""Options: how the learning rate changes over the run."""

from __future__ import annotations

from sd_scripts.params.spec import param, section

SCHEDULERS = (
    "constant",
    "constant_with_warmup",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "rex",
    "reduce_lr_on_plateau",
    "linear",
    "polynomial",
    "inverse_sqrt",
    "warmup_stable_decay",
    "piecewise_constant",
)
"""Names of the schedules. `adafactor:RATE` is one more, for Adafactor with relative steps."""


@section("Learning-rate schedule")
class LRSchedule:
    """How the learning rate changes over the run."""

    lr_scheduler: str = param(
        "constant",
        "How the rate changes: constant stays, cosine falls smoothly to 0 and ends cleanest, cosine_with_restarts does so several times. "
        "rex stays high for longer, reduce_lr_on_plateau lowers the rate when the average loss of the epochs stops falling.",
        label="Schedule",
        advanced=False,
        suggestions=SCHEDULERS,
    )
    lr_warmup_steps: int | float = param(
        0,
        "Raise the rate from 0 over this many steps; below 1, or as 10%, over this share of the run. Calms the first steps.",
        label="Warm-up",
        min=0,
        suggestions=("0", "100", "5%", "10%"),
    )
    lr_decay_steps: int | float = param(
        0,
        "Let the rate fall over this many last steps; below 1, over this share of the run.",
        label="Decay",
        min=0,
        when={"lr_scheduler": "warmup_stable_decay"},
    )
    lr_scheduler_num_cycles: int = param(
        1,
        "How often cosine_with_restarts starts anew.",
        label="Cycles",
        min=1,
        step=1,
        when={"lr_scheduler": ("cosine_with_restarts", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay")},
    )
    lr_scheduler_power: float = param(
        1.0, "How steeply polynomial falls at first; 1 is a straight line.", label="Power", min=0, step=0.1, when={"lr_scheduler": "polynomial"}
    )
    lr_scheduler_timescale: int | None = param(
        None,
        "Steps after which inverse_sqrt has fallen noticeably. Empty: the warm-up's length.",
        label="Time scale",
        min=1,
        when={"lr_scheduler": "inverse_sqrt"},
    )
    lr_scheduler_min_lr_ratio: float | None = param(
        None,
        "Lowest rate as a share of the highest, so that the rate does not reach 0.",
        label="Lowest share",
        min=0,
        max=1,
        step=0.05,
        when={"lr_scheduler": ("cosine_with_min_lr", "cosine_warmup_with_min_lr", "rex", "reduce_lr_on_plateau", "warmup_stable_decay")},
    )
    lr_scheduler_type: str = param(
        "",
        "A scheduler class by its dotted path, or the name of one in torch.optim.lr_scheduler. It replaces the schedule above.",
        label="Scheduler class",
        suggestions=("CosineAnnealingLR",),
    )
    lr_scheduler_args: tuple[str, ...] | None = param(
        None,
        "Arguments of the schedule or of the scheduler class, as key=value: factor=0.5 patience=2 for reduce_lr_on_plateau.",
        label="Scheduler arguments",
    )
