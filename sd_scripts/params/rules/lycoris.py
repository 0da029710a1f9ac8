"""Rules on lycoris.kohya: its preset can be read, and what is asked of its kinds is something that they heed."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import ConfigError
from sd_scripts.params.config import Config
from sd_scripts.params.lycoris import LycorisArgs
from sd_scripts.params.lycoris_layers import heeds
from sd_scripts.params.lycoris_presets import read_preset
from sd_scripts.params.network import LYCORIS_MODULE, Network
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules.rule import Rule, as_problem


def preset_is_readable(config: Config) -> Iterator[Problem]:
    """A name of the package's, or a TOML file without mistakes."""
    if config[Network].network_module != LYCORIS_MODULE:
        return
    try:
        read_preset(config[LycorisArgs].preset)
    except ConfigError as refused:
        yield as_problem(refused)


def kinds_heed_what_is_asked(config: Config) -> Iterator[Problem]:
    """Arguments that none of the kinds in use has."""
    if config[Network].network_module != LYCORIS_MODULE or any(preset_is_readable(config)):
        return
    preset, own = read_preset(config[LycorisArgs].preset), config[LycorisArgs]
    rows = (*preset.module_algo_map.values(), *preset.name_algo_map.values())
    algorithms = {own.algo, *(str(row["algo"]) for row in rows if "algo" in row)}
    for name in config.given:
        if heeds(own.algo, name, bypass=True) is None or config.value(name) == config.command.parameter(name).default:
            continue
        if not any(heeds(algo, name, bypass=own.bypass_mode) for algo in algorithms):
            message = f"It has no effect: {', '.join(sorted(algorithms))} ignores it."
            if any(heeds(algo, name, bypass=not own.bypass_mode) for algo in algorithms):
                with_it = f"It has no effect: {', '.join(sorted(algorithms))} ignores it with bypass_mode."
                message = with_it if own.bypass_mode else f"It has no effect: {', '.join(sorted(algorithms))} ignores it without bypass_mode."
            yield warning(name, message, "Leave it out, or choose another algo.")


def norms_can_be_limited(config: Config) -> Iterator[Problem]:
    """What turns weights adds nothing that could be shrunk."""
    network = config[Network]
    if network.network_module == LYCORIS_MODULE and network.scale_weight_norms and config[LycorisArgs].algo in ("diag-oft", "boft"):
        message = f"It has no meaning with {config[LycorisArgs].algo}: there is no product to shrink."
        yield error("scale_weight_norms", message, "Turn it off.")


RULES: tuple[Rule, ...] = (preset_is_readable, kinds_heed_what_is_asked, norms_can_be_limited)
