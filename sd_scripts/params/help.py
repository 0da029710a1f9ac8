"""The text of `--help`: every option of a command, grouped by section."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from sd_scripts.params.commands import Command
from sd_scripts.params.spec import Parameter

WIDTH = 120
INDENT = " " * 6


def help_text(command: Command) -> str:
    """All options of `command` with type, default, range and help."""
    lines = [f"usage: {command.script}.py [--config_file FILE.toml] [OPTIONS]", "", command.title, ""]
    names = {parameter.name for parameter in command.flags}
    for section in command.descriptions:
        if section.sink == "launcher":
            continue
        where = " (as --network_args name=value ...)" if section.sink == "list:network_args" else ""
        lines += [f"{section.title}{where}", *textwrap.wrap(section.doc.splitlines()[0], WIDTH, initial_indent="  ", subsequent_indent="  "), ""]
        for parameter in section.params:
            lines += _entry(command.parameter(parameter.name), dashes="--" if parameter.name in names else "")
        lines.append("")
    return "\n".join(lines)


def value_words(parameter: Parameter) -> str:
    """What a value looks like: "{l1,l2}", "INT", "TEXT ...", and nothing for a switch."""
    if parameter.kind == "bool":
        return ""
    word = "{" + ",".join(map(str, parameter.choices)) + "}" if parameter.choices else parameter.kind.upper().replace("STR", "TEXT")
    return f"{word} ..." if parameter.many else word


def range_words(parameter: Parameter) -> str:
    """The range in words, such as "0 to 1" or "above 0"; "" if there is none."""
    hints = parameter.hints
    if hints.min is not None and hints.max is not None:
        return f"{'above ' if hints.exclusive_min else ''}{hints.min:g} to {hints.max:g}"
    if hints.min is not None:
        return f"above {hints.min:g}" if hints.exclusive_min else f"{hints.min:g} or more"
    return f"at most {hints.max:g}" if hints.max is not None else ""


def default_words(parameter: Parameter) -> str:
    """The default in words, "" where it is "not set" or "off"."""
    return "" if parameter.default in (None, False, "") else f"{parameter.default}"


def _entry(parameter: Parameter, *, dashes: str) -> Iterator[str]:
    yield f"  {dashes}{parameter.name} {value_words(parameter)}".rstrip()
    facts = [words for words in (range_words(parameter), f"default {default_words(parameter)}" if default_words(parameter) else "") if words]
    text = " ".join(part for part in (parameter.help, f"({'; '.join(facts)})" if facts else "", _refusal(parameter)) if part)
    yield from textwrap.wrap(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)


def _refusal(parameter: Parameter) -> str:
    return f"[{parameter.hints.unavailable}]" if parameter.hints.unavailable else ""
