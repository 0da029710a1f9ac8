"""Optimizers by kohya's names, or by dotted path. Optional packages are imported only when their optimizer is chosen."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer as TorchOptimizer

from sd_scripts.errors import ConfigError
from sd_scripts.library.optim.early import EarlyOptimizer, Ready, split_groups
from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.optim.schedulers import OwnRates, Scheduler, build_scheduler
from sd_scripts.params.optimizer import ONE_RATE, Optimizer
from sd_scripts.params.optimizer_args import unknown_argument
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.params.words import parse_words


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an optimizer's class is: module, class, the arguments it is given unless the user sets them."""

    module: str
    name: str
    defaults: Mapping[str, object] = field(default_factory=dict)


def _bnb(name: str, **defaults: object) -> Entry:
    return Entry("bitsandbytes.optim", name, defaults)


REGISTRY: dict[str, Entry] = {
    "adamw": Entry("torch.optim", "AdamW"),
    "adamwstochastic": Entry("sd_scripts.library.optim.stochastic", "AdamWStochastic"),
    "adamw8bit": _bnb("AdamW8bit"),
    "pagedadamw": _bnb("PagedAdamW"),
    "pagedadamw8bit": _bnb("PagedAdamW8bit"),
    "pagedadamw32bit": _bnb("PagedAdamW32bit"),
    "lion8bit": _bnb("Lion8bit"),
    "pagedlion8bit": _bnb("PagedLion8bit"),
    "bitsandbytes.optim.ademamix8bit": _bnb("AdEMAMix8bit"),
    "bitsandbytes.optim.pagedademamix8bit": _bnb("PagedAdEMAMix8bit"),
    "muon": Entry("sd_scripts.library.optim.muon", "MuonWithAdamW"),
    "soap": Entry("pytorch_optimizer", "SOAP"),
    "pytorch_optimizer.came": Entry("pytorch_optimizer", "CAME"),
    "sgdnesterov": Entry("torch.optim", "SGD", {"nesterov": True, "momentum": 0.9}),
    "sgdnesterov8bit": _bnb("SGD8bit", nesterov=True, momentum=0.9),
    "lion": Entry("lion_pytorch", "Lion"),
    "adafactor": Entry("transformers.optimization", "Adafactor", {"relative_step": True}),
    "dadaptation": Entry("dadaptation.experimental", "DAdaptAdamPreprint"),
    "dadaptadampreprint": Entry("dadaptation.experimental", "DAdaptAdamPreprint"),
    "dadaptadagrad": Entry("dadaptation", "DAdaptAdaGrad"),
    "dadaptadam": Entry("dadaptation", "DAdaptAdam"),
    "dadaptadan": Entry("dadaptation", "DAdaptAdan"),
    "dadaptlion": Entry("dadaptation", "DAdaptLion"),
    "dadaptsgd": Entry("dadaptation", "DAdaptSGD"),
    "dadaptadanip": Entry("dadaptation.experimental", "DAdaptAdanIP"),
    "prodigy": Entry("prodigyopt", "Prodigy"),
    "prodigyplus.prodigyplusschedulefree": Entry("prodigyplus", "ProdigyPlusScheduleFree"),
    "radamschedulefree": Entry("schedulefree", "RAdamScheduleFree"),
    "adamwschedulefree": Entry("schedulefree", "AdamWScheduleFree"),
    "sgdschedulefree": Entry("schedulefree", "SGDScheduleFree"),
}
"""kohya's names, lower case. Any other name is one of torch.optim's (case as torch writes it), or a dotted path."""


def entry_of(config: Optimizer) -> Entry:
    """The optimizer that the options ask for: optimizer_type, or one of the two old switches; AdamW if neither.

    Raises:
        ConfigError: two of them contradict each other, or the name is unknown.
    """
    name = config.optimizer_type
    for switch, meant in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        if getattr(config, switch):
            if name and name.lower() != meant.lower():
                raise ConfigError(switch, f"It asks for {meant}, but optimizer_type is {name}.", fix=f"Leave {switch} out.")
            name = meant
    name = name or "AdamW"
    if name.lower() in REGISTRY:
        return REGISTRY[name.lower()]
    module, _, class_name = name.rpartition(".")
    return Entry(module or "torch.optim", class_name)


