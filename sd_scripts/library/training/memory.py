"""How much memory a run uses, and what to try when it is not enough. What the options do stands with the options."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import torch

from sd_scripts.errors import OutOfMemory
from sd_scripts.params.cache import Cache
from sd_scripts.params.config import Config
from sd_scripts.params.memory import FrozenPrecision, Memory, Precision
from sd_scripts.params.network import Network
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.rules.updating import obstacles_to_early_updates
from sd_scripts.params.saving import ModelFile
from sd_scripts.params.training import Training

_PROCESS = psutil.Process()
_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "failed to allocate")


def memory_now(device: torch.device) -> dict[str, int]:
    """Bytes in use: `rss_bytes` of this process; with an accelerator `gpu_bytes` and `gpu_peak_bytes`. Does not make the accelerator wait."""
    used = {"rss_bytes": _PROCESS.memory_info().rss}
    if device.type == "cuda":
        used |= {"gpu_bytes": torch.cuda.memory_allocated(device), "gpu_peak_bytes": torch.cuda.max_memory_allocated(device)}
    return used


def as_out_of_memory(error: BaseException, config: Config) -> OutOfMemory | None:
    """The error as users are told it, if memory ran out; None if it is something else."""
    says_so = isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)
    if not (isinstance(error, (MemoryError, torch.OutOfMemoryError)) or says_so):
        return None
    first_line = str(error).strip().partition("\n")[0].partition(" Tried to")[0][:200] or "memory ran out"
    return OutOfMemory(f"Out of memory: {first_line.rstrip('.')}.", fix=next(remedies(config)))


def remedies(config: Config) -> Iterator[str]:
    """What to try, cheapest first: what changes nothing in the result, then what only costs time, then what changes the training."""
    precision, training = config[Precision], config[Training]
    if not (config[Cache].cache_latents or config[Cache].cache_latents_to_disk):
        yield "Switch cache_latents on: the image encoder then leaves the memory, and nothing else changes."
    if precision.mixed_precision == "no":
        yield "Set mixed_precision to bf16 (fp16 on older cards), which halves the model's memory."
    memory, optimizer = config[Memory], config[Optimizer]
    if not memory.gradient_checkpointing:
        yield "Switch gradient_checkpointing on: steps take about a third longer, the result is the same."
    elif memory.gradient_checkpointing_every > 1:
        yield "Set gradient_checkpointing_every to 1: more blocks are computed again, the result is the same."
    elif not memory.cpu_offload_checkpointing:
        yield "Switch cpu_offload_checkpointing on: what the backward pass needs waits in main memory, steps take longer, the result is the same."
    if ModelFile in config and not optimizer.fused_backward_pass and not any(obstacles_to_early_updates(config)):
        yield "Switch fused_backward_pass on: gradients are forgotten as soon as they are used, which nearly leaves the result as it is."
    if training.train_batch_size > 1:
        half = training.train_batch_size // 2
        steps = training.gradient_accumulation_steps * 2
        yield f"Set train_batch_size to {half} and gradient_accumulation_steps to {steps}: the result is nearly the same, steps take longer."
    if FrozenPrecision in config and config[FrozenPrecision].quantize_base == "none" and not precision.fp8_base:
        yield "Set quantize_base to int8, or nf4 for less still: the frozen model takes half or a quarter of the memory, and is a little less exact."
    if not optimizer.optimizer_type or optimizer.optimizer_type.lower() == "adamw":
        yield "Set optimizer_type to AdamW8bit, which keeps its memory in a quarter of the space."
    yield "Use a lower resolution or a lower network_dim." if Network in config else "Use a lower resolution, or train a LoRA."
