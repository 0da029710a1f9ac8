"""Is this request sound? Every rule on options and between options; nothing here looks at files or loads anything large."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.params.applies import why_not
from sd_scripts.params.config import Config
from sd_scripts.params.help import range_words
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules import rules_for
from sd_scripts.params.spec import Parameter

__all__ = ["Problem", "check"]


def check(config: Config) -> list[Problem]:
    """All problems of a config, errors first: notes from reading it, options that are not available, ranges, rules between options. Never raises."""
    problems = [*config.notes, *_single(config), *(problem for rule in rules_for(config) for problem in rule(config))]
    blamed = {problem.field for problem in problems}
    problems += [problem for problem in _without_effect(config) if problem.field not in blamed]
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.severity != "error")


def check_value(parameter: Parameter, value: object) -> Problem | None:
    """What is wrong with one typed value by itself: not available, or out of range."""
    if parameter.hints.unavailable and value != parameter.default:
        return error(parameter.name, f"{value!r} is refused: {parameter.hints.unavailable}", _back_to_default(parameter))
    values = value if isinstance(value, tuple) else (value,)
    outside = next((item for item in values if isinstance(item, (int, float)) and not isinstance(item, bool) and _is_outside(parameter, item)), None)
    return None if outside is None else error(parameter.name, f"{outside:g} is out of range: {range_words(parameter)}.")


def _single(config: Config) -> Iterator[Problem]:
    for name, value in config.given.items():
        problem = check_value(config.command.parameter(name), value)
        if problem is not None:
            yield problem


def _without_effect(config: Config) -> Iterator[Problem]:
    """Values that were given although the option does not apply."""
    for name, value in config.given.items():
        missing = why_not(config.command, name, config.value)
        if missing and value and value != config.command.parameter(name).default:
            yield warning(name, f"It has an effect only where {missing}.", "Leave it out, or change that.")


def _is_outside(parameter: Parameter, value: float) -> bool:
    hints = parameter.hints
    if hints.min is not None and (value < hints.min or (hints.exclusive_min and value == hints.min)):
        return True
    return hints.max is not None and value > hints.max


def _back_to_default(parameter: Parameter) -> str:
    return "Leave it out." if parameter.default in (None, False, "") else f"Leave it at {parameter.default}."
