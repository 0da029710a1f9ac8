"""The trainers' command line, in kohya's forms: `--name value`, `--name=value`, `--flag`, `--list a b c`. The options come from the registry."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.config_file import Raw, config_path, read_raw, write_config
from sd_scripts.params.help import help_text
from sd_scripts.params.names import RENAMED, foreign
from sd_scripts.params.problem import Problem, warning
from sd_scripts.params.spec import Parameter
from sd_scripts.params.values import FALSE_WORDS, TRUE_WORDS, typed

BOOL_WORDS = (*TRUE_WORDS, *FALSE_WORDS)


def parse_args(command: Command, argv: Sequence[str]) -> Config:
    """The config that a command line asks for. The command line beats the file named by `--config_file`, which beats the defaults.

    `--help` prints the options, `--output_config` writes the given ones to the config file: both end the program with `SystemExit(0)`.

    Raises:
        ConfigError: an option is unknown, lacks its value, or has one of the wrong type.
    """
    if any(word in ("-h", "--help") for word in argv):
        sys.stdout.write(help_text(command))
        raise SystemExit(0)
    words, notes = read_words(command, argv)
    output = bool(typed(command.parameter("output_config"), words.pop("output_config", False)))
    path = _config_path(words.pop("config_file", None))
    if path is None or output:
        config = make_config(command, words, notes=notes)
    else:
        raw = read_raw(path, command)
        config = make_config(command, {**raw.given, **words}, raw.studio, notes=(*raw.notes, *_without_prompts(raw, words), *notes))
    if output:
        _write_and_exit(config, path)
    return config


def _config_path(text: object) -> Path | None:
    if text is None:
        return None
    if str(text).lower().endswith(".json"):
        raise ConfigError("config_file", f"{text} is no TOML.", fix=f"Convert it first: gui.py import {text} --to config.toml")
    return config_path(str(text))


def _without_prompts(raw: Raw, words: dict[str, object]) -> Iterator[Problem]:
    """Prompts that a form has kept as text reach a trainer as a file, which only the form's start writes."""
    if raw.studio.get("prompts") and not raw.given.get("sample_prompts") and "sample_prompts" not in words:
        yield warning("sample_prompts", "The prompts in the [studio] table are not read here.", "Start with gui.py train, or name a prompt file.")


def _write_and_exit(config: Config, path: Path | None) -> None:
    if path is None:
        raise ConfigError("output_config", "It needs the name of the file to write.", fix="Add --config_file NAME.toml.")
    if path.exists():
        raise ConfigError("output_config", f"{path} exists and is left as it is.", fix="Name another file, or remove that one.")
    try:
        write_config(path, config)
    except OSError as failed:
        raise ConfigError("config_file", f"{path} cannot be written: {failed.strerror}.", fix="Check that its folder exists.") from failed
    sys.stdout.write(f"{path}\n")
    raise SystemExit(0)


def read_words(command: Command, argv: Sequence[str]) -> tuple[dict[str, object], tuple[Problem, ...]]:
    """Values by option name, still as words, and warnings."""
    flags = {parameter.name: parameter for parameter in command.flags}
    values: dict[str, object] = {}
    notes: list[Problem] = []
    rest = list(argv)
    while rest:
        name, value, rest = take_option(rest)
        if RENAMED.get(name) in flags and name not in flags:
            notes.append(warning(name, f"It is called {RENAMED[name]} here.", f"Write --{RENAMED[name]}."))
            name = RENAMED[name]
        if name in flags:
            values[name] = _value(flags[name], value)
        else:
            notes.append(_unknown(command, name))
    return values, tuple(notes)


def take_option(rest: list[str]) -> tuple[str, list[str] | str, list[str]]:
    """The next option's name; its words, or its text after `=`; and the rest of the line. Raises ConfigError where no option stands."""
    word, rest = rest[0], rest[1:]
    if not word.startswith("--") or word == "--":
        raise ConfigError(
            "", f"{word!r} is no option and belongs to none.", fix="Options begin with two dashes; put quotes around a value with spaces."
        )
    name, equals, text = word[2:].partition("=")
    name = name.replace("-", "_")
    if equals:
        return name, text, rest
    count = next((place for place, following in enumerate(rest) if following.startswith("--")), len(rest))
    return name, rest[:count], rest[count:]


def _value(parameter: Parameter, words: list[str] | str) -> object:
    """The value of one option from its words, not typed yet except for switches."""
    if isinstance(words, str):
        return (words,) if parameter.many else words
    if parameter.many:
        return tuple(words)
    if parameter.kind == "bool" and not words:
        return True
    if not words:
        raise ConfigError(parameter.name, "Its value is missing.", fix=f"Write --{parameter.name} VALUE, or leave it out.")
    if parameter.kind == "bool" and words[0].lower() not in BOOL_WORDS:
        raise ConfigError(
            parameter.name, f"It is a switch and takes no {words[0]!r}.", fix=f"Write --{parameter.name} alone, or with false to turn it off."
        )
    if len(words) > 1:
        raise ConfigError(
            parameter.name, f"It takes one value, but {len(words)} follow: {' '.join(words)}.", fix="Put quotes around a value with spaces."
        )
    return words[0]


def _unknown(command: Command, name: str) -> Problem:
    """The warning for another kohya script's option. Raises ConfigError for the launcher's, a network argument, and nobody's."""
    if name in command.by_name:
        if command.section(name).sink == "launcher":
            raise ConfigError(name, "It is an option of the launcher, not of the trainer.", fix=f"Put it before {command.script}.py.")
        raise ConfigError(name, "It is an argument of the network.", fix=f"Write --network_args {name}=VALUE.")
    return foreign(command, name)
