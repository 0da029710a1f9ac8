"""Rules on what is held to the model before training."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders, Masks, Regularisation
from sd_scripts.params.preservation import OutputPreservation
from sd_scripts.params.problem import Problem, error
from sd_scripts.params.rules.rule import Rule
from sd_scripts.params.text_cache import TextCache


def class_takes_a_triggers_place(config: Config) -> Iterator[Problem]:
    """A class needs the word that it replaces, and captions that can still be encoded."""
    options = config[OutputPreservation]
    if not options.preservation_class:
        return
    if not options.preservation_trigger:
        yield error("preservation_trigger", "No word is given whose place the class takes.", "Give the rare word of your captions.")
    elif options.preservation_trigger.strip().lower() == options.preservation_class.strip().lower():
        message = f"{options.preservation_trigger!r} is the class itself, so learning and preserving would cancel out."
        yield error("preservation_trigger", message, "Give the rare word of your captions.")
    if TextCache in config and config[TextCache].cache_text_encoder_outputs:
        yield error(
            "preservation_class",
            "Cached captions cannot be encoded again with the class in them.",
            "Turn cache_text_encoder_outputs off.",
            {"cache_text_encoder_outputs": False},
        )


def preserving_needs_regularisation(config: Config) -> Iterator[Problem]:
    """Without regularisation pictures there is nothing that the switch applies to."""
    if config[OutputPreservation].reg_output_preservation and not (config[Regularisation].reg_data_dir or config[Folders].dataset_config):
        yield error("reg_output_preservation", "There are no regularisation pictures.", "Give reg_data_dir, or leave it out.")


def outside_needs_masks(config: Config) -> Iterator[Problem]:
    """Without masks there is no outside."""
    masks = config[Masks]
    if config[OutputPreservation].masked_prior_weight and not (masks.masked_loss or masks.alpha_mask or config[Folders].dataset_config):
        yield error("masked_prior_weight", "There are no masks.", "Set masked_loss or alpha_mask, or leave it out.")


RULES: tuple[Rule, ...] = (class_takes_a_triggers_place, preserving_needs_regularisation, outside_needs_masks)
