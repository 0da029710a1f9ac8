"""The command line is frozen: kohya's options with their names, types, defaults and choices, and a list of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.params.commands import COMMANDS
from sd_scripts.params.spec import Parameter

GOLDEN = Path(__file__).parent / "golden"
KOHYA = [json.loads(line) for line in (GOLDEN / "cli_flags.jsonl").read_text("utf-8").splitlines()]
OWN = json.loads((GOLDEN / "own_flags.json").read_text("utf-8"))
KINDS = {"str": ("str", "path"), "int": ("int",), "float": ("float",), "Path": ("path",), "int_or_float": ("number",)}
"""Our kinds for each of kohya's types."""


def kohyas(script: str) -> dict[str, dict]:
    return {record["dest"]: record for record in KOHYA if f"{script}.py" in record["scripts"]}


def ours(script: str) -> dict[str, Parameter]:
    row = next(row for row in COMMANDS if row.script == script)
    known = kohyas(script)
    added = {parameter.name for parameter in row.flags if parameter.hints.own or parameter.name in row.added} - set(known)
    return {parameter.name: parameter for parameter in row.flags if parameter.name not in added}


def described(parameter: Parameter) -> dict[str, object]:
    return {"kind": parameter.kind, "default": parameter.default, "choices": list(parameter.choices), "many": parameter.many}


SCRIPTS = [row.script for row in COMMANDS]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_of_kohyas_script_is_declared(script):
    assert set(ours(script)) == set(kohyas(script))


@pytest.mark.parametrize(("script", "name"), [(script, name) for script in SCRIPTS for name in kohyas(script)])
def test_an_option_has_kohyas_type_default_and_choices(script, name):
    record, parameter = kohyas(script)[name], ours(script)[name]
    if record["action"] == "store_true":
        assert parameter.kind == "bool"
    elif record.get("choices"):
        assert parameter.choices == tuple(choice for choice in record["choices"] if choice is not None)
    else:
        assert parameter.kind in KINDS[record["type"]]
    assert parameter.default == record["default"]
    assert parameter.many == (record.get("nargs") == "*")


@pytest.mark.parametrize("script", SCRIPTS)
def test_our_own_options_are_the_listed_ones(script):
    row = next(row for row in COMMANDS if row.script == script)
    kohya_s = ours(script)
    made = {parameter.name: described(parameter) for parameter in row.parameters if parameter.name not in kohya_s}
    assert made == OWN[script]
