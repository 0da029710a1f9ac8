"""A config for kohya's own programs: the TOML that their trainers read, or the JSON that their GUI loads. What they cannot hold is listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import tomli_w

from sd_scripts.params.config import Config, network_words
from sd_scripts.params.migrate.export_form import form_of
from sd_scripts.params.migrate.ledger import KEPT, Row, shown
from sd_scripts.params.migrate.lost import lost_value, why_not
from sd_scripts.params.migrate.shared import STUDIO_PROMPTS

Target = Literal["toml", "json"]
"""What is written: a config of kohya's trainers, or a saved form of the kohya GUI."""
PROGRAMS: Mapping[Target, str] = {"toml": "kohya's sd-scripts", "json": "the kohya GUI"}
"""For whom, in words."""


def export_text(config: Config, target: Target, *, prompts_file: str = "") -> tuple[str, tuple[Row, ...]]:
    """The text of a file for the program `target`, and what became of everything that was given.

    A row's outcome is taken, converted (`became` says to what), default (it says what is so there anyway), or no counterpart: the file does not
    hold it, and `note` says why. `prompts_file` names the file to which the caller writes the prompts that the config holds as text; a form holds
    them itself. Values that the form always sets, though nobody gave them, have rows too where they differ from what is given here.
    """
    return form_of(config) if target == "json" else _toml(config, prompts_file)


def _toml(config: Config, prompts_file: str) -> tuple[str, tuple[Row, ...]]:
    document: dict[str, object] = {}
    rows: list[Row] = []
    for name, value in config.given.items():
        row = _row(config, name, value)
        rows.append(row)
        if row.outcome == "taken":
            document[name] = list(value) if isinstance(value, tuple) else value
    words = _words(config, rows)
    if words:
        document["network_args"] = words
    rows += _of_studio(config, prompts_file)
    if prompts_file and config.studio.get(STUDIO_PROMPTS):
        document["sample_prompts"] = prompts_file
    return tomli_w.dumps(document), tuple(rows)


def _row(config: Config, name: str, value: object) -> Row:
    parameter = config.command.parameter(name)
    sink = config.command.section(name).sink
    why = why_not(config.command, name) or lost_value(name, value)
    if parameter.hints.secret:
        return Row(name, "(not shown)", "no counterpart", "Secrets are not written to files.")
    if why:
        outcome = "default" if value == parameter.default else "no counterpart"
        return Row(name, value, outcome, "" if outcome == "default" else why)
    if sink == "launcher":
        note = "It is an option of the launcher: it stands in the command, not in the trainer's file."
        return Row(name, value, "default" if value == parameter.default else "no counterpart", note)
    if sink == "list:network_args":
        return Row(name, value, "converted", became=f"network_args {name}={shown(value)}")
    return Row(name, value, "taken")


def _words(config: Config, rows: list[Row]) -> list[str]:
    """The adapter's arguments without those that only ours takes."""
    if "network_args" not in config.command.by_name:
        return []
    lost = {row.key for row in rows if row.outcome == "no counterpart"}
    return [word for word in network_words(config) if word.partition("=")[0] not in lost and not _is_own(config, word)]


def _is_own(config: Config, word: str) -> bool:
    name = word.partition("=")[0].strip()
    return bool(name in config.command.by_name and why_not(config.command, name))


def _of_studio(config: Config, prompts_file: str) -> Iterator[Row]:
    """What only our own table holds."""
    if config.studio.get(STUDIO_PROMPTS):
        if prompts_file:
            yield Row(STUDIO_PROMPTS, config.studio[STUDIO_PROMPTS], "converted", became=f"sample_prompts = {prompts_file}")
        else:
            yield Row(STUDIO_PROMPTS, config.studio[STUDIO_PROMPTS], "no counterpart", "A trainer reads prompts from a file.")
    for key, value in dict(config.studio.get(KEPT, {})).items():
        yield Row(key, value, "no counterpart", "It was kept from another program's file, and is no option of this trainer.")
