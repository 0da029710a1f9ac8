"""What a rule is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

from sd_scripts.errors import ConfigError
from sd_scripts.params.config import Config
from sd_scripts.params.problem import Problem, error

Rule = Callable[[Config], Iterator[Problem]]


def is_installed(package: str) -> bool:
    """Whether a top-level package can be imported, found without importing it."""
    return importlib.util.find_spec(package) is not None


def as_problem(refused: ConfigError) -> Problem:
    """A refusal as an error of the option that it names."""
    return error(refused.field, refused.message, refused.fix)


def were_given(config: Config, *names: str) -> list[str]:
    """Those of `names` that were given, whatever their value."""
    return [name for name in names if name in config.given]
