"""Options: the LoRA that is trained."""

from __future__ import annotations

from sd_scripts.params.spec import param, section

LORA_MODULE, LORA_FA_MODULE, DYLORA_MODULE = "networks.lora", "networks.lora_fa", "networks.dylora"
LOHA_MODULE, LOKR_MODULE, OFT_MODULE = "networks.loha", "networks.lokr", "networks.oft"
LYCORIS_MODULE = "lycoris.kohya"
OWN_MODULES = (LORA_MODULE, LORA_FA_MODULE, DYLORA_MODULE, LOHA_MODULE, LOKR_MODULE, OFT_MODULE)
"""Adapters that are built here; `LYCORIS_MODULE` is a package's."""
MODULES = (*OWN_MODULES, LYCORIS_MODULE)
PRODUCTS = (LORA_MODULE, LORA_FA_MODULE)
"""Adapters that are a product of two factors."""
DELTAS = (*PRODUCTS, LOHA_MODULE, LOKR_MODULE)
"""Adapters that add something to a layer's weight."""
RANKED = (*DELTAS, DYLORA_MODULE)
"""Adapters with a rank for each layer."""

_WITH_FAST_FACTOR = (LORA_MODULE, DYLORA_MODULE, LOHA_MODULE, LOKR_MODULE, LYCORIS_MODULE)
"""Adapters of which LoRA+ can train a part faster."""
BLOCKS_WITHOUT_ATTENTION = {
    "sd": (0, 3, 6, 9, 10, 11, 13, 14, 15),
    "sdxl": (0, 1, 2, 3, 6, 10, 12, 19, 20, 21, 22),
}
"""By family, indices (from 0) of the U-Net blocks that hold no attention. Only a conv rank has an effect there."""


@section("LoRA")
class Network:
    """The adapter that is trained."""

    network_module: str | None = param(
        None,
        "The kind of adapter. networks.lora is the LoRA that every program loads; LoHa and LoKr hold more in small files, OFT turns weights.",
        label="Adapter",
        suggestions=MODULES,
    )
    network_dim: int | None = param(
        None,
        "Rank of the LoRA: how much it can hold. 8 to 32 suffices for a person or a thing, more for a style; the file grows with it. Empty: 4.",
        label="Rank",
        min=1,
        step=1,
        advanced=False,
    )
    network_alpha: float = param(
        1.0,
        "The LoRA's strength is alpha divided by rank, so a lower alpha asks for a higher rate. Half the rank is common; 0 means the rank itself.",
        label="Alpha",
        min=0,
        step=1,
        advanced=False,
    )
    network_dropout: float | None = param(
        None,
        "Share of the LoRA's inner values set to 0 at random in each step, against learning by heart. 0.1 is much.",
        label="Dropout",
        min=0,
        max=1,
        step=0.05,
    )
    unet_lr: float | None = param(None, "Learning rate of the U-Net. Empty: the main rate. 0: the U-Net is not trained.", label="U-Net rate", min=0)
    text_encoder_lr: tuple[float, ...] | None = param(
        None,
        "Learning rate of the text encoder, usually half the main rate or less. Empty: the main rate. 0: it is not trained, which is often enough.",
        label="Text encoder rate",
        min=0,
    )
    stop_text_encoder_training: int | float | None = param(
        None,
        "Stop training the text encoder after this many steps; below 1, or as 50%, after this share of the run. 0 or empty: never; -1: at once.",
        label="Stop text encoder",
        min=-1,
        own=True,
    )
    network_train_unet_only: bool = param(
        False, "Train the U-Net only, and leave the text encoder as it is: less memory, words keep their meaning.", label="U-Net only"
    )
    network_train_text_encoder_only: bool = param(False, "Train the text encoder only, and leave the U-Net as it is.", label="Text encoder only")
    network_weights: str | None = param(None, "A LoRA file to go on from. It is read, not overwritten.", label="Continue from LoRA", path="file")
    dim_from_weights: bool = param(
        False,
        "Take rank and alpha from that LoRA file instead of from the fields above.",
        label="Rank from that LoRA",
        when={"network_weights": True},
    )
    base_weights: tuple[str, ...] | None = param(
        None, "LoRA files that are merged into the base model before training starts.", label="Merge LoRAs first", path="file"
    )
    base_weights_multiplier: tuple[float, ...] | None = param(
        None, "Strength of each merged LoRA, in the same order. Missing ones count 1.", label="Their strengths", when={"base_weights": True}
    )
    scale_weight_norms: float | None = param(
        None,
        "Keep the norm of each LoRA layer at or below this; 1 is a start. Against overtraining. 0 or empty: off.",
        label="Limit weight norms",
        min=0,
        step=0.1,
    )
    network_args: tuple[str, ...] | None = param(
        None,
        "Arguments of the adapter as key=value, as kohya writes them. The fields of the section below are the same, typed.",
        label="Adapter arguments",
    )


