"""What each layer gets from lycoris.kohya: algorithm, rank, alpha and settings, from the options and the preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sd_scripts.params.blocks import DEFAULT_RANK
from sd_scripts.params.config import Config
from sd_scripts.params.layers import Layer
from sd_scripts.params.lycoris import LycorisArgs
from sd_scripts.params.lycoris_presets import Preset, read_preset
from sd_scripts.params.network import AdapterArgs, LoRAArgs, Network

NORM = "norm"
"""The algorithm of norm layers, whatever that of the others is."""
_FASTER = frozenset({"loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio"})
_ADDING = _FASTER | {"use_tucker", "use_cp", "use_scalar", "dora_wd", "wd_on_output", "rs_lora", "rank_dropout", "rank_dropout_scale"}
HEEDED: Mapping[str, frozenset[str]] = MappingProxyType({
    "lora": _ADDING, "locon": _ADDING, "loha": _ADDING,
    "lokr": _ADDING | {"factor", "decompose_both", "full_matrix", "unbalanced_factorization"}, "glora": _FASTER | {"use_scalar", "rs_lora"},
    "full": frozenset({"rank_dropout", "rank_dropout_scale"}), "ia3": frozenset({"train_on_input"}), "dylora": _FASTER | {"block_size"},
    "diag-oft": frozenset({"constraint", "rescaled", "rank_dropout"}), "boft": frozenset({"constraint", "rescaled"}),
})  # fmt: skip
"""By kind, the arguments that change something in it. All heed `module_dropout`."""
_BYPASS = ("lora", "locon", "loha", "lokr", "ia3", "glora", "diag-oft", "boft")
"""Kinds that can add to the output."""
HEEDED_IN_BYPASS: Mapping[str, frozenset[str]] = MappingProxyType({
    **{algo: frozenset({"dropout"}) for algo in ("lora", "locon", "loha", "lokr")},
    "glora": frozenset({"dropout", "rank_dropout", "rank_dropout_scale"}),
})  # fmt: skip
"""What they heed there besides."""
LOST_IN_BYPASS: Mapping[str, frozenset[str]] = MappingProxyType({
    "lokr": frozenset({"rank_dropout", "rank_dropout_scale"}), "diag-oft": frozenset({"rank_dropout"}),
})  # fmt: skip
"""What they heed only elsewhere."""
_ASKED = frozenset().union(*HEEDED.values()) | {"dropout", "network_dropout", "bypass_mode"}


def heeds(algo: str, argument: str, *, bypass: bool) -> bool | None:
    """Whether an argument changes something in a kind; None for one that is heeded, or left alone, by all."""
    if argument not in _ASKED:
        return None
    if argument == "bypass_mode":
        return algo in _BYPASS
    argument = argument.removeprefix("network_")
    heeded = (HEEDED[algo] | HEEDED_IN_BYPASS.get(algo, frozenset())) - LOST_IN_BYPASS.get(algo, frozenset()) if bypass else HEEDED[algo]
    return argument in heeded


@dataclass(frozen=True, slots=True)
class LayerSettings:
    """What one layer gets; `options` are the settings by the package's names."""

    algo: str
    rank: int
    alpha: float
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LycorisRules:
    """The options, read once: `settings` answers for one layer. The preset is that of the options, except where it is given."""

    network: Network
    shared: LoRAArgs
    lycoris: LycorisArgs
    preset: Preset
    options: Mapping[str, Any]

    @classmethod
    def of(cls, config: Config) -> LycorisRules:
        """The rules of a config. Raises ConfigError: there is no such preset, or its file cannot be read."""
        lycoris = config[LycorisArgs]
        return cls(config[Network], config[LoRAArgs], lycoris, read_preset(lycoris.preset), MappingProxyType(_options(config)))

    def settings(self, layer: Layer) -> LayerSettings | None:
        """What a layer gets, None for nothing."""
        own = self.preset.own_of(layer, norms=self.lycoris.train_norm)
        if own is None:
            return None
        rank, alpha = self._rank_and_alpha(layer)
        given = {**self.options, **own}
        algo, rank, alpha = str(given.pop("algo", self.lycoris.algo)), int(given.pop("dim", rank)), float(given.pop("alpha", alpha))
        if not heeds(algo, "dropout", bypass=bool(given["bypass_mode"])):
            given["dropout"] = 0.0  # the package's diag-oft cannot compute with it
        return LayerSettings(NORM if layer.is_norm else algo, rank, alpha, given) if rank else None

    def _rank_and_alpha(self, layer: Layer) -> tuple[int, float]:
        rank, alpha = self.network.network_dim or DEFAULT_RANK, self.network.network_alpha
        if not layer.large_conv:
            return rank, alpha
        if not self.preset.enable_conv:
            return 0, 0.0
        return self.shared.conv_dim or rank, alpha if self.shared.conv_alpha is None else self.shared.conv_alpha


def _options(config: Config) -> dict[str, Any]:
    own, kinds, shared = config[LycorisArgs], config[AdapterArgs], config[LoRAArgs]
    return {
        "dropout": config[Network].network_dropout or own.dropout or 0.0, "rank_dropout": shared.rank_dropout or 0.0,
        "module_dropout": shared.module_dropout or 0.0, "use_tucker": kinds.use_tucker or own.use_cp, "use_scalar": own.use_scalar,
        "rank_dropout_scale": own.rank_dropout_scale, "weight_decompose": kinds.dora_wd, "wd_on_out": own.wd_on_output,
        "bypass_mode": own.bypass_mode or None, "rs_lora": kinds.rs_lora, "decompose_both": kinds.decompose_both, "factor": kinds.factor,
        "full_matrix": kinds.full_matrix, "unbalanced_factorization": own.unbalanced_factorization, "block_size": own.block_size,
        "constraint": float(own.constraint or 0.0), "rescaled": own.rescaled, "train_on_input": own.train_on_input,
    }  # fmt: skip
