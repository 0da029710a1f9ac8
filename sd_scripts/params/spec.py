"""How an option is declared: `@section` on a class, `param` on its fields. What the options are lives in this folder's other files.

A section class becomes a frozen dataclass. Its `Section` description, with one `Parameter` per field, is what the command line, the config file,
the checks, the form and the docs are made from, so an option's name, type, default, range and help are written once.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

T = TypeVar("T")
Kind = Literal["bool", "int", "float", "number", "str", "path", "choice"]
Sink = Literal["flag", "list:network_args", "list:optimizer_args", "list:lr_scheduler_args", "dataset", "launcher", "studio"]
_KEY = "studio_param"
_SECTION = "__section__"


@dataclass(frozen=True, slots=True)
class Hints:
    """What `param` was told about one field; see `param` for the meaning of each."""

    help: str
    label: str | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    exclusive_min: bool = False
    advanced: bool = True
    when: Mapping[str, object] | None = None
    path: Literal["file", "folder", "any"] | None = None
    unavailable: str | None = None
    settled: str | None = None
    secret: bool = False
    own: bool = False
    dataset_key: str | None = None
    suggestions: tuple[str, ...] = ()
    multiline: bool = False


def param(default: Any, help: str = "", **hints: Any) -> Any:
    """Declare one option as the value of an annotated field of a `@section` class.

    Args:
        default: the command's default (kohya's). None means "not set".
        help: one or two sentences for people: the effect, and what it costs.
        hints: label (words for the form; made from the name if absent); min, max (inclusive bounds), exclusive_min (min itself is refused), step
            (the widget's); advanced (False: shown in the basic view); when (other options' values under which this one applies:
            {"name": value or tuple of values, or `True` for "any truthy value"}); path ("file", "folder" or "any": the string is a path);
            unavailable (a reason: any value other than the default is refused with it); settled (what the trainer always does instead of
            leaving the choice: any value is taken, since old configs hold them); secret (never written to configs, logs, command lines); own
            (our own flag, not kohya's); dataset_key (its name in a dataset config file); suggestions (values offered besides free text);
            multiline (several lines of text).
    """
    metadata = {_KEY: Hints(help=help, **hints)}
    if isinstance(default, (list, dict, set)):
        raise TypeError(f"a default must be immutable, got {default!r}")
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One option, read from its field: everything that flag, TOML key, check, widget and docs need.

    `kind` is the type of one value ("number" takes int or float and keeps which), `optional` says that None is a value, `many` that it is a list
    (a tuple in the section), `choices` are the allowed values without None.
    """

    name: str
    section: str
    kind: Kind
    default: Any
    optional: bool
    many: bool
    choices: tuple[Any, ...]
    hints: Hints

    @property
    def label(self) -> str:
        """Words for the form."""
        return self.hints.label or self.name.replace("_", " ").capitalize()

    @property
    def help(self) -> str:
        """One or two sentences for people."""
        return self.hints.help


@dataclass(frozen=True, slots=True)
class Section:
    """A set of options that always go together. `name` is the class name, `cls` the frozen dataclass that the trainer receives."""

    name: str
    title: str
    sink: Sink
    when: Mapping[str, object] | None
    cls: type
    params: tuple[Parameter, ...]
    doc: str

    def param(self, name: str) -> Parameter:
        """The parameter called `name`. Raises KeyError."""
        for parameter in self.params:
            if parameter.name == name:
                return parameter
        raise KeyError(name)


@dataclass_transform(frozen_default=True, field_specifiers=(param, dataclasses.field))
def section(title: str, *, sink: Sink = "flag", when: Mapping[str, object] | None = None) -> Callable[[type[T]], type[T]]:
    """Make a class of `param` fields a section called `title`, whose values end up in `sink` (design: where values go).

    Raises:
        TypeError: a field is no `param`, or its annotation has no flag form.
    """

    def decorate(cls: type[T]) -> type[T]:
        made = dataclass(frozen=True, slots=True)(cls)
        hints = get_type_hints(made)
        params = tuple(_parameter(field, hints[field.name], made.__name__) for field in dataclasses.fields(made))  # type: ignore[arg-type]
        description = Section(made.__name__, title, sink, when, made, params, (cls.__doc__ or "").strip())
        setattr(made, _SECTION, description)
        return made

    return decorate


def section_of(cls: type) -> Section:
    """The description of a section class. Raises TypeError if `cls` was not made by `@section`."""
    description = getattr(cls, _SECTION, None)
    if not isinstance(description, Section):
        raise TypeError(f"{cls!r} is no section")
    return description


def _parameter(field: dataclasses.Field[Any], annotation: Any, section_name: str) -> Parameter:
    hints = field.metadata.get(_KEY)
    if not isinstance(hints, Hints):
        raise TypeError(f"{section_name}.{field.name} is not declared with param()")
    parts = get_args(annotation) if get_origin(annotation) in (typing.Union, types.UnionType) else (annotation,)
    optional = type(None) in parts
    parts = tuple(part for part in parts if part is not type(None))
    many = len(parts) == 1 and get_origin(parts[0]) is tuple
    if many:
        parts = (get_args(parts[0])[0],)
    kind, choices = _kind(parts, hints, f"{section_name}.{field.name}")
    return Parameter(field.name, section_name, kind, field.default, optional, many, choices, hints)


def _kind(parts: tuple[Any, ...], hints: Hints, where: str) -> tuple[Kind, tuple[Any, ...]]:
    if len(parts) == 1 and get_origin(parts[0]) is Literal:
        return "choice", get_args(parts[0])
    if set(parts) == {int, float}:
        return "number", ()
    if len(parts) == 1 and parts[0] is str:
        return ("path" if hints.path else "str"), ()
    names: dict[Any, Kind] = {bool: "bool", int: "int", float: "float"}
    if len(parts) == 1 and parts[0] in names:
        return names[parts[0]], ()
    raise TypeError(f"{where}: annotation {parts} has no flag form")
