"""Learning rates of a whole model's parts, from the options that name them."""

from __future__ import annotations

from sd_scripts.params.config import Config
from sd_scripts.params.finetune import BlockRates, DreamBoothText, FineTuneText, TwoTexts
from sd_scripts.params.optimizer import Optimizer


def text_rates(config: Config, encoders: int) -> tuple[float, ...]:
    """Learning rate of each of a model's text encoders where the whole model is trained; 0: not trained."""
    base = config[Optimizer].learning_rate
    given: tuple[float | None, ...] = (0.0,) * encoders
    if DreamBoothText in config:
        dreambooth = config[DreamBoothText]
        given = (0.0 if dreambooth.stop_text_encoder_training == -1 else dreambooth.learning_rate_te,)
    elif FineTuneText in config and config[FineTuneText].train_text_encoder:
        given = (config[FineTuneText].learning_rate_te,)
    elif TwoTexts in config and config[TwoTexts].train_text_encoder:
        given = (config[TwoTexts].learning_rate_te1, config[TwoTexts].learning_rate_te2)
    return tuple(base if rate is None else rate for rate in given)


def block_rates(config: Config, blocks: int) -> tuple[float, ...] | None:
    """The rates of `block_lr`, None where it is not given.

    Raises:
        ValueError: it has another length, or an item is no number of 0 or more.
    """
    if BlockRates not in config or not config[BlockRates].block_lr:
        return None
    rates = tuple(float(item) for item in str(config[BlockRates].block_lr).split(","))
    if len(rates) != blocks or min(rates) < 0:
        raise ValueError(f"It has {len(rates)} values, this model has {blocks} blocks." if min(rates) >= 0 else "A rate is below 0.")
    return rates
