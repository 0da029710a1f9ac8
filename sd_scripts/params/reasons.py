"""Why options are refused: shared sentences for options whose effect is not built."""

from __future__ import annotations

NOT_YET = "not available yet"
FOR_DEEPSPEED = (
    "DeepSpeed would take the optimizer and the exchange of gradients from the trainer, and exact resuming with them. "
    "For several GPUs use num_processes; to save memory gradient_checkpointing, full_bf16 with an 8-bit optimizer, or quantize_base."
)
