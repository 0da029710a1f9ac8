"""A request to train: the values that were given, and from them the frozen sections that each part of the trainer receives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar, cast

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.lycoris import refuse_elsewhere
from sd_scripts.params.meaning import resolved
from sd_scripts.params.network import LORA_MODULE, MODULES
from sd_scripts.params.problem import Problem
from sd_scripts.params.spec import Parameter, section_of
from sd_scripts.params.values import key_value, nearest, typed

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """What one run was asked to do.

    `given` holds only what was given, typed; typed network arguments (`conv_dim`) and launcher options stand there under their own names.
    `studio` is what no trainer flag holds: `launcher` (the launcher's given options), `kept` (keys of other programs, with their values) and what
    a form remembers.
    `notes` are warnings from reading the request.
    """

    command: Command
    given: Mapping[str, object]
    sections: Mapping[type, object]
    studio: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()

    def __getitem__(self, section: type[T]) -> T:
        """The frozen instance of a section class, defaults filled in. Raises KeyError if the command does not take that section."""
        return cast(T, self.sections[section])

    def __contains__(self, section: type) -> bool:
        return section in self.sections

    def value(self, name: str) -> object:
        """The value of the option called `name`, given or default. Raises KeyError."""
        parameter = self.command.parameter(name)
        return next(getattr(values, name) for cls, values in self.sections.items() if cls.__name__ == parameter.section)


def make_config(command: Command, given: Mapping[str, object], studio: Mapping[str, Any] | None = None, *, notes: tuple[Problem, ...] = ()) -> Config:
    """Type what was given and fill in the rest. None, and blank text for an option that may be unset, count as not given.

    Raises:
        ConfigError: a name is not an option of `command`, or a value has the wrong type. Ranges and rules between options are `check.check`'s.
    """
    studio = dict(studio or {})
    launcher = studio.pop("launcher", {})
    values = {name: value for name, value in _typed_values(command, {**launcher, **given}) if value is not None}
    words, parsed = _network_words(command, values)
    values = _in_order(command, {**parsed, **{name: value for name, value in values.items() if name != "network_args"}})
    rest = tuple(word for word in words if key_value("network_args", word)[0] not in parsed)
    if rest:
        values["network_args"] = rest
    started_with = _of_sink(command, values, "launcher")
    if started_with:
        studio["launcher"] = started_with
    filled = resolved({**values, **_words_of(command, values, rest)})
    sections = {cls: _section(command, cls, filled) for cls in command.sections}
    return Config(command, MappingProxyType(values), MappingProxyType(sections), MappingProxyType(studio), notes)


def network_words(config: Config) -> tuple[str, ...]:
    """The adapter's arguments as kohya's `key=value` words, as they stand in `network_args` and in the metadata of the saved file."""
    return cast("tuple[str, ...] | None", config.value("network_args")) or ()


def _typed_values(command: Command, given: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in given.items():
        parameter = command.by_name.get(name)
        if parameter is None:
            near = nearest(name, command.by_name)
            raise ConfigError(name, f"{command.script} has no such option.", fix=f"Did you mean --{near}?" if near else "")
        yield name, typed(parameter, value)


def _network_words(command: Command, values: Mapping[str, object]) -> tuple[tuple[str, ...], dict[str, object]]:
    """The words of `network_args`, and the typed values of those that the chosen network module declares."""
    words = cast("tuple[str, ...]", values.get("network_args", ()))
    module = values.get("network_module", LORA_MODULE)
    if module not in MODULES:
        return words, {}
    known = _list_parameters(command, "list:network_args")
    own = [name for name, parameter in known.items() if takes(parameter, module)]
    parsed: dict[str, object] = {}
    for word in words:
        key, text = key_value("network_args", word)
        if key not in known:
            near = nearest(key, own)
            raise ConfigError(
                "network_args", f"{module} has no argument {key!r}.", fix=f"Did you mean {near}?" if near else f"It takes {', '.join(own)}."
            )
        if key in parsed:
            raise ConfigError("network_args", f"{key!r} is given twice.", fix="Keep one of them.")
        if key == "algo":
            refuse_elsewhere("network_args", text)
        parsed[key] = typed(known[key], text)
    return words, {key: value for key, value in parsed.items() if value is not None}


def takes(parameter: Parameter, module: object) -> bool:
    """Whether the adapter called `module` has this argument."""
    takers = (parameter.hints.when or {}).get("network_module", module)
    return module in takers if isinstance(takers, tuple) else module == takers


def _words_of(command: Command, values: Mapping[str, object], rest: tuple[str, ...]) -> dict[str, object]:
    words = [f"{name}={_word(values[name])}" for name in _list_parameters(command, "list:network_args") if name in values]
    return {"network_args": (*words, *rest)} if words or rest else {}


def _word(value: object) -> str:
    """A typed value as people write it: 1.0 is "1"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _list_parameters(command: Command, sink: str) -> dict[str, Parameter]:
    return {parameter.name: parameter for section in command.descriptions if section.sink == sink for parameter in section.params}


def _of_sink(command: Command, values: Mapping[str, object], sink: str) -> dict[str, object]:
    return {name: values[name] for name in _list_parameters(command, sink) if name in values}


def _in_order(command: Command, values: Mapping[str, object]) -> dict[str, object]:
    return {name: values[name] for name in command.by_name if name in values}


def _section(command: Command, cls: type, values: Mapping[str, object]) -> object:
    return cls(**{p.name: values.get(p.name, command.parameter(p.name).default) for p in section_of(cls).params})
