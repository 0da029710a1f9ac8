"""When an option has an effect: its own `when` and its section's, read against the other options' values."""

from __future__ import annotations

from collections.abc import Callable

from sd_scripts.params.commands import Command


def applies(command: Command, name: str, value_of: Callable[[str], object]) -> bool:
    """Whether the option called `name` has an effect, given the other options' values (`config.value`, or a form's lookup)."""
    return unmet(command, name, value_of) is None


def unmet(command: Command, name: str, value_of: Callable[[str], object]) -> tuple[str, object] | None:
    """The first condition under which the option would have an effect and that does not hold: another option, and its wanted value."""
    for when in (command.section(name).when, command.parameter(name).hints.when):
        for other, wanted in (when or {}).items():
            if other in command.by_name and not _matches(value_of(other), wanted):
                return other, wanted
    return None


def why_not(command: Command, name: str, value_of: Callable[[str], object]) -> str:
    """What would have to be for the option to have an effect, in words; "" if it has one."""
    found = unmet(command, name, value_of)
    return f"{found[0]} {_words(found[1])}" if found else ""


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
