"""Rules between options: each a small function from a config to its problems. A new rule is a function and its name in the tuple of its file."""

from __future__ import annotations

from sd_scripts.params.rules import learning, network, pictures, run
from sd_scripts.params.rules.rule import Rule

RULES: tuple[Rule, ...] = (*run.RULES, *pictures.RULES, *learning.RULES, *network.RULES)
