"""Arguments of the known optimizers, so that a wrong one is found while it is typed. A test compares the table with the classes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sd_scripts.params.values import nearest

Kind = Literal["number", "whole", "switch", "text", "pair", "numbers"]
WANTED: dict[Kind, str] = {
    "number": "a number",
    "whole": "a whole number",
    "switch": "True or False",
    "text": "text",
    "pair": "two numbers, as in 0.9,0.99",
    "numbers": "numbers separated by commas",
}


def _kinds(**names: str) -> dict[str, Kind]:
    """Kinds by argument; each keyword is a kind, its value the arguments of that kind."""
    kinds: dict[Kind, str] = {kind: names.get(kind, "") for kind in WANTED}
    return {argument: kind for kind, arguments in kinds.items() for argument in arguments.split()}


_ADAM_8BIT = _kinds(pair="betas", number="eps weight_decay", switch="amsgrad", whole="optim_bits min_8bit_size")
_LION_8BIT = _kinds(pair="betas", number="weight_decay", whole="min_8bit_size")
_ADEMAMIX_8BIT = _kinds(numbers="betas", number="alpha eps weight_decay", whole="t_alpha t_beta3 min_8bit_size")
_DADAPT_ADAM = _kinds(pair="betas", number="eps weight_decay d0 growth_rate", whole="log_every", switch="decouple fsdp_in_use")
_DADAPT_ADAN = _kinds(numbers="betas", number="eps weight_decay d0 growth_rate", whole="log_every", switch="no_prox")

ARGUMENTS: dict[str, Mapping[str, Kind]] = {
    "AdamW": _kinds(pair="betas", number="eps weight_decay", switch="amsgrad maximize foreach capturable differentiable fused"),
    "AdamWStochastic": _kinds(pair="betas", number="eps weight_decay"),
    "AdamW8bit": {**_ADAM_8BIT, "is_paged": "switch"},
    "PagedAdamW": _ADAM_8BIT,
    "PagedAdamW8bit": _ADAM_8BIT,
    "PagedAdamW32bit": _ADAM_8BIT,
    "bitsandbytes.optim.AdEMAMix8bit": {**_ADEMAMIX_8BIT, "is_paged": "switch"},
    "bitsandbytes.optim.PagedAdEMAMix8bit": _ADEMAMIX_8BIT,
    "Lion": _kinds(pair="betas", number="weight_decay", switch="use_triton decoupled_weight_decay"),
    "Lion8bit": {**_LION_8BIT, "is_paged": "switch"},
    "PagedLion8bit": _LION_8BIT,
    "Muon": _kinds(number="weight_decay momentum eps", whole="ns_steps", switch="nesterov", numbers="ns_coefficients", text="adjust_lr_fn"),
    "SOAP": _kinds(
        pair="betas",
        number="shampoo_beta weight_decay eps",
        whole="precondition_frequency max_precondition_dim",
        switch="merge_dims precondition_1d correct_bias normalize_gradient maximize",
        text="data_format",
    ),
    "pytorch_optimizer.CAME": _kinds(
        numbers="betas", number="weight_decay clip_threshold eps1 eps2", switch="weight_decouple fixed_decay ams_bound maximize foreach"
    ),
    "SGDNesterov": _kinds(number="momentum dampening weight_decay", switch="nesterov maximize foreach differentiable fused"),
    "SGDNesterov8bit": _kinds(number="momentum dampening weight_decay", switch="nesterov", whole="min_8bit_size"),
    "Adafactor": _kinds(pair="eps", number="clip_threshold decay_rate beta1 weight_decay", switch="scale_parameter relative_step warmup_init"),
    "Prodigy": _kinds(
        pair="betas",
        number="beta3 eps weight_decay d0 d_coef growth_rate",
        switch="decouple use_bias_correction safeguard_warmup fsdp_in_use",
        whole="slice_p",
    ),
    "prodigyplus.ProdigyPlusScheduleFree": _kinds(
        pair="betas",
        number="beta3 weight_decay d0 d_coef schedulefree_c eps",
        whole="prodigy_steps",
        switch="weight_decay_by_lr d_limiter split_groups split_groups_mean factored factored_fp32 use_bias_correction use_stableadamw "
        "use_schedulefree use_speed stochastic_rounding fused_back_pass use_cautious use_grams use_adopt use_orthograd use_focus",
    ),
    "DAdaptation": _DADAPT_ADAM,
    "DAdaptAdamPreprint": _DADAPT_ADAM,
    "DAdaptAdaGrad": _kinds(number="momentum weight_decay eps d0 growth_rate", whole="log_every"),
    "DAdaptAdam": {**_DADAPT_ADAM, "use_bias_correction": "switch"},
    "DAdaptAdan": _DADAPT_ADAN,
    "DAdaptAdanIP": _DADAPT_ADAN,
    "DAdaptLion": _kinds(pair="betas", number="weight_decay d0", whole="log_every", switch="fsdp_in_use"),
    "DAdaptSGD": _kinds(number="momentum weight_decay d0 growth_rate", whole="log_every", switch="fsdp_in_use"),
    "AdamWScheduleFree": _kinds(pair="betas", number="eps weight_decay r weight_lr_power", whole="warmup_steps", switch="foreach"),
    "RAdamScheduleFree": _kinds(pair="betas", number="eps weight_decay r weight_lr_power", switch="foreach silent_sgd_phase"),
    "SGDScheduleFree": _kinds(number="momentum weight_decay r weight_lr_power", whole="warmup_steps", switch="foreach"),
}
"""By kohya's name of the optimizer: its arguments without rate and parameters, and without those that hold objects."""


def wrong_argument(optimizer: str, key: str, value: object) -> tuple[str, str] | None:
    """What is wrong with one argument, and the fix; None if nothing is, or the optimizer is not in the table."""
    known = ARGUMENTS.get(optimizer)
    if known is None:
        return None
    if key in ("lr", "params"):
        return f"{key} is not given there.", "Use learning_rate." if key == "lr" else "Leave it out."
    if key not in known:
        return unknown_argument(optimizer, key, known)
    if value is None or _fits(known[key], value):
        return None
    return f"{key} of {optimizer} is {WANTED[known[key]]}, not {value!r}.", f"Write {key}={WANTED[known[key]]}."


def unknown_argument(optimizer: str, key: str, known: Mapping[str, object]) -> tuple[str, str]:
    """That an optimizer has no argument `key`, and the nearest that it has."""
    near = nearest(key, known)
    return f"{optimizer} has no argument {key}.", f"Did you mean {near}?" if near else f"It takes {', '.join(sorted(known))}."


def _fits(kind: Kind, value: object) -> bool:
    if kind in ("pair", "numbers"):
        parts = value if isinstance(value, (tuple, list)) else ()
        return all(_fits("number", part) for part in parts) and (len(parts) == 2 if kind == "pair" else len(parts) > 1)
    if kind == "switch":
        return isinstance(value, bool)
    if kind == "text":
        return isinstance(value, str)
    return isinstance(value, int if kind == "whole" else (int, float)) and not isinstance(value, bool)
