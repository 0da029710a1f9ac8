"""How OneTrainer's training learns: rates, schedules, averages, losses, noise and timesteps."""

from __future__ import annotations

from typing import Any

from sd_scripts.params.migrate.rivals.reading import Reading, Rule, as_number, is_true, part_of, switch, to, without
from sd_scripts.params.migrate.shared import NOT_SET


def _schedule(reading: Reading, key: str, value: Any) -> None:
    name, ledger = str(value), reading.ledger
    made = {
        "LINEAR": "linear",
        "COSINE": "cosine",
        "COSINE_WITH_HARD_RESTARTS": "cosine_with_restarts",
        "REX": "rex",
        "CONSTANT": "constant_with_warmup" if reading.number("learning_rate_warmup_steps") else "constant",
    }.get(name)
    if name == "CUSTOM" and reading.value("custom_learning_rate_scheduler"):
        ledger.take(key, value, name="lr_scheduler_type", made=str(reading.value("custom_learning_rate_scheduler")))
    elif name == "ADAFACTOR":
        ledger.take(key, value, name="lr_scheduler", made=f"adafactor:{reading.number('learning_rate'):g}")
    elif name == "COSINE_WITH_RESTARTS":
        note = "There the rate falls and rises again; here it jumps back."
        ledger.take(key, value, name="lr_scheduler", made="cosine_with_restarts", note=note)
    elif made:
        ledger.take(key, value, name="lr_scheduler", made=made)
    else:
        ledger.keep(key, value, note="There is no such schedule here.")


def _warmup(reading: Reading, key: str, value: Any) -> None:
    """A share of the run below 1, a number of steps above."""
    steps = as_number(value) or 0.0
    if steps <= 0:
        reading.ledger.skip(key, value)
    else:
        reading.ledger.take(key, value, name="lr_warmup_steps", made=int(steps) if steps >= 1 else steps)


def _floor(reading: Reading, key: str, value: Any) -> None:
    if not as_number(value):
        reading.ledger.skip(key, value)
    elif str(reading.value("learning_rate_scheduler")) == "COSINE":
        reading.give("lr_scheduler", "cosine_with_min_lr")
        reading.ledger.take(key, value, name="lr_scheduler_min_lr_ratio", note="The schedule is cosine_with_min_lr.")
    elif str(reading.value("learning_rate_scheduler")) == "REX":
        reading.ledger.take(key, value, name="lr_scheduler_min_lr_ratio")
    else:
        reading.ledger.keep(key, value, note="Only the schedules cosine and rex have a lowest rate here.")


def _custom_schedule(reading: Reading, key: str, value: Any) -> None:
    pairs = [f"{item['key']}={item['value']}" for item in value or () if isinstance(item, dict) and item.get("key")]
    if pairs and str(reading.value("learning_rate_scheduler")) == "CUSTOM":
        reading.ledger.take(key, value, name="lr_scheduler_args", made=pairs)
    else:
        reading.ledger.skip(key, value)


def _main_rate(reading: Reading, key: str, value: Any) -> None:
    """The rate of a word is a setting of its own there, which falls back to the main one."""
    mine = "embedding_learning_rate" if reading.method == "embedding" and reading.value("embedding_learning_rate") is not None else "learning_rate"
    if key == mine:
        reading.ledger.take(key, value, name="learning_rate")
    elif key == "embedding_learning_rate" and reading.method == "adapter":
        reading.ledger.take(key, value, name="embedding_lr")
    else:
        reading.ledger.skip(key, value, "" if value in NOT_SET else f"{mine} counts.")


def _ema(reading: Reading, key: str, value: Any) -> None:
    if str(value) in ("OFF", "None"):
        reading.ledger.skip(key, value)
        return
    reading.give("ema_decay", reading.number("ema_decay"))
    reading.give("ema_update_interval", int(reading.number("ema_update_step_interval")))
    if str(value) == "CPU":
        reading.give("ema_cpu_only", True)
    reading.ledger.convert(key, value, became=f"ema_decay = {reading.number('ema_decay'):g}")


def _if_ema(reading: Reading, key: str, value: Any) -> None:
    if str(reading.value("ema")) in ("OFF", "None"):
        reading.ledger.skip(key, value, "There is no average.")
    else:
        reading.ledger.convert(key, value, became="ema_decay" if key == "ema_decay" else "ema_update_interval")


def _loss(reading: Reading, key: str, value: Any) -> None:
    """Strengths of several losses there, one kind of loss here."""
    strengths = {name: reading.number(f"{name}_strength") for name in ("mse", "mae", "log_cosh", "huber")}
    used = [name for name, strength in strengths.items() if strength]
    mine = key.removesuffix("_strength")
    if mine not in used or (used == ["mse"] and mine == "mse"):
        reading.ledger.skip(key, value)
    elif used == [mine] and mine in ("mae", "huber") and strengths[mine] == 1:
        reading.ledger.take(key, value, name="loss_type", made={"mae": "l1", "huber": "huber"}[mine])
    else:
        reading.ledger.keep(key, value, note="One kind of loss is used here, at full strength (loss_type).")


