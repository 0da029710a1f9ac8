"""Rules on training whole models."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.finetune import FineTuneText, TwoTexts
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rates import block_rates, text_rates
from sd_scripts.params.rules.learning import is_self_tuning, uses_relative_steps
from sd_scripts.params.rules.rule import Rule, were_given
from sd_scripts.params.saving import ModelFile

HIGH_RATE = 1e-4
USUAL_RATE = 1e-5


def rate_fits_a_model(config: Config) -> Iterator[Problem]:
    """A whole model breaks at a rate that suits a LoRA."""
    optimizer = config[Optimizer]
    if is_self_tuning(optimizer) or uses_relative_steps(optimizer):
        return
    if optimizer.learning_rate > HIGH_RATE:
        message = f"{optimizer.learning_rate:g} is very high for a whole model and will probably destroy it."
        yield warning("learning_rate", message, f"Use {USUAL_RATE:g} or less.", {"learning_rate": USUAL_RATE})


def a_part_learns(config: Config) -> Iterator[Problem]:
    """At least one rate is above 0, and the rates by block are 23 numbers."""
    family = FAMILIES[config.command.family]
    try:
        blocks = block_rates(config, family.blocks.count)
    except ValueError as reason:
        yield error("block_lr", str(reason).capitalize().rstrip(".") + ".", f"Give {family.blocks.count} numbers separated by commas.")
        return
    unet = any(blocks) if blocks else bool(config[Optimizer].learning_rate)
    if not unet and not any(text_rates(config, family.text_encoders)):
        yield error("learning_rate", "Nothing would be trained: every rate is 0.", f"Use {USUAL_RATE:g}.", {"learning_rate": USUAL_RATE})
    if blocks and "learning_rate" in config.given and not any(text_rates(config, family.text_encoders)):
        yield warning("learning_rate", "It has no effect: block_lr gives every block its own rate.", "Leave it out.")


def text_rates_need_training(config: Config) -> Iterator[Problem]:
    """Rates of text encoders that are not trained."""
    for section in (FineTuneText, TwoTexts):
        if section in config and not config[section].train_text_encoder:
            for name in were_given(config, "learning_rate_te", "learning_rate_te1", "learning_rate_te2"):
                yield warning(name, "It has no effect: the text encoder is not trained.", "Set train_text_encoder.", {"train_text_encoder": True})


def kind_of_file_is_stated_once(config: Config) -> Iterator[Problem]:
    """`use_safetensors` and a file format that says otherwise."""
    file = config[ModelFile]
    if file.use_safetensors and file.save_model_as == "ckpt":
        yield error("use_safetensors", "save_model_as asks for ckpt.", "Keep one of them.", {"use_safetensors": False})


RULES: tuple[Rule, ...] = (rate_fits_a_model, a_part_learns, text_rates_need_training, kind_of_file_is_stated_once)
