"""How ai-toolkit's training learns: losses, noise, timesteps, averages, what is preserved."""

from __future__ import annotations

from typing import Any

from sd_scripts.params.migrate.rivals.reading import Reading, Rule, as_number, choice, is_true, to

STEPS_OF_NOISE = 1000


def _timestep_limit(reading: Reading, key: str, value: Any) -> None:
    lowest = key.endswith("min_denoising_steps")
    step = as_number(value)
    if step is None or step == 0 or (not lowest and step >= STEPS_OF_NOISE - 1):
        reading.ledger.skip(key, value)
    else:
        reading.ledger.take(key, value, name="min_timestep" if lowest else "max_timestep", made=int(step))


def _style(reading: Reading, key: str, value: Any) -> None:
    made = {"content": "high_noise", "style": "low_noise"}.get(str(value))
    if made:
        reading.ledger.take(key, value, name="timestep_curve", made=made, note="A curve of the same kind.")
    else:
        reading.ledger.skip(key, value)


def _timestep_type(reading: Reading, key: str, value: Any) -> None:
    """It counts for flow models, of which none is trained here."""
    if reading.ledger.other_family:
        reading.ledger.keep(key, value, note=f"It is a curve for {reading.ledger.other_family}.")
    else:
        reading.ledger.skip(key, value, "It has no effect with this kind of model.")


def _ema(reading: Reading, key: str, value: Any) -> None:
    if not is_true(value):
        reading.ledger.skip(key, value)
    else:
        decay = as_number(reading.value("train.ema_config.ema_decay")) or 0.999
        reading.ledger.take(key, value, name="ema_decay", made=decay)


def _if_ema(reading: Reading, key: str, value: Any) -> None:
    if is_true(reading.value("train.ema_config.use_ema")):
        reading.ledger.convert(key, value, became=f"ema_decay = {value}")
    else:
        reading.ledger.skip(key, value, "There is no average.")


def _preserve(reading: Reading, key: str, value: Any) -> None:
    ledger = reading.ledger
    if not is_true(value):
        ledger.skip(key, value)
        return
    trigger = str(reading.value("trigger_word") or "")
    if trigger:
        reading.give("preservation_trigger", trigger)
    reading.give("preservation_weight", float(as_number(reading.value("train.diff_output_preservation_multiplier")) or 1.0))
    made = str(reading.value("train.diff_output_preservation_class") or "")
    if made:
        ledger.take(key, value, name="preservation_class", made=made)
    else:
        ledger.keep(key, value, note="No class is named for it.")


def _of_preservation(reading: Reading, key: str, value: Any) -> None:
    if is_true(reading.value("train.diff_output_preservation")):
        reading.ledger.convert(key, value, became="preservation_class" if key.endswith("class") else "preservation_weight")
    else:
        reading.ledger.skip(key, value)


LEARNING: dict[str, Rule] = {
    "train.min_denoising_steps": _timestep_limit,
    "train.max_denoising_steps": _timestep_limit,
    "train.content_or_style": _style,
    "train.timestep_type": _timestep_type,
    "train.ema_config.use_ema": _ema,
    "train.ema_config.ema_decay": _if_ema,
    "train.diff_output_preservation": _preserve,
    "train.diff_output_preservation_multiplier": _of_preservation,
    "train.diff_output_preservation_class": _of_preservation,
    "train.max_grad_norm": to("max_grad_norm"),
    "train.min_snr_gamma": to("min_snr_gamma"),
    "train.noise_offset": to("noise_offset"),
    "train.loss_type": choice("loss_type", {"mae": "l1", "huber": "huber"}, same_as=("mse",)),
    "train.reg_weight": to("prior_loss_weight"),
    "train.prompt_dropout_prob": to("caption_dropout_rate"),
}
