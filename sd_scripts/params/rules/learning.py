"""Rules on rates, schedules, optimizers, noise and loss."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import ConfigError
from sd_scripts.params.config import Config
from sd_scripts.params.loss import SNRWeight
from sd_scripts.params.model import SDModel
from sd_scripts.params.network import Network
from sd_scripts.params.noise import NoiseDDPM, Timesteps
from sd_scripts.params.optimizer import ONE_RATE, OPTIMIZER_PACKAGES, TORCH_OPTIMIZERS, Optimizer
from sd_scripts.params.optimizer_args import wrong_argument
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules.rule import Rule, as_problem, is_installed, were_given
from sd_scripts.params.schedule import SCHEDULERS, LRSchedule
from sd_scripts.params.training import Training
from sd_scripts.params.values import nearest
from sd_scripts.params.words import parse_words

HIGH_RATE = 1e-2
SELF_TUNING_RATE = 0.1
LORA_RATE = 1e-4
EXTRA_PACKAGES = {*filter(None, OPTIMIZER_PACKAGES.values()), "prodigyplus", "pytorch_optimizer"}
"""What `setup.py extras optimizers` installs, by import name."""


def optimizer_name(config: Optimizer) -> str:
    """The optimizer that is asked for, in the registry's spelling where it is known there."""
    if not config.optimizer_type:
        return "AdamW8bit" if config.use_8bit_adam else "Lion" if config.use_lion_optimizer else "AdamW"
    return {name.lower(): name for name in OPTIMIZER_PACKAGES}.get(config.optimizer_type.lower(), config.optimizer_type)


def is_self_tuning(config: Optimizer) -> bool:
    """Whether the optimizer finds the rate itself and takes `learning_rate` as a factor: Prodigy and the D-Adaptation family."""
    return optimizer_name(config).rpartition(".")[2].lower().startswith(("prodigy", "dadapt"))


def takes_one_rate(config: Optimizer) -> bool:
    """Whether the optimizer ends with an error where parts have rates of their own."""
    return optimizer_name(config).rpartition(".")[2] in ONE_RATE


def is_schedule_free(config: Optimizer) -> bool:
    """Whether the optimizer replaces the schedule by averaging."""
    return optimizer_name(config).lower().endswith("schedulefree")


def uses_relative_steps(config: Optimizer) -> bool:
    """Adafactor that finds its own rate: its default, unless `optimizer_args` turn it off."""
    if optimizer_name(config) != "Adafactor":
        return False
    try:
        arguments = parse_words("optimizer_args", config.optimizer_args)
    except ConfigError:
        return False
    return bool(arguments.get("relative_step", True) or arguments.get("warmup_init", False))


def optimizer_is_known(config: Config) -> Iterator[Problem]:
    """A name of the list, one of torch.optim, or a dotted path; its package is there."""
    optimizer = config[Optimizer]
    name = optimizer_name(optimizer)
    package = OPTIMIZER_PACKAGES.get(name) if name in OPTIMIZER_PACKAGES else name.partition(".")[0] if "." in name else None
    if name not in OPTIMIZER_PACKAGES and "." not in name and name not in TORCH_OPTIMIZERS:
        near = nearest(name, (*OPTIMIZER_PACKAGES, *TORCH_OPTIMIZERS))
        fix = f"Did you mean {near}?" if near else f"Use {', '.join(OPTIMIZER_PACKAGES)}, or a dotted path."
        yield error("optimizer_type", f"{name!r} is no known optimizer.", fix)
    elif package and not is_installed(package):
        install = "python setup.py extras optimizers" if package in EXTRA_PACKAGES else f"pip install {package}"
        fix = f"Install it with: {install}. AdamW needs no package."
        yield error("optimizer_type", f"{name} needs the package {package}, which is not installed.", fix)


def optimizer_switches_agree(config: Config) -> Iterator[Problem]:
    """The two old switches and the name mean one optimizer."""
    optimizer = config[Optimizer]
    if optimizer.use_8bit_adam and optimizer.use_lion_optimizer:
        yield error("use_lion_optimizer", "use_8bit_adam asks for another optimizer.", "Keep one of them, or use optimizer_type.")
    for switch, meant in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        if getattr(optimizer, switch) and optimizer.optimizer_type and optimizer_name(optimizer) != meant:
            yield error(switch, f"It asks for {meant}, but optimizer_type is {optimizer.optimizer_type}.", f"Leave {switch} out.", {switch: False})


def words_are_readable(config: Config) -> Iterator[Problem]:
    """Arguments are key=value."""
    for field, words in (("optimizer_args", config[Optimizer].optimizer_args), ("lr_scheduler_args", config[LRSchedule].lr_scheduler_args)):
        try:
            parse_words(field, words)
        except ConfigError as refused:
            yield as_problem(refused)


