"""What a training will need of the accelerator's memory, told from the base model's header and the plan. An estimate, and called one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sd_scripts.params.averaging import Averaging
from sd_scripts.params.cache import Cache
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.memory import FrozenPrecision, Memory, Precision
from sd_scripts.params.network import Network
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.rates import text_rates
from sd_scripts.params.saving import Saving
from sd_scripts.params.text_cache import TextCache
from sd_scripts.survey.header import Header, ModelFacts
from sd_scripts.survey.plan import Plan
from sd_scripts.survey.targets import AdapterSize

_PARTS = {
    "unet": ("model.diffusion_model.", "unet/"),
    "vae": ("first_stage_model.", "vae/"),
    "text": ("cond_stage_model.", "conditioner.", "text_encoder"),
}
_QUANTISED = {"int8": 1.05, "nf4": 0.55}
"""Bytes per number with the scales that go with them."""
_STATES = {
    "adamw8bit": 2.1, "pagedadamw8bit": 2.1, "pagedadamw": 0.0, "pagedadamw32bit": 0.0, "lion": 4.0, "lion8bit": 1.1, "pagedlion8bit": 1.1,
    "sgdnesterov": 4.0, "sgdnesterov8bit": 1.1, "sgd": 0.0, "adafactor": 0.1, "muon": 4.0, "soap": 16.0, "pytorch_optimizer.came": 4.2,
    "prodigy": 16.0, "dadaptation": 16.0, "dadaptadampreprint": 16.0, "dadaptadam": 16.0, "dadaptadan": 20.0, "dadaptadanip": 20.0,
    "dadaptlion": 8.0, "dadaptsgd": 12.0, "bitsandbytes.optim.ademamix8bit": 3.2, "bitsandbytes.optim.pagedademamix8bit": 0.0,
}  # fmt: skip
"""Bytes of an optimizer's state per trained number; paged ones go to main memory. AdamW and what is not named here keep two numbers of 4 bytes."""
_ADAMW_STATE = 8.0
_SINGLE_OVER_HALF = 1.6
"""Activations of a step in 32 bits against those of one in 16, in which norms stay in 32 bits."""
_OFFLOADED = 0.4
"""What is left of a checkpointed step's activations when the blocks' inputs wait in main memory."""
_CONTEXT = 700_000_000
"""The driver's context, kernels and the allocator's rests."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes: weights that stay as they are, what is trained with gradients and optimizer state, what a step keeps for its backward pass, the rest."""

    frozen: int
    trained: int
    activations: int
    rest: int = _CONTEXT

    @property
    def total(self) -> int:
        """All of it."""
        return self.frozen + self.trained + self.activations + self.rest


def largest_batch(plan: Plan) -> int:
    """Pixels of the largest batch that one process gets."""
    return max((bucket.bucket[0] * bucket.bucket[1] * plan.batch_sizes[bucket.dataset] for bucket in plan.buckets), default=0)


def estimate_memory(config: Config, header: Header, model: ModelFacts, *, pixels: int, adapter: AdapterSize | None) -> MemoryEstimate | None:
    """The peak of a training step on one accelerator; None where the family's figures or the adapter's size are not known. `pixels`: of the batch.

    Activations are those that PyTorch's autograd saves in one step of the full-size U-Net (`benchmarks.activations`), by pixels and batch.
    """
    kept = FAMILIES[config.command.family].activations.get(model.family)
    if kept is None or (Network in config and adapter is None) or not pixels:
        return None
    counts = {part: _numbers(header, prefixes) for part, prefixes in _PARTS.items()}
    learnt = _learnt(config, counts, adapter)
    return MemoryEstimate(_frozen(config, counts, learnt), _trained(config, sum(learnt.values())), _activations(config, kept, pixels))


def model_file_bytes(config: Config, header: Header, model: ModelFacts) -> int:
    """Size of a whole model's file as the config saves it, without its header."""
    value = {"fp16": 2, "bf16": 2, "float": 4}.get(config[Saving].save_precision or {"fp32": "float"}.get(model.precision, model.precision), 4)
    return value * sum(_numbers(header, prefixes) for prefixes in _PARTS.values())


def _learnt(config: Config, counts: dict[str, int], adapter: AdapterSize | None) -> dict[str, int]:
    """Numbers that are trained, by part; those of an adapter lie beside the model."""
    if Network in config:
        return {"adapter": adapter.parameters if adapter else 0}
    if config.command.method == "embedding":
        return {"adapter": 0}
    encoders = FAMILIES[config.command.family].text_encoders
    rates = text_rates(config, encoders)
    return {"unet": counts["unet"], "text": counts["text"] * sum(map(bool, rates)) // max(1, encoders)}


def _frozen(config: Config, counts: dict[str, int], learnt: dict[str, int]) -> int:
    """Bytes of the weights that stay as they are. A part that is cached, or trained in full, is not among them."""
    value = 4.0 if config[Precision].mixed_precision == "no" else 2.0
    formats = dict.fromkeys(_PARTS, value)
    if config[Precision].fp8_base:
        formats["unet"] = formats["text"] = 1.0
    if FrozenPrecision in config:
        frozen = config[FrozenPrecision]
        formats["unet"] = _QUANTISED.get(frozen.quantize_base, 1.0 if frozen.fp8_base_unet else formats["unet"])
    if config[Cache].cache_latents:
        formats["vae"] = 0.0
    if TextCache in config and config[TextCache].cache_text_encoder_outputs:
        formats["text"] = 0.0
    return round(sum((counts[part] - learnt.get(part, 0)) * formats[part] for part in _PARTS))


def _trained(config: Config, numbers: int) -> int:
    """Weights, gradients, optimizer state and average of what learns, and the copies in 16 bits that a step makes of it."""
    precision, optimizer = config[Precision], config[Optimizer]
    half = precision.full_fp16 or precision.full_bf16
    value = 2.0 if half else 4.0
    copies = 2.0 if precision.mixed_precision != "no" and not half and Network not in config else 0.0
    state = _STATES.get(_optimizer_name(optimizer), _ADAMW_STATE) * (0.5 if half and _optimizer_name(optimizer) in ("", "adamw") else 1.0)
    gradient = 0.0 if optimizer.fused_backward_pass else value
    average = 4.0 if config[Averaging].ema_decay and not config[Averaging].ema_cpu_only else 0.0
    return round(numbers * (value + gradient + state + copies + average))


def _optimizer_name(optimizer: Optimizer) -> str:
    if optimizer.use_8bit_adam:
        return "adamw8bit"
    return "lion" if optimizer.use_lion_optimizer else optimizer.optimizer_type.lower()


def _activations(config: Config, kept: tuple[int, int], pixels: int) -> int:
    """What one step saves. With every n-th block checkpointed, the others keep theirs."""
    whole, checkpointed = kept
    memory = config[Memory]
    each: float = whole
    if memory.gradient_checkpointing:
        each = checkpointed * (_OFFLOADED if memory.cpu_offload_checkpointing else 1.0)
        each += (whole - checkpointed) * (1 - 1 / memory.gradient_checkpointing_every)
    return round(each * pixels * (_SINGLE_OVER_HALF if config[Precision].mixed_precision == "no" else 1.0))


def _numbers(header: Header, prefixes: tuple[str, ...]) -> int:
    return sum(math.prod(shape) for name, (_, shape) in header.tensors.items() if name.startswith(prefixes))