def _loss_weight(reading: Reading, key: str, value: Any) -> None:
    strength = reading.number("loss_weight_strength")
    option = {"MIN_SNR_GAMMA": "min_snr_gamma", "P2": "p2_gamma"}.get(str(value))
    if str(value) == "CONSTANT":
        reading.ledger.skip(key, value)
    elif option:
        reading.ledger.take(key, value, name=option, made=strength)
    elif str(value) == "DEBIASED_ESTIMATION":
        reading.ledger.take(key, value, name="debiased_estimation_loss", made=True)
    else:
        reading.ledger.keep(key, value, note="There is no such weight of timesteps here.")


def _loss_strength(reading: Reading, key: str, value: Any) -> None:
    if str(reading.value("loss_weight_fn")) in ("MIN_SNR_GAMMA", "P2"):
        reading.ledger.convert(key, value, note="It belongs to loss_weight_fn.")
    else:
        reading.ledger.skip(key, value, "loss_weight_fn uses none.")


def _timesteps(reading: Reading, key: str, value: Any) -> None:
    name, ledger = str(value), reading.ledger
    if name == "UNIFORM":
        ledger.skip(key, value)
    elif ledger.other_family:
        ledger.keep(key, value, note=f"It is a curve for {ledger.other_family}.")
    elif name == "LOGIT_NORMAL":
        reading.give("timestep_curve_mean", reading.number("noising_bias"))
        reading.give("timestep_curve_std", reading.number("noising_weight") + 1.0)
        ledger.take(key, value, name="timestep_curve", made="logit_normal")
    elif name == "COS_MAP":
        ledger.take(key, value, name="timestep_curve", made="cosmap")
    else:
        ledger.keep(key, value, note="There is no such curve of timesteps here (timestep_curve).")


def _of_curve(reading: Reading, key: str, value: Any) -> None:
    if str(reading.value("timestep_distribution")) == "LOGIT_NORMAL":
        reading.ledger.convert(key, value, became="timestep_curve_mean" if key == "noising_bias" else "timestep_curve_std")
    elif not as_number(value):
        reading.ledger.skip(key, value)
    else:
        reading.ledger.keep(key, value, note="It belongs to a curve of timesteps that is not used here.")


def _noising(reading: Reading, key: str, value: Any) -> None:
    share = as_number(value)
    if share is None or share == (0.0 if key.startswith("min") else 1.0):
        reading.ledger.skip(key, value)
    else:
        reading.ledger.take(key, value, name="min_timestep" if key.startswith("min") else "max_timestep", made=round(share * 1000))


def _v_prediction(reading: Reading, key: str, value: Any) -> None:
    if not is_true(value):
        reading.ledger.skip(key, value)
    else:
        reading.ledger.take(key, value, name="v_parameterization", made=True)


LEARNING: dict[str, Rule] = {
    "learning_rate": _main_rate,
    "embedding_learning_rate": _main_rate,
    "learning_rate_scheduler": _schedule,
    "custom_learning_rate_scheduler": part_of("learning_rate_scheduler"),
    "scheduler_params": _custom_schedule,
    "learning_rate_warmup_steps": _warmup,
    "learning_rate_min_factor": _floor,
    "ema": _ema,
    "ema_decay": _if_ema,
    "ema_update_step_interval": _if_ema,
    "mse_strength": _loss,
    "mae_strength": _loss,
    "log_cosh_strength": _loss,
    "huber_strength": _loss,
    "loss_weight_fn": _loss_weight,
    "loss_weight_strength": _loss_strength,
    "force_v_prediction": _v_prediction,
    "min_noising_strength": _noising,
    "max_noising_strength": _noising,
    "timestep_distribution": _timesteps,
    "noising_weight": _of_curve,
    "noising_bias": _of_curve,
    "learning_rate_cycles": to("lr_scheduler_num_cycles", lambda value: int(float(value)) if float(value) >= 1 else None),
    "huber_delta": without("huber_c is another measure of the same bend.", default=1.0),
    "min_snr_gamma": to("min_snr_gamma"),
    "clip_grad_norm": to("max_grad_norm"),
    "offset_noise_weight": to("noise_offset"),
    "perturbation_noise_weight": to("ip_noise_gamma"),
    "rescale_noise_scheduler_to_zero_terminal_snr": switch("zero_terminal_snr"),
    "epochs": to("max_train_epochs"),
    "batch_size": to("train_batch_size"),
    "gradient_accumulation_steps": to("gradient_accumulation_steps"),
}