@section("LoRA blocks and dropout", sink="list:network_args")
class LoRAArgs:
    """Typed form of `network_args`, kohya's `key=value` words: what several adapters take."""

    conv_dim: int | None = param(
        None,
        "Also train the 3x3 convolutions (LoCon), with this rank. Holds more style; the file grows. Empty: off.",
        label="Conv rank",
        min=1,
        step=1,
        when={"network_module": (*RANKED, LYCORIS_MODULE)},
    )
    conv_alpha: float | None = param(
        None,
        "Alpha of the convolutions. Empty: 1.",
        label="Conv alpha",
        min=0,
        step=1,
        when={"network_module": (*RANKED, LYCORIS_MODULE), "conv_dim": True},
    )
    rank_dropout: float | None = param(
        None, "Share of ranks switched off at random for each picture.", min=0, max=1, step=0.05, when={"network_module": (*DELTAS, LYCORIS_MODULE)}
    )
    module_dropout: float | None = param(
        None,
        "Share of whole LoRA layers switched off at random in each step.",
        label="Layer dropout",
        min=0,
        max=1,
        step=0.05,
        when={"network_module": (*DELTAS, LYCORIS_MODULE)},
    )
    loraplus_lr_ratio: float | None = param(
        None,
        "LoRA+: train the second matrix of each pair at this many times the rate. 16 is the paper's value; learns faster.",
        label="LoRA+ ratio",
        min=0,
        step=1,
        when={"network_module": _WITH_FAST_FACTOR},
    )
    loraplus_unet_lr_ratio: float | None = param(
        None, "LoRA+ ratio of the U-Net alone.", label="LoRA+ ratio, U-Net", min=0, step=1, when={"network_module": _WITH_FAST_FACTOR}
    )
    loraplus_text_encoder_lr_ratio: float | None = param(
        None, "LoRA+ ratio of the text encoder alone.", label="LoRA+ ratio, text encoder", min=0, step=1, when={"network_module": _WITH_FAST_FACTOR}
    )
    block_dims: str | None = param(
        None,
        "Rank of each of the 25 U-Net blocks, separated by commas: 12 down, 1 mid, 12 up. Nine of them have no attention and ignore it.",
        label="Block ranks",
        when={"network_module": RANKED},
    )
    block_alphas: str | None = param(
        None, "Alpha of each of the 25 U-Net blocks. Empty: alpha for all.", label="Block alphas", when={"network_module": RANKED, "block_dims": True}
    )
    conv_block_dims: str | None = param(None, "Conv rank of each of the 25 U-Net blocks.", label="Block conv ranks", when={"network_module": RANKED})
    conv_block_alphas: str | None = param(
        None, "Conv alpha of each of the 25 U-Net blocks.", label="Block conv alphas", when={"network_module": RANKED, "conv_block_dims": True}
    )
    down_lr_weight: str | None = param(
        None,
        "Factors of the rate for the 12 down blocks, or one of cosine, sine, linear, reverse_linear, zeros, optionally with +base.",
        label="Down block weights",
        suggestions=("cosine", "sine", "linear", "reverse_linear", "zeros"),
        when={"network_module": RANKED},
    )
    mid_lr_weight: str | None = param(None, "Factor of the rate for the mid block.", label="Mid block weight", when={"network_module": RANKED})
    up_lr_weight: str | None = param(
        None,
        "Factors of the rate for the 12 up blocks, as for the down blocks.",
        label="Up block weights",
        suggestions=("cosine", "sine", "linear", "reverse_linear", "zeros"),
        when={"network_module": RANKED},
    )
    block_lr_zero_threshold: float | None = param(
        None,
        "Blocks whose factor is this or less get no LoRA at all. Empty: 0.",
        label="Drop blocks up to weight",
        min=0,
        step=0.05,
        when={"network_module": RANKED},
    )


