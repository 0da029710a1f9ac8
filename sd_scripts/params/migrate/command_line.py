"""A command line as people paste it from a shell or a guide: launcher, script, options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.migrate.ledger import Imported, Ledger
from sd_scripts.params.migrate.option_words import take_words
from sd_scripts.params.migrate.told_family import Told, family_of_script
from sd_scripts.params.migrate.trainer import row_of
from sd_scripts.params.spec import section_of

_CONTINUED = re.compile(r"[ \t]*[\\^`]\r?\n")
"""A line that goes on in the next one: in a POSIX shell, in cmd, in PowerShell."""
_WINDOWS_PATH = re.compile(r"(?:^|[\s\"'=])[A-Za-z]:\\")
_SCRIPT = re.compile(r"(?:.*[\\/])?(\w+)\.py")
_NAMED = re.compile(r"\w\.py(?:[\s\"']|$)")
_SWITCHES_OF_LAUNCHER = ("multi_gpu", "dynamo_use_fullgraph", "dynamo_use_dynamic")


def import_command_line(text: str, near: Command) -> Imported:
    """The options of a pasted command, for the trainer that it starts; for `near` where it begins with options.

    Raises:
        ConfigError: it cannot be split into words, or starts a script that is no trainer here.
    """
    words = _words(text)
    at = next((place for place, word in enumerate(words) if _SCRIPT.fullmatch(word)), None)
    command, told = _trainer(words[at], near) if at is not None else (near, None)
    ledger = Ledger(command)
    if at is not None:
        ledger.meant_for(told)
        _launcher(ledger, words[:at])
        words = words[at + 1 :]
    take_words(ledger, words)
    return ledger.finish()


def _words(text: str) -> list[str]:
    """The words of the line that names a script; of all lines, where none does."""
    lines = _CONTINUED.sub(" ", text.strip()).splitlines()
    joined = next((line for line in lines if _NAMED.search(line)), " ".join(lines))
    try:
        # In a Windows path a backslash is no escape.
        return shlex.split(joined.replace("\\", "\\\\") if _WINDOWS_PATH.search(joined) else joined)
    except ValueError as failed:
        raise ConfigError("", f"The command cannot be read: {failed}.", fix="Close every quotation mark.") from failed


def _trainer(word: str, near: Command) -> tuple[Command, Told]:
    """The trainer that a script's name means, and its family; one of a family that is not trained here is read for that of `near`."""
    found = _SCRIPT.fullmatch(word)
    name = found[1] if found else word
    row = next((row for row in COMMANDS if row.script == name and row.kind == "train"), None)
    if row is not None:
        return row, Told(row.family, name)
    family = family_of_script(name)
    if not family:
        known = ", ".join(row.script for row in COMMANDS if row.kind == "train")
        raise ConfigError("", f"{name}.py is no trainer here.", fix=f"Commands of these can be read: {known}.")
    return row_of(near.family, "adapter" if "network" in name else "dreambooth") or near, Told(family, name)


def _launcher(ledger: Ledger, words: Sequence[str]) -> None:
    """What stands before the script: accelerate's options, of which ours are taken."""
    ours = {parameter.name for parameter in section_of(Launcher).params} | {"mixed_precision"}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if not equals and rest and not rest[0].startswith("--") and name not in _SWITCHES_OF_LAUNCHER:
            value = rest.pop(0)
        if name in ours and name in ledger.command.by_name:
            ledger.take(name, value or True)
        else:
            ledger.keep(
                f"accelerate --{name}", value, note="An option of the launcher without a counterpart; extra_accelerate_launch_args takes any."
            )