def optimizer_arguments_fit(config: Config) -> Iterator[Problem]:
    """The optimizer takes each argument, with a value of that kind. Others than those of the list are asked when they are made."""
    optimizer = config[Optimizer]
    try:
        arguments = parse_words("optimizer_args", optimizer.optimizer_args)
    except ConfigError:
        return
    for key, value in arguments.items():
        wrong = wrong_argument(optimizer_name(optimizer), key, value)
        if wrong:
            yield error("optimizer_args", *wrong)


def rate_fits_lora(config: Config) -> Iterator[Problem]:
    """kohya's default rate is meant for whole models and does nothing to a LoRA in a usual run."""
    if Network not in config:
        return
    optimizer, network = config[Optimizer], config[Network]
    if uses_relative_steps(optimizer):
        for name in were_given(config, "learning_rate", "unet_lr", "text_encoder_lr"):
            yield warning(name, "Adafactor with relative steps finds its own rate and ignores it.", "Write optimizer_args relative_step=False.")
        return
    if is_self_tuning(optimizer):
        yield from _self_tuning_rate(optimizer, network)
        return
    if not were_given(config, "learning_rate", "unet_lr"):
        message = f"It is not given, and the default of {optimizer.learning_rate:g} is for whole models: a LoRA would hardly learn."
        yield warning("learning_rate", message, f"Use {LORA_RATE:g}.", {"learning_rate": LORA_RATE})
    for name, rate in _rates(optimizer, network).items():
        if rate > HIGH_RATE:
            yield warning(
                name, f"{rate:g} is very high and will probably destroy the result.", f"Use {LORA_RATE:g}; a rate near 1 is for Prodigy or DAdapt."
            )


def _self_tuning_rate(optimizer: Optimizer, network: Network) -> Iterator[Problem]:
    rates = {name: rate for name, rate in _rates(optimizer, network).items() if rate}
    for name, rate in rates.items():
        if rate < SELF_TUNING_RATE:
            yield warning(name, f"{rate:g} holds {optimizer.optimizer_type} back, which finds the rate itself.", "Use 1.", {name: 1.0})
    if len(set(rates.values())) > 1 and not takes_one_rate(optimizer):
        yield warning("unet_lr", f"{optimizer.optimizer_type} works with one rate for all.", "Use the same rate for U-Net and text encoder.")


def _rates(optimizer: Optimizer, network: Network) -> dict[str, float]:
    """The rates that count, by option: each part's own, or the main one where a part has none."""
    parts: dict[str, float | None] = {}
    if not network.network_train_text_encoder_only:
        parts["unet_lr"] = network.unet_lr
    if not network.network_train_unet_only:
        parts["text_encoder_lr"] = network.text_encoder_lr[0] if network.text_encoder_lr else None
    return {"learning_rate" if rate is None else name: optimizer.learning_rate if rate is None else rate for name, rate in parts.items()}


def schedule_is_known(config: Config) -> Iterator[Problem]:
    """One of the schedules, unless a class of one's own replaces it."""
    schedule = config[LRSchedule]
    name = schedule.lr_scheduler
    if schedule.lr_scheduler_type:
        return
    if name.partition(":")[0] == "adafactor":
        if not uses_relative_steps(config[Optimizer]):
            yield error("lr_scheduler", f"{name} works only with Adafactor and relative steps.", "Use cosine or constant.")
    elif name not in SCHEDULERS:
        near = nearest(name, SCHEDULERS)
        yield error("lr_scheduler", f"{name!r} is no known schedule.", f"Did you mean {near}?" if near else f"Use {', '.join(SCHEDULERS)}.")
    elif name == "piecewise_constant" and not schedule.lr_scheduler_args:
        yield error("lr_scheduler_args", "piecewise_constant needs its rules.", 'Write lr_scheduler_args "step_rules=1:10,0.1:20,0.01".')


def schedule_free_has_no_schedule(config: Config) -> Iterator[Problem]:
    """A schedule-free optimizer, and Adafactor with relative steps, go their own way."""
    optimizer = config[Optimizer]
    if (is_schedule_free(optimizer) or uses_relative_steps(optimizer)) and config[LRSchedule].lr_scheduler.partition(":")[0] not in (
        "constant",
        "adafactor",
    ):
        yield warning(
            "lr_scheduler", f"It has no effect: {optimizer.optimizer_type} sets the rate itself.", "Use constant.", {"lr_scheduler": "constant"}
        )


def constant_has_no_warmup(config: Config) -> Iterator[Problem]:
    """kohya's constant schedule refuses a warm-up, and so does a class of one's own."""
    schedule, optimizer = config[LRSchedule], config[Optimizer]
    if not schedule.lr_warmup_steps or is_schedule_free(optimizer) or uses_relative_steps(optimizer):
        return
    if schedule.lr_scheduler_type:
        yield error("lr_warmup_steps", f"{schedule.lr_scheduler_type} has no warm-up.", "Set lr_warmup_steps to 0.", {"lr_warmup_steps": 0})
    elif schedule.lr_scheduler == "constant":
        yield error(
            "lr_warmup_steps",
            "The constant schedule has no warm-up.",
            "Use constant_with_warmup, or set lr_warmup_steps to 0.",
            {"lr_scheduler": "constant_with_warmup"},
        )


