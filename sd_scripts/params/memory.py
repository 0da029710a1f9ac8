"""Options: number formats, memory against speed, attention, compilation."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Precision")
class Precision:
    """Number formats."""

    mixed_precision: Literal["no", "fp16", "bf16"] = param(
        "no",
        "Compute in 16 bits: half the memory, about twice the speed on a GPU. bf16 is for cards from 2020 on, fp16 for older ones.",
        advanced=False,
    )
    full_fp16: bool = param(
        False,
        "Hold what is trained, and its gradients, in fp16 too: half the memory, but small changes are rounded away. Needs mixed_precision fp16.",
        label="Full fp16",
    )
    full_bf16: bool = param(
        False,
        "Hold what is trained, and its gradients, in bf16 too: half the memory, but small changes are rounded away. Needs mixed_precision bf16.",
        label="Full bf16",
    )
    fp8_base: bool = param(
        False,
        "Hold the frozen model in 8-bit floats and turn each layer into 16 bits when it is used: half its memory, a little coarser, somewhat slower.",
        label="Base model in 8 bits",
    )


@section("Precision of a frozen model")
class FrozenPrecision:
    """How a base model is held that is not trained itself."""

    fp8_base_unet: bool = param(False, "Hold only the U-Net in 8-bit floats, and text encoders as they are.", label="U-Net in 8 bits")
    quantize_base: Literal["none", "int8", "nf4"] = param(
        "none",
        "Hold the frozen U-Net in 8-bit whole numbers (finer than 8-bit floats) or in 4 bits (a quarter of 16 bits, coarser). Steps take longer.",
        label="Quantised U-Net",
        own=True,
    )


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

    torch_compile: bool = param(
        False,
        "Compile the U-Net's blocks: faster steps on newer GPUs, after minutes at the start, and again for each new picture size.",
        label="Compile the model",
    )
    dynamo_backend: Literal[
        "eager", "aot_eager", "inductor", "aot_ts_nvfuser", "nvprims_nvfuser", "cudagraphs", "ofi", "fx2trt", "onnxrt", "tensort", "ipex", "tvm"
    ] = param(
        "inductor",
        "The compiler that is used. inductor is PyTorch's own; eager and aot_eager only look for errors.",
        label="Compiler",
        when={"torch_compile": True},
    )
