"""The config file of each command as JSON Schema, for editors that complete and check TOML: `python -m sd_scripts.params.schema train_network`."""

from __future__ import annotations

import json
import sys
from typing import Any

from sd_scripts.params.commands import Command, command
from sd_scripts.params.spec import Parameter

TYPES = {"bool": "boolean", "int": "integer", "float": "number", "number": "number", "str": "string", "path": "string"}


def config_schema(row: Command) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a command's flat config file. `[studio]` is free."""
    properties = {parameter.name: _property(parameter) for parameter in row.flags if parameter.name not in ("config_file", "output_config")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{row.script}.py: {row.title}",
        "type": "object",
        "properties": {**properties, "studio": {"type": "object"}},
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Any]:
    one = _one(parameter)
    made: dict[str, Any] = {"title": parameter.label, "description": parameter.help}
    made |= {"type": "array", "items": one} if parameter.many else one
    if parameter.default is not None:
        made["default"] = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    return made


def _one(parameter: Parameter) -> dict[str, Any]:
    if parameter.choices:
        return {"enum": list(parameter.choices)}
    made: dict[str, Any] = {"type": TYPES[parameter.kind]}
    hints = parameter.hints
    if hints.min is not None:
        made["exclusiveMinimum" if hints.exclusive_min else "minimum"] = hints.min
    if hints.max is not None:
        made["maximum"] = hints.max
    return made


if __name__ == "__main__":
    sys.stdout.write(json.dumps(config_schema(command(sys.argv[1] if len(sys.argv) > 1 else "train_network")), indent=1, ensure_ascii=False) + "\n")
