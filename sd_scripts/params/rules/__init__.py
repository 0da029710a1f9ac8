"""Rules between options: each a small function from a config to its problems. A new rule is a function and its name in the tuple of its file."""

from __future__ import annotations

from sd_scripts.params.config import Config
from sd_scripts.params.network import Network
from sd_scripts.params.preservation import OutputPreservation
from sd_scripts.params.rules import caching, finetune, learning, network, one_rate, pictures, precision, preservation, run, updating, word
from sd_scripts.params.rules.rule import Rule
from sd_scripts.params.saving import ModelFile
from sd_scripts.params.word import LearntWord


def rules_for(config: Config) -> tuple[Rule, ...]:
    """The rules that concern this config's command."""
    always = (*run.RULES, *pictures.RULES, *learning.RULES, *one_rate.RULES, *updating.RULES, *caching.RULES, *precision.RULES)
    by_section = {Network: network.RULES, ModelFile: finetune.RULES, OutputPreservation: preservation.RULES, LearntWord: word.RULES}
    return (*always, *(rule for part, rules in by_section.items() if part in config for rule in rules))
