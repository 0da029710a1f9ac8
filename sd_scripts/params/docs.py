"""The page of all options, as markdown: `python -m sd_scripts.params.docs > docs/options.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.help import default_words, range_words, value_words
from sd_scripts.params.spec import Parameter, Section

INTRODUCTION = """# Options

Names, types and defaults are those of kohya's trainers, so their config files and command lines work. Options marked *ours* are not known there.
What cannot work is refused with the reason given here, never passed over. This page is made from the declarations in `sd_scripts/params/`.
"""


def options_page() -> str:
    """Every command with its sections, each a table of options."""
    return "\n".join([INTRODUCTION, *(line for command in COMMANDS for line in _command(command))])


def _command(command: Command) -> Iterator[str]:
    yield f"## {command.script}.py: {command.title}\n"
    for section in command.descriptions:
        yield f"### {section.title}\n"
        yield f"{section.doc.splitlines()[0]}{WHERE.get(section.sink, '')}\n"
        yield "| option | value | default | |"
        yield "|---|---|---|---|"
        yield from (_row(command.parameter(parameter.name), section) for parameter in section.params)
        yield ""


WHERE = {
    "list:network_args": " Written as words of `network_args`: `--network_args name=value`.",
    "launcher": " Options of accelerate's launcher, kept in the `[studio.launcher]` table of a config.",
}


def _row(parameter: Parameter, section: Section) -> str:
    name = parameter.name if section.sink != "flag" else f"--{parameter.name}"
    value = " ".join(words for words in (value_words(parameter), range_words(parameter)) if words).replace("|", "\\|")
    text = " ".join(words for words in ("*Ours.*" if parameter.hints.own else "", parameter.help, _condition(parameter)) if words)
    return f"| `{name}` | {value} | {_code(default_words(parameter))} | {text.replace('|', chr(92) + '|')} |"


def _condition(parameter: Parameter) -> str:
    text = parameter.hints.unavailable or parameter.hints.settled
    return f"**{text[0].upper()}{text[1:]}**" if text else ""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    sys.stdout.write(options_page())
