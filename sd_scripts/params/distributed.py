"""Options: training on several devices."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section

FOR_DEEPSPEED = (
    "DeepSpeed would take the optimizer and the exchange of gradients from the trainer, and exact resuming with them. "
    "For several GPUs use num_processes; to save memory gradient_checkpointing, fused_backward_pass, full_bf16 with an 8-bit optimizer, "
    "or quantize_base."
)


@section("Several devices")
class Distributed:
    """Options of distributed training."""

    ddp_timeout: int | None = param(None, "Minutes that processes wait for each other.", label="DDP timeout", min=1)
    ddp_gradient_as_bucket_view: bool = param(
        False,
        "Share memory between gradients and their exchange.",
        label="DDP bucket view",
        settled="Gradients are added up by an exchange of our own, in pieces, which needs no second copy of them.",
    )
    ddp_static_graph: bool = param(
        False,
        "Tell DDP that the model never changes.",
        label="DDP static graph",
        settled="Gradients are added up by an exchange of our own, after the backward pass: there is no graph to tell it of.",
    )
    deepspeed: bool = param(False, "Train with DeepSpeed.", label="DeepSpeed", unavailable=FOR_DEEPSPEED)
    zero_stage: Literal[0, 1, 2, 3] = param(2, "What DeepSpeed spreads over the devices.", label="ZeRO stage", unavailable=FOR_DEEPSPEED)
    offload_optimizer_device: Literal["cpu", "nvme"] | None = param(None, "Where DeepSpeed keeps the optimizer.", unavailable=FOR_DEEPSPEED)
    offload_optimizer_nvme_path: str | None = param(None, "Folder for the optimizer on disk.", path="folder", unavailable=FOR_DEEPSPEED)
    offload_param_device: Literal["cpu", "nvme"] | None = param(None, "Where DeepSpeed keeps the weights.", unavailable=FOR_DEEPSPEED)
    offload_param_nvme_path: str | None = param(None, "Folder for the weights on disk.", path="folder", unavailable=FOR_DEEPSPEED)
    zero3_init_flag: bool = param(False, "Build the model spread over the devices.", unavailable=FOR_DEEPSPEED)
    zero3_save_16bit_model: bool = param(False, "Save 16-bit weights with ZeRO stage 3.", unavailable=FOR_DEEPSPEED)
    fp16_master_weights_and_gradients: bool = param(False, "Keep DeepSpeed's master copies in fp16.", unavailable=FOR_DEEPSPEED)