def build_early_optimizer(groups: Sequence[ParamGroup], config: Optimizer, *, parts: int | None, ready: Ready) -> EarlyOptimizer:
    """Make an optimizer that updates weights during the backward pass: in `parts` parts, or each weight on its own.

    Raises:
        ConfigError: see `build_optimizer`.
    """
    return EarlyOptimizer([build_optimizer(piece, config) for piece in split_groups(groups, parts)], ready)


def build_optimizer(groups: Sequence[ParamGroup], config: Optimizer) -> TorchOptimizer:
    """Make the optimizer over the groups, each with its own rate.

    Raises:
        ConfigError: the class or its package is missing, or it does not take the optimizer_args.
    """
    entry = entry_of(config)
    cls = _load(entry)
    rates = dict.fromkeys(group.lr for group in groups if group.lr)
    if entry.name in ONE_RATE and len(rates) > 1:
        shown = ", ".join(f"{rate:g}" for rate in rates)
        raise ConfigError("learning_rate", f"{entry.name} takes one rate for all weights, not {shown}.", fix="Give all parts the same rate.")
    args = {**entry.defaults, **_fused(entry, groups), **parse_words("optimizer_args", config.optimizer_args)}
    _refuse_unknown(cls, entry, args)
    dicts = [group.as_dict() for group in groups]
    lr: float | None = config.learning_rate
    if uses_relative_steps(config):
        lr = None
        for group in dicts:
            group["lr"] = None
    try:
        return cls(dicts, lr=lr, **args)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        given = f"does not take {args}" if args else "cannot be made"
        raise ConfigError("optimizer_args", f"{entry.name} {given}: {error}.", fix="Look into the optimizer's own documentation.") from error


def _refuse_unknown(cls: Any, entry: Entry, args: Mapping[str, object]) -> None:
    """Name an argument that the class does not take. One that takes any keyword is left to judge for itself."""
    signature = inspect.signature(cls).parameters
    known = {name: parameter for name, parameter in signature.items() if name not in ("self", "params", "lr")}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for key in args:
        if key not in known:
            message, fix = unknown_argument(entry.name, key, known)
            raise ConfigError("optimizer_args", message, fix=fix)


def _fused(entry: Entry, groups: Sequence[ParamGroup]) -> dict[str, object]:
    """One kernel for all tensors where torch has it: over the hundreds of small ones of a LoRA, 1.5 ms a step instead of 8.5 on two cores."""
    devices = {parameter.device.type for group in groups for parameter in group.params}
    return {"fused": True} if entry == REGISTRY["adamw"] and devices and devices <= {"cpu", "cuda"} else {}


def uses_relative_steps(config: Optimizer) -> bool:
    """Adafactor that finds its own rate: every learning rate and the schedule are ignored then."""
    entry = entry_of(config)
    if entry.name != "Adafactor":
        return False
    args = parse_words("optimizer_args", config.optimizer_args)
    return bool(args.get("relative_step", True) or args.get("warmup_init", False))


def is_schedule_free(optimizer: TorchOptimizer) -> bool:
    """Whether the optimizer averages weights itself and needs `.train()` and `.eval()` around steps."""
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))


def schedule_for(
    optimizer: TorchOptimizer, config: Optimizer, schedule: LRSchedule, *, total_steps: int, warmup_steps: int, decay_steps: int
) -> Scheduler:
    """The learning-rate schedule that suits the optimizer: the chosen one, or none where the optimizer finds its own rates.

    Raises:
        ConfigError: from `build_scheduler`.
    """
    if uses_relative_steps(config) or is_schedule_free(optimizer):
        return OwnRates(optimizer)
    return build_scheduler(optimizer, schedule, total_steps=total_steps, warmup_steps=warmup_steps, decay_steps=decay_steps)


def _load(entry: Entry) -> Any:
    package = entry.module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            "optimizer_type",
            f"{entry.name} needs the package {package}, which is not installed.",
            fix="Install it with: python setup.py extras optimizers",
        )
    try:
        return getattr(importlib.import_module(entry.module), entry.name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            "optimizer_type", f'"{entry.module}.{entry.name}" is no optimizer.', fix="Give a name from the list, or module.Class."
        ) from error
