"""Options: number formats, memory against speed, attention, compilation."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.reasons import FOR_COMPILE, FOR_FP8, FOR_FULL_HALF
from sd_scripts.params.spec import param, section


@section("Precision")
class Precision:
    """Number formats."""

    mixed_precision: Literal["no", "fp16", "bf16"] = param(
        "no",
        "Compute in 16 bits: half the memory, about twice the speed on a GPU. bf16 is for cards from 2020 on, fp16 for older ones.",
        advanced=False,
    )
    full_fp16: bool = param(False, "Train wholly in fp16, weights and gradients too.", label="Full fp16", unavailable=FOR_FULL_HALF)
    full_bf16: bool = param(False, "Train wholly in bf16, weights and gradients too.", label="Full bf16", unavailable=FOR_FULL_HALF)
    fp8_base: bool = param(False, "Hold the base model in 8 bits.", label="Base model in 8 bits", unavailable=FOR_FP8)


@section("Precision of a frozen model")
class FrozenPrecision:
    """How a base model is held that is not trained itself."""

    fp8_base_unet: bool = param(False, "Hold only the U-Net in 8 bits.", label="U-Net in 8 bits", unavailable=FOR_FP8)


@section("Memory")
class Memory:
    """What trades speed for memory."""

    gradient_checkpointing: bool = param(
        False, "Compute parts of the model twice instead of keeping them: far less video memory, about a quarter slower, the same result."
    )
    gradient_checkpointing_every: int = param(
        1,
        "Compute only every n-th block twice: 2 costs half the time that checkpointing costs, and saves about half of what it saves.",
        label="Checkpoint every n-th block",
        min=1,
        step=1,
        own=True,
        when={"gradient_checkpointing": True},
    )
    cpu_offload_checkpointing: bool = param(
        False,
        "Keep what checkpointed blocks start from in main memory until it is needed again: less video memory still, and slower.",
        label="Offload checkpoints",
        when={"gradient_checkpointing": True},
    )
    lowram: bool = param(
        False,
        "Load models straight to video memory.",
        label="Low main memory",
        settled="Models always go straight to the device, one weight at a time.",
    )
    highvram: bool = param(
        False, "Never free video memory between batches.", label="Much video memory", settled="Memory is never given back between batches."
    )


@section("Attention")
class Attention:
    """Which attention kernel."""

    sdpa: bool = param(False, "Attention by PyTorch's own fast kernels.", label="PyTorch attention (sdpa)", settled="These are always used.")
    xformers: bool = param(
        False,
        "Attention by the xformers package.",
        label="xformers attention",
        settled="PyTorch's own attention is always used: the same result, as fast, without a package.",
    )
    mem_eff_attn: bool = param(
        False,
        "Attention in small pieces, for old versions of PyTorch.",
        label="Memory-efficient attention",
        settled="PyTorch's own attention is always used: the same result in as little memory, and faster.",
    )


@section("Compilation")
class Compile:
    """torch.compile."""

    torch_compile: bool = param(False, "Compile the model for speed.", label="Compile the model", unavailable=FOR_COMPILE)
    dynamo_backend: Literal[
        "eager", "aot_eager", "inductor", "aot_ts_nvfuser", "nvprims_nvfuser", "cudagraphs", "ofi", "fx2trt", "onnxrt", "tensort", "ipex", "tvm"
    ] = param("inductor", "The compiler that is used.", label="Compiler", unavailable=FOR_COMPILE)
