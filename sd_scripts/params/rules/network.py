"""Rules on the adapter: rank, alpha, blocks, what it starts from and what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from sd_scripts.errors import ConfigError
from sd_scripts.params.blocks import DEFAULT_RANK, BlockRanks, lr_weights
from sd_scripts.params.config import Config, takes
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.layers import LayerRules, by_name
from sd_scripts.params.lycoris import LycorisArgs
from sd_scripts.params.network import (
    BLOCKS_WITHOUT_ATTENTION,
    DYLORA_MODULE,
    LOHA_MODULE,
    LOKR_MODULE,
    LORA_MODULE,
    LYCORIS_MODULE,
    MODULES,
    OFT_MODULE,
    OWN_MODULES,
    AdapterArgs,
    LoRAArgs,
    Network,
)
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules.lycoris import RULES as LYCORIS_RULES
from sd_scripts.params.rules.rule import Rule, as_problem, were_given
from sd_scripts.params.spec import section_of
from sd_scripts.params.values import nearest

OTHER_FAMILIES = (
    "networks.lora_flux",
    "networks.lora_sd3",
    "networks.lora_lumina",
    "networks.lora_anima",
    "networks.lora_hunyuan_image",
    "networks.oft_flux",
)


def module_is_known(config: Config) -> Iterator[Problem]:
    """The adapter is named, and built."""
    module = config[Network].network_module
    if module in OWN_MODULES:
        return
    if not module:
        yield error("network_module", "No adapter is given.", f"Write {LORA_MODULE}.", {"network_module": LORA_MODULE})
    elif module == LYCORIS_MODULE:
        if find_spec("lycoris") is None:
            yield error("network_module", f"{module} needs the package lycoris-lora, which is not installed.", "Run python setup.py extras lycoris.")
    elif module in OTHER_FAMILIES:
        yield error(
            "network_module",
            f"{module} is for another model family than {config.command.title}.",
            f"Use {LORA_MODULE}.",
            {"network_module": LORA_MODULE},
        )
    else:
        near = nearest(module, MODULES)
        yield error(
            "network_module",
            f"{module!r} is no known adapter.",
            f"Did you mean {near}?" if near else f"Use {LORA_MODULE}.",
            {"network_module": near or LORA_MODULE},
        )


def alpha_stays_below_rank(config: Config) -> Iterator[Problem]:
    """Alpha divided by rank is the strength; above 1 it multiplies the rate."""
    network, arguments = config[Network], config[LoRAArgs]
    rank = network.network_dim or DEFAULT_RANK
    if network.network_module == OFT_MODULE:
        return
    if network.network_alpha > rank and not network.dim_from_weights:
        message = f"Alpha {network.network_alpha:g} is above the rank, {rank}: the LoRA learns {network.network_alpha / rank:g} times as fast."
        yield warning("network_alpha", message, f"Use {rank} or less.", {"network_alpha": rank})
    if arguments.conv_dim and arguments.conv_alpha is not None and arguments.conv_alpha > arguments.conv_dim:
        yield warning(
            "conv_alpha", f"Conv alpha {arguments.conv_alpha:g} is above the conv rank, {arguments.conv_dim}.", f"Use {arguments.conv_dim} or less."
        )


def weights_give_the_rank(config: Config) -> Iterator[Problem]:
    """A rank from a file needs the file, and replaces the rank that is given."""
    network = config[Network]
    if not network.dim_from_weights:
        return
    if not network.network_weights:
        yield error("dim_from_weights", "There is no LoRA file to take the rank from.", "Name one with network_weights, or leave it out.")
    for name in were_given(config, "network_dim", "network_alpha", "conv_dim", "conv_alpha", "block_dims"):
        yield warning(name, "It has no effect: rank and alpha come from the LoRA file.", "Leave it out.")


def merged_loras_have_strengths(config: Config) -> Iterator[Problem]:
    """No more strengths than files."""
    network = config[Network]
    files, strengths = network.base_weights or (), network.base_weights_multiplier or ()
    if len(strengths) > len(files) > 0:
        yield error(
            "base_weights_multiplier", f"{len(strengths)} strengths are given for {len(files)} files.", "Give one for each file, in the same order."
        )


def something_is_trained(config: Config) -> Iterator[Problem]:
    """At least one part has a rate above 0."""
    network, optimizer = config[Network], config[Optimizer]
    if network.network_train_unet_only and network.network_train_text_encoder_only:
        yield error("network_train_text_encoder_only", "network_train_unet_only excludes it.", "Keep one of them, or none to train both.")
        return
    unet = (optimizer.learning_rate if network.unet_lr is None else network.unet_lr) and not network.network_train_text_encoder_only
    text = trains_text_encoder(config)
    if not unet and not text:
        yield error(
            "learning_rate",
            "Nothing would be trained: every rate is 0 or its part is switched off.",
            "Give the U-Net or the text encoder a rate above 0.",
        )


def trains_text_encoder(config: Config) -> bool:
    """Whether the text encoder is trained at all, as far as the options tell."""
    network = config[Network]
    if network.network_train_unet_only or network.stop_text_encoder_training == -1:
        return False
    return any(network.text_encoder_lr) if network.text_encoder_lr else bool(config[Optimizer].learning_rate)


def as_many_rates_as_encoders(config: Config) -> Iterator[Problem]:
    """No more rates than text encoders."""
    rates, encoders = config[Network].text_encoder_lr or (), FAMILIES[config.command.family].text_encoders
    if len(rates) > encoders:
        counting = ", ".join(f"{rate:g}" for rate in rates[:encoders])
        if encoders == 1:
            yield warning("text_encoder_lr", f"This model has one text encoder: {counting} counts, the rest is ignored.", "Give one rate.")
        else:
            message = f"This model has {encoders} text encoders: {counting} count, the rest is ignored."
            yield warning("text_encoder_lr", message, f"Give {encoders}.")


def text_encoder_can_stop(config: Config) -> Iterator[Problem]:
    """-1 is the only negative value with a meaning, and only what is trained can stop."""
    network = config[Network]
    stop = network.stop_text_encoder_training
    if stop is not None and -1 < stop < 0:
        yield error("stop_text_encoder_training", f"{stop:g} has no meaning.", "Use -1 never to train the text encoder, 0 never to stop.")
    elif stop and stop > 0 and not trains_text_encoder(config):
        yield warning("stop_text_encoder_training", "It has no effect: the text encoder is not trained.", "Leave it out.")


def block_lists_are_readable(config: Config) -> Iterator[Problem]:
    """25 values for the lists by block; where there is no attention, a rank has no effect."""
    if config[Network].network_module not in (None, *OWN_MODULES):
        return
    try:
        ranks = LayerRules.of(config, FAMILIES[config.command.family].blocks).ranks
        by_name("network_reg_lrs", config[AdapterArgs].network_reg_lrs)
    except ConfigError as refused:
        yield as_problem(refused)
        return
    yield from _ignored_ranks(config, ranks)
    yield from _blocks_without_adapter(config)


def _ignored_ranks(config: Config, ranks: BlockRanks) -> Iterator[Problem]:
    if "block_dims" not in config.given or ranks.conv_ranks is not None:
        return
    without = BLOCKS_WITHOUT_ATTENTION.get(config.command.family, ())
    ignored = [index + 1 for index in without if ranks.ranks[index]]
    if ignored:
        places = ", ".join(map(str, ignored))
        yield warning("block_dims", f"Values {places} have no effect: those blocks hold no attention.", "Set conv_dim to train their convolutions.")


def _blocks_without_adapter(config: Config) -> Iterator[Problem]:
    arguments = config[LoRAArgs]
    weights = lr_weights(arguments, FAMILIES[config.command.family].blocks)
    if weights is None:
        return
    dropped = [index + 1 for index, weight in enumerate(weights) if not weight]
    if dropped:
        threshold = arguments.block_lr_zero_threshold or 0
        field = were_given(config, "down_lr_weight", "mid_lr_weight", "up_lr_weight")[0]
        message = f"Blocks {', '.join(map(str, dropped))} get no LoRA: their weight is {threshold:g} or less."
        yield warning(field, message, "Raise the weight, or lower block_lr_zero_threshold, if they should learn.")


def arguments_belong_to_the_adapter(config: Config) -> Iterator[Problem]:
    """Arguments of another kind of adapter."""
    module = config[Network].network_module or LORA_MODULE
    if module not in MODULES:
        return
    for section in (LoRAArgs, AdapterArgs, LycorisArgs):
        for parameter in section_of(section).params:
            told = parameter.hints.unavailable is not None
            if not told and parameter.name in config.given and not takes(parameter, module) and config.value(parameter.name) != parameter.default:
                yield error(parameter.name, f"{module} has no such argument.", "Leave it out, or choose another network_module.")


def kinds_go_together(config: Config) -> Iterator[Problem]:
    """What changes a weight otherwise than by adding a product."""
    network, kinds = config[Network], config[AdapterArgs]
    module = network.network_module
    turned = module == OFT_MODULE
    if network.scale_weight_norms and (turned or kinds.dora_wd or kinds.pissa):
        what = OFT_MODULE if turned else "dora_wd" if kinds.dora_wd else "pissa"
        yield error("scale_weight_norms", f"It has no meaning with {what}: there is no product to shrink.", "Turn one of them off.")
    if kinds.dora_wd and kinds.pissa:
        yield error("pissa", "It cannot be combined with dora_wd.", "Turn one of them off.")
    if network.network_dropout and module in (LOHA_MODULE, LOKR_MODULE, DYLORA_MODULE, OFT_MODULE):
        yield error("network_dropout", f"{module} has no inner values to drop.", "Use rank_dropout or module_dropout, or leave it out.")
    if network.network_dropout and module == LYCORIS_MODULE and not config[LycorisArgs].bypass_mode:
        yield warning("network_dropout", f"It has no effect: {module} drops inner values only with bypass_mode.", "Set it, or use rank_dropout.")
    rank = network.network_dim or DEFAULT_RANK
    if module == DYLORA_MODULE and rank % kinds.unit:
        yield error("unit", f"The rank {rank} is no multiple of {kinds.unit}.", f"Use a rank that {kinds.unit} divides.")
    if kinds.tlora_min_rank and kinds.tlora_min_rank > rank:
        yield error("tlora_min_rank", f"{kinds.tlora_min_rank} is more than the rank, {rank}.", f"Use 1 to {rank}.")
    if turned and network.network_alpha >= 1:
        message = f"Alpha {network.network_alpha:g} bounds nothing: for {OFT_MODULE} it limits how far weights are turned."
        yield warning("network_alpha", message, "Use 1e-3.", {"network_alpha": 1e-3})


def something_is_left_to_learn(config: Config) -> Iterator[Problem]:
    """Dropouts leave something."""
    shared = {"network_dropout": config[Network].network_dropout, "rank_dropout": config[LoRAArgs].rank_dropout}
    for name, share in {**shared, "module_dropout": config[LoRAArgs].module_dropout}.items():
        if share == 1:
            yield error(name, "1 drops everything: nothing would be learnt.", "Use 0.1 to 0.5.")


RULES: tuple[Rule, ...] = (
    module_is_known,
    alpha_stays_below_rank,
    weights_give_the_rank,
    merged_loras_have_strengths,
    something_is_trained,
    as_many_rates_as_encoders,
    text_encoder_can_stop,
    block_lists_are_readable,
    arguments_belong_to_the_adapter,
    kinds_go_together,
    something_is_left_to_learn,
    *LYCORIS_RULES,
)
