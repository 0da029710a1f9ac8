"""Options: the moving average of what is trained."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Average of weights")
class Averaging:
    """A moving average (EMA) of what is trained, saved and shown in the place of the weights of the last step."""

    ema_decay: float | None = param(
        None,
        "Keep a moving average of the weights; files, previews and validation use it. It evens out the jumps of single steps. 0.999 suits a few "
        "thousand steps, 0.99 a few hundred. Empty: off.",
        label="EMA decay",
        exclusive_min=0,
        max=0.99999,
        step=0.001,
        own=True,
    )
    ema_update_interval: int = param(
        1, "Take the weights into the average every n steps.", label="EMA every n steps", min=1, own=True, when={"ema_decay": True}
    )
    ema_cpu_only: bool = param(
        False,
        "Hold the average in main memory. It saves GPU memory and costs a copy of what is trained at each update.",
        label="EMA in main memory",
        own=True,
        when={"ema_decay": True},
    )
