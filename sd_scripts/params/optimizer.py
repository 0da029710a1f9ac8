"""Options: what turns gradients into updates."""

from __future__ import annotations

from sd_scripts.params.spec import param, section

OPTIMIZER_PACKAGES: dict[str, str | None] = {
    "AdamW": None,
    "AdamWStochastic": None,
    "AdamW8bit": "bitsandbytes",
    "PagedAdamW": "bitsandbytes",
    "PagedAdamW8bit": "bitsandbytes",
    "PagedAdamW32bit": "bitsandbytes",
    "bitsandbytes.optim.AdEMAMix8bit": "bitsandbytes",
    "bitsandbytes.optim.PagedAdEMAMix8bit": "bitsandbytes",
    "Lion": "lion_pytorch",
    "Lion8bit": "bitsandbytes",
    "PagedLion8bit": "bitsandbytes",
    "Muon": None,
    "SOAP": "pytorch_optimizer",
    "pytorch_optimizer.CAME": "pytorch_optimizer",
    "SGDNesterov": None,
    "SGDNesterov8bit": "bitsandbytes",
    "Adafactor": None,
    "Prodigy": "prodigyopt",
    "prodigyplus.ProdigyPlusScheduleFree": "prodigyplus",
    "DAdaptation": "dadaptation",
    "DAdaptAdamPreprint": "dadaptation",
    "DAdaptAdaGrad": "dadaptation",
    "DAdaptAdam": "dadaptation",
    "DAdaptAdan": "dadaptation",
    "DAdaptAdanIP": "dadaptation",
    "DAdaptLion": "dadaptation",
    "DAdaptSGD": "dadaptation",
    "AdamWScheduleFree": "schedulefree",
    "RAdamScheduleFree": "schedulefree",
    "SGDScheduleFree": "schedulefree",
}
"""Optimizers by kohya's name (any case is read), each with the package that must be installed; None: none beyond the requirements."""

ONE_RATE = frozenset({"Prodigy", "DAdaptAdamPreprint", "DAdaptation", "DAdaptAdam", "DAdaptLion", "DAdaptSGD"})
"""Classes that find one rate from all weights together, and end with an error where groups of weights have rates of their own."""

TORCH_OPTIMIZERS = ("Adadelta", "Adagrad", "Adam", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
"""Further classes of `torch.optim` that can be named without a dotted path. Those for sparse or closure-driven training are left out."""


@section("Optimizer")
class Optimizer:
    """What turns gradients into updates."""

    optimizer_type: str = param(
        "",
        "The rule that updates the weights. AdamW is the safe choice, AdamW8bit needs less memory, Prodigy finds the rate itself (set it to 1). "
        "AdamWStochastic rounds at random and is for full_bf16. Empty: AdamW. A class of another package is named by its dotted path.",
        label="Optimizer",
        advanced=False,
        suggestions=tuple(OPTIMIZER_PACKAGES),
    )
    learning_rate: float = param(
        2e-06,
        "How far each step changes the weights. 1e-4 suits LoRA; too high burns the picture, too low learns nothing.",
        min=0,
        advanced=False,
    )
    max_grad_norm: float = param(
        1.0,
        "Shorten the step if the gradient is longer than this, which keeps odd pictures from wrecking the run. 0: never.",
        label="Gradient clipping",
        min=0,
        step=0.1,
    )
    optimizer_args: tuple[str, ...] | None = param(
        None,
        "Further arguments of the optimizer, as key=value: weight_decay=0.01 betas=0.9,0.99.",
        label="Optimizer arguments",
        suggestions=("weight_decay=0.01",),
    )
    use_8bit_adam: bool = param(False, "The same as optimizer_type AdamW8bit.", label="8-bit AdamW (old switch)")
    use_lion_optimizer: bool = param(False, "The same as optimizer_type Lion.", label="Lion (old switch)")
    fused_backward_pass: bool = param(
        False,
        "Update each weight as soon as its gradient is known, and forget the gradient. Training a whole model needs much less memory so; gradient "
        "clipping then looks at each weight alone.",
    )
