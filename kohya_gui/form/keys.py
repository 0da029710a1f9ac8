"""Names of the form's fields. Several trainers are one form, so that an option that they declare differently has one field for each declaration."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.spec import Parameter, Section, section_of

BETWEEN = "--"


def key_of(parameter: Parameter) -> str:
    """The field of an option: its name, and the section's too where sections declare options of that name differently."""
    declared = _declared()[parameter.name]
    return parameter.name if len(declared) == 1 else f"{parameter.name}{BETWEEN}{parameter.section}"


def name_of(key: str) -> str:
    """The option's name of a field."""
    return key.partition(BETWEEN)[0]


def keys_of(command: Command) -> dict[str, str]:
    """The fields of a trainer's options, by the options' names."""
    return {name: key_of(parameter) for name, parameter in command.by_name.items()}


def taken_by(section: Section) -> tuple[Command, ...]:
    """The trainers that take a section of options, in the order of the registry."""
    return tuple(command for command in COMMANDS if section.cls in command.sections)


@cache
def _declared() -> Mapping[str, frozenset[str]]:
    """Names of the sections that declare an option, by the option's name."""
    sections = {cls: section_of(cls) for command in COMMANDS for cls in command.sections}
    names = {parameter.name for section in sections.values() for parameter in section.params}
    return {name: frozenset(s.name for s in sections.values() if any(parameter.name == name for parameter in s.params)) for name in names}


@cache
def parameters_by_key() -> Mapping[str, Parameter]:
    """The declaration behind each field of the form."""
    return {key_of(parameter): parameter for row in COMMANDS if row.kind == "train" for parameter in row.parameters}
