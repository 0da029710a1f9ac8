"""Options: the kinds of adapters of the lycoris-lora package."""

from __future__ import annotations

from typing import Literal

from sd_scripts.errors import ConfigError
from sd_scripts.params.network import LYCORIS_MODULE
from sd_scripts.params.spec import param, section

_ITS_OWN = {"network_module": LYCORIS_MODULE}


@section("LyCORIS", sink="list:network_args", when=_ITS_OWN)
class LycorisArgs:
    """Typed form of `network_args` for the kinds of the lycoris-lora package."""

    algo: Literal["lora", "locon", "loha", "lokr", "ia3", "dylora", "glora", "full", "diag-oft", "boft"] = param(
        "lora",
        "The kind of adapter. full trains whole weights, ia3 only scales of activations, diag-oft and boft turn weights.",
        label="Algorithm",
        when=_ITS_OWN,
    )
    preset: str = param(
        "full",
        "Which layers: a name of the package's, or a TOML file with lists of layers and their own settings.",
        label="Preset",
        suggestions=("full", "full-lin", "attn-mlp", "attn-only", "unet-only", "unet-transformer-only", "unet-convblock-only", "ia3"),
        when=_ITS_OWN,
    )
    dropout: float | None = param(
        None,
        "Share of inner values set to 0 at random, as network_dropout. The package does so only with bypass.",
        min=0,
        max=1,
        step=0.05,
        when={**_ITS_OWN, "bypass_mode": True},
    )
    use_cp: bool = param(False, "An older name of Tucker decomposition.", label="Tucker (old name)", when=_ITS_OWN)
    use_scalar: bool = param(
        False,
        "Learn one more number per layer that scales it, so that all factors can start away from zero.",
        label="Scalar",
        when=_ITS_OWN,
    )
    rank_dropout_scale: bool = param(False, "Make up for dropped ranks by scaling the rest.", label="Scale after rank dropout", when=_ITS_OWN)
    bypass_mode: bool = param(
        False,
        "Add to the output instead of to the weight: less memory for quantised layers, slower for others.",
        label="Bypass",
        when=_ITS_OWN,
    )
    block_size: int = param(4, "Ranks that learn together (dylora).", label="Block size", min=1, step=1, when={**_ITS_OWN, "algo": "dylora"})
    constraint: float | None = param(
        None,
        "How far weights may be turned (diag-oft, boft). Empty: without limit.",
        label="Constraint",
        min=0,
        when={**_ITS_OWN, "algo": ("diag-oft", "boft")},
    )
    rescaled: bool = param(
        False,
        "Learn a scale for each turned output too (diag-oft, boft).",
        label="Rescaled",
        when={**_ITS_OWN, "algo": ("diag-oft", "boft")},
    )
    train_on_input: bool = param(False, "Scale inputs instead of outputs (ia3).", label="Train on input", when={**_ITS_OWN, "algo": "ia3"})
    wd_on_output: bool = param(
        True,
        "DoRA by outputs, as other programs do it; off: by inputs.",
        label="DoRA by outputs",
        when={**_ITS_OWN, "dora_wd": True},
    )
    unbalanced_factorization: bool = param(False, "Swap the parts of one side (lokr).", label="Unbalanced factors", when={**_ITS_OWN, "algo": "lokr"})
    train_norm: bool = param(False, "Train norm layers too, where the preset reaches.", label="Norm layers", when=_ITS_OWN)


def refuse_elsewhere(field: str, algo: object) -> None:
    """Refuse the one algorithm of the package that is made here in another way.

    Raises:
        ConfigError: it is T-LoRA.
    """
    if str(algo).strip() == "tlora":
        raise ConfigError(
            field,
            "T-LoRA (algo=tlora) is not offered: the package's files of it leave out the factors that it began with, and mean nothing without them.",
            fix="Use network_module networks.lora with tlora_min_rank=1 in network_args: T-LoRA in the form of an ordinary LoRA.",
        )
