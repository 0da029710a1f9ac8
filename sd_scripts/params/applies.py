"""When an option has an effect: its own `when` and its section's, read against the other options' values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sd_scripts.params.commands import Command


def applies(command: Command, name: str, value_of: Callable[[str], object]) -> bool:
    """Whether the option called `name` has an effect, given the other options' values (`config.value`, or a form's lookup)."""
    own = command.parameter(name).hints.when
    section = command.section(name).when
    return all(_holds(when, command, value_of) for when in (own, section) if when is not None)


def why_not(command: Command, name: str, value_of: Callable[[str], object]) -> str:
    """What would have to be for the option to have an effect, in words; "" if it has one."""
    for when in (command.section(name).when, command.parameter(name).hints.when):
        for other, wanted in (when or {}).items():
            if other in command.by_name and not _matches(value_of(other), wanted):
                return f"{other} {_words(wanted)}"
    return ""


def _holds(when: Mapping[str, object], command: Command, value_of: Callable[[str], object]) -> bool:
    return all(_matches(value_of(other), wanted) for other, wanted in when.items() if other in command.by_name)


def _matches(value: object, wanted: object) -> bool:
    if wanted is True:
        return bool(value)
    if wanted is False:
        return not value
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def _words(wanted: object) -> str:
    if wanted is True:
        return "is set"
    if wanted is False:
        return "is off"
    return f"is {' or '.join(map(str, wanted))}" if isinstance(wanted, tuple) else f"is {wanted}"
