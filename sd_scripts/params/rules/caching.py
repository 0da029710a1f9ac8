"""Rules on what is computed once and kept."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.params.cache import Cache
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.network import Network
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rates import text_rates
from sd_scripts.params.rules.network import trains_text_encoder
from sd_scripts.params.rules.rule import Rule
from sd_scripts.params.text import ClipText
from sd_scripts.params.text_cache import TextCache

OPTION = "cache_text_encoder_outputs"


def cached_captions_do_not_learn(config: Config) -> Iterator[Problem]:
    """An encoded caption stays as it was: the text encoders cannot be trained, and captions have one length."""
    if TextCache not in config or not config[TextCache].cache_text_encoder_outputs:
        return
    if Network in config and trains_text_encoder(config):
        yield error(
            OPTION,
            "The text encoders are trained, so their output changes.",
            "Set network_train_unet_only, or turn it off.",
            {"network_train_unet_only": True},
        )
    if any(text_rates(config, FAMILIES[config.command.family].text_encoders)):
        yield error(OPTION, "The text encoders are trained, so their output changes.", "Turn train_text_encoder off, or this.", {OPTION: False})
    if config[ClipText].no_token_padding:
        yield error("no_token_padding", f"With {OPTION} all captions have one length.", "Leave one of the two out.")


def only_files_are_checked(config: Config) -> Iterator[Problem]:
    """What lies in memory was made by this run."""
    files = config[Cache].cache_latents_to_disk or (TextCache in config and config[TextCache].cache_text_encoder_outputs_to_disk)
    if config[Cache].skip_cache_check and not files:
        yield warning("skip_cache_check", "It has no effect: nothing is cached on disk.", "Set cache_latents_to_disk, or leave it out.")


RULES: tuple[Rule, ...] = (cached_captions_do_not_learn, only_files_are_checked)