def shares_are_shares(config: Config) -> Iterator[Problem]:
    """A fraction above 1 is neither a share nor a number of steps."""
    schedule = config[LRSchedule]
    values = {
        "lr_warmup_steps": schedule.lr_warmup_steps,
        "lr_decay_steps": schedule.lr_decay_steps,
        "stop_text_encoder_training": config[Network].stop_text_encoder_training if Network in config else None,
    }
    for name, value in values.items():
        if isinstance(value, float) and value > 1:
            yield error(name, f"{value:g} is more than the whole run.", f"Write {value:.0f} without a point for steps, or a share from 0 to 1.")


def warmup_fits(config: Config) -> Iterator[Problem]:
    """Warm-up and decay lie within the run, as far as its length is known before the pictures are counted."""
    schedule, training = config[LRSchedule], config[Training]
    shares = [value for value in (schedule.lr_warmup_steps, schedule.lr_decay_steps) if isinstance(value, float)]
    if sum(shares) > 1 and max(shares) <= 1:
        yield error("lr_decay_steps", f"Warm-up and decay take {sum(shares):g} of the run together.", "Lower one of them.")
    steps = sum(value for value in (schedule.lr_warmup_steps, schedule.lr_decay_steps) if isinstance(value, int))
    if steps > training.max_train_steps and not training.max_train_epochs:
        fix = f"Use {training.max_train_steps // 10} steps, or 10% for a tenth of the run."
        yield error("lr_warmup_steps", f"Warm-up and decay take {steps} steps, but the run has only {training.max_train_steps}.", fix)


def epochs_count_first(config: Config) -> Iterator[Problem]:
    """kohya: epochs replace steps."""
    if config[Training].max_train_epochs and "max_train_steps" in config.given:
        yield warning("max_train_steps", "It has no effect, because max_train_epochs is given too.", "Remove one of them.", {"max_train_steps": None})


def adaptive_noise_needs_offset(config: Config) -> Iterator[Problem]:
    """The adaptive part is added to an offset."""
    noise = config[NoiseDDPM]
    if noise.adaptive_noise_scale and not noise.noise_offset:
        yield error(
            "adaptive_noise_scale", "It changes the noise offset, which is off.", "Set noise_offset too, for example 0.05.", {"noise_offset": 0.05}
        )
    if noise.noise_offset and noise.multires_noise_iterations:
        yield warning("noise_offset", "Multires noise is on too; both are added.", "Use one of them.")


def timesteps_are_ordered(config: Config) -> Iterator[Problem]:
    """There is something to draw between the lowest and the highest."""
    timesteps = config[Timesteps]
    low, high = timesteps.min_timestep or 0, 1000 if timesteps.max_timestep is None else timesteps.max_timestep
    if low >= high:
        yield error("min_timestep", f"{low} is not below max_timestep, {high}.", "Exchange or drop them.")


def weights_fit_the_prediction(config: Config) -> Iterator[Problem]:
    """One weight by signal-to-noise ratio is enough. Where v_parameterization is given, those for the other kind of model are wrong too."""
    weight = config[SNRWeight]
    if "v_parameterization" in config.given:
        yield from weights_for(weight, velocity=config[SDModel].v_parameterization)
    first, *others = [name for name in ("min_snr_gamma", "debiased_estimation_loss", "p2_gamma") if getattr(weight, name)] or [""]
    for name in others:
        yield warning(name, f"{first} is on too; both weights are multiplied.", "Use one of them.")


def weights_for(weight: SNRWeight, *, velocity: bool) -> Iterator[Problem]:
    """Weights that are made for the other kind of model, given what this one predicts."""
    if weight.scale_v_pred_loss_like_noise_pred and not velocity:
        yield error(
            "scale_v_pred_loss_like_noise_pred",
            "It is for v-prediction models.",
            "Set v_parameterization if this model is one, or leave it out.",
            {"scale_v_pred_loss_like_noise_pred": False},
        )
    if weight.v_pred_like_loss and velocity:
        yield error(
            "v_pred_like_loss", "It is for noise-prediction models.", "Leave it out: this model predicts velocity.", {"v_pred_like_loss": None}
        )


RULES: tuple[Rule, ...] = (
    optimizer_is_known,
    optimizer_switches_agree,
    words_are_readable,
    optimizer_arguments_fit,
    rate_fits_lora,
    schedule_is_known,
    schedule_free_has_no_schedule,
    constant_has_no_warmup,
    shares_are_shares,
    warmup_fits,
    epochs_count_first,
    adaptive_noise_needs_offset,
    timesteps_are_ordered,
    weights_fit_the_prediction,
)