@section("Kind of adapter", sink="list:network_args")
class AdapterArgs:
    """Typed form of `network_args`: what only some adapters take, and which layers get one."""

    dora_wd: bool = param(
        False,
        "DoRA: learn the length of each row of a weight apart from its direction. Often closer to full training; each step takes longer.",
        label="DoRA",
        when={"network_module": (*DELTAS, LYCORIS_MODULE)},
    )
    rs_lora: bool = param(
        False,
        "Divide alpha by the root of the rank instead of the rank, so that high ranks learn as fast as low ones. Other programs see the same LoRA.",
        label="Rank-stabilised",
        when={"network_module": (*DELTAS, LYCORIS_MODULE)},
    )
    pissa: bool = param(
        False,
        "Start from the strongest directions of the model's own weights (PiSSA) instead of from nothing: learns faster. The file has twice the rank.",
        label="PiSSA start",
        when={"network_module": LORA_MODULE},
        own=True,
    )
    tlora_min_rank: int | None = param(
        None,
        "T-LoRA: noisy timesteps train only the first ranks, at least this many; clean ones train all. Against learning poses by heart. Empty: off.",
        label="T-LoRA least rank",
        min=1,
        step=1,
        when={"network_module": PRODUCTS},
        own=True,
    )
    tlora_alpha: float = param(
        1.0,
        "How fast the ranks come with clean timesteps; above 1 later, below 1 earlier.",
        label="T-LoRA curve",
        min=0,
        exclusive_min=True,
        step=0.1,
        when={"network_module": PRODUCTS, "tlora_min_rank": True},
        own=True,
    )
    unit: int = param(
        1,
        "Ranks that learn together in a step. The rank must be a multiple.",
        label="Ranks at once",
        min=1,
        step=1,
        when={"network_module": DYLORA_MODULE},
    )
    factor: int = param(
        -1,
        "Into how large parts each side of a weight is split, at most. Smaller holds more and makes larger files. -1: about the root.",
        label="Factor",
        min=-1,
        step=1,
        when={"network_module": (LOKR_MODULE, LYCORIS_MODULE)},
    )
    decompose_both: bool = param(
        False,
        "Make the small matrix a product too: smaller files.",
        label="Decompose both",
        when={"network_module": (LOKR_MODULE, LYCORIS_MODULE)},
    )
    full_matrix: bool = param(
        False,
        "Use the large matrix whole, whatever the rank: holds most, largest file.",
        label="Whole matrix",
        when={"network_module": (LOKR_MODULE, LYCORIS_MODULE)},
    )
    use_tucker: bool = param(
        False,
        "Tucker decomposition of 3x3 convolutions: much smaller there. Needs a conv rank.",
        label="Tucker",
        when={"network_module": (LOHA_MODULE, LOKR_MODULE, LYCORIS_MODULE)},
    )
    enable_all_linear: bool = param(
        False,
        "Turn all linear layers of the attention blocks, not only queries, keys, values.",
        label="All linear layers",
        when={"network_module": OFT_MODULE},
    )
    enable_conv: bool = param(False, "Turn the convolutions too.", label="Convolutions", when={"network_module": OFT_MODULE})
    include_patterns: str | None = param(
        None,
        "Layers that are trained although they match exclude_patterns; written the same way.",
        label="But with layers",
        when={"network_module": OWN_MODULES},
    )
    exclude_patterns: str | None = param(
        None,
        "Leave out layers whose name matches one of these, separated by commas: *attn1* or a regular expression. The plan lists what is trained.",
        label="Without layers",
        when={"network_module": OWN_MODULES},
    )
    network_reg_dims: str | None = param(
        None,
        "Other ranks for layers whose name matches, such as *attn2*=16,*ff*=4. The first that matches counts.",
        label="Ranks by name",
        when={"network_module": RANKED},
    )
    network_reg_lrs: str | None = param(
        None,
        "Other learning rates for layers whose name matches, such as *attn2*=1e-4. The first that matches counts.",
        label="Rates by name",
        when={"network_module": OWN_MODULES},
    )
