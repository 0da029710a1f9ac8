"""Rules on optimizers that find one rate for all weights: whatever gives a part a rate of its own is refused."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import ConfigError
from sd_scripts.params.blocks import lr_weights
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.network import AdapterArgs, LoRAArgs, Network
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem, error
from sd_scripts.params.rates import block_rates, text_rates
from sd_scripts.params.rules.learning import optimizer_name, takes_one_rate
from sd_scripts.params.rules.rule import Rule, were_given
from sd_scripts.params.word import LearntWord, PivotalTuning

_TEXT = ("learning_rate_te", "learning_rate_te1", "learning_rate_te2")
_RATIOS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
_WEIGHTS = ("down_lr_weight", "mid_lr_weight", "up_lr_weight")


def one_rate_for_all(config: Config) -> Iterator[Problem]:
    """Prodigy and most of the D-Adaptation family compare all weights; with several rates they end at the first step."""
    optimizer = config[Optimizer]
    if not takes_one_rate(optimizer):
        return
    for name in _network_rates(config) if Network in config else _model_rates(config):
        message = f"{optimizer_name(optimizer)} finds one rate for all weights and cannot work with others beside it."
        yield error(name, message, "Give all parts the same rate, or use an optimizer without a rate of its own.")


def _network_rates(config: Config) -> Iterator[str]:
    """Options that give a part of an adapter another rate."""
    network, base = config[Network], config[Optimizer].learning_rate
    unet = 0.0 if network.network_train_text_encoder_only else base if network.unet_lr is None else network.unet_lr
    text = () if network.network_train_unet_only else network.text_encoder_lr or (base,)
    if len({unet, *text} - {0.0}) > 1:
        yield from were_given(config, "unet_lr", "text_encoder_lr")[:1]
    yield from (name for name in _RATIOS if getattr(config[LoRAArgs], name) not in (None, 0, 1))
    try:
        weights = lr_weights(config[LoRAArgs], FAMILIES[config.command.family].blocks) or ()
    except ConfigError:
        weights = ()
    if len({*weights} - {0.0}) > 1:
        yield from were_given(config, *_WEIGHTS)[:1]
    if config[AdapterArgs].network_reg_lrs:
        yield "network_reg_lrs"
    own = config[PivotalTuning].embedding_lr if PivotalTuning in config and config[LearntWord].token_string else None
    if own and own not in (unet, *text):
        yield "embedding_lr"


def _model_rates(config: Config) -> Iterator[str]:
    """Options that give a part of a whole model another rate."""
    family = FAMILIES[config.command.family]
    try:
        blocks = block_rates(config, family.blocks.count)
    except ValueError:
        return
    unet = {*(blocks or (config[Optimizer].learning_rate,))} - {0.0}
    if len(unet) > 1:
        yield "block_lr"
    elif len(unet | ({*text_rates(config, family.text_encoders)} - {0.0})) > 1:
        yield from were_given(config, *_TEXT, "block_lr")[:1]


RULES: tuple[Rule, ...] = (one_rate_for_all,)
