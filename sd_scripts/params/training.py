"""Options: how long to train, and how much at once."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Training")
class Training:
    """How long and how large."""

    train_batch_size: int = param(
        1,
        "Pictures per step on each device. More is steadier and faster in all, and takes more video memory.",
        label="Batch size",
        min=1,
        step=1,
        advanced=False,
    )
    max_train_steps: int = param(
        1600, "Length of the run in optimizer steps. Unused where a number of epochs is given.", label="Steps", min=1, step=100, advanced=False
    )
    max_train_epochs: int | None = param(
        None,
        "Length of the run in epochs: once through all pictures and their repeats. It counts before the number of steps; 0 or empty: not given.",
        label="Epochs",
        min=0,
        step=1,
        advanced=False,
    )
    gradient_accumulation_steps: int = param(
        1,
        "Batches that are gathered into one step: the effect of a larger batch without its memory, at the price of time.",
        label="Gradient accumulation",
        min=1,
        step=1,
    )
    seed: int | None = param(
        None,
        "Number that fixes everything random, so that a run can be repeated. Empty: a new one each time, which is written down.",
        min=0,
        max=2**63 - 1,
        step=1,
        advanced=False,
    )
    initial_epoch: int | None = param(
        None,
        "Begin at this epoch, as if the ones before were done: for weights that were trained elsewhere. To go on with a run of your own, resume it.",
        min=1,
        step=1,
    )
    initial_step: int | None = param(
        None,
        "Begin after this many steps, as if they were done. It counts before the epoch, and both before a state's own place.",
        min=0,
        step=100,
    )
    skip_until_initial_step: bool = param(
        False, "Begin at exactly that step, past the pictures before it. Off: at the beginning of the epoch that the step lies in."
    )
