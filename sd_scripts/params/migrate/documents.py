"""Config files as documents: JSON, TOML or YAML text to plain values. What they mean is told elsewhere."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError

YAML_FILES = (".yaml", ".yml")
MAX_BYTES = 8_000_000
"""Far more than any config; what is larger is another kind of file."""
MAX_VALUES, MAX_DEPTH = 200_000, 40
"""A few lines of YAML can refer to themselves and stand for more than memory holds."""


def text_of(path: Path) -> str:
    """The file's text.

    Raises:
        ConfigError: it cannot be read, is too large for a config, or is no UTF-8 text.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError("config_file", f"{path} is too large for a config.", fix="Open a config file.")
        return path.read_text("utf-8-sig")
    except OSError as failed:
        raise ConfigError("config_file", f"{path} cannot be read: {failed.strerror}.", fix="Check the path.") from failed
    except UnicodeDecodeError as failed:
        raise ConfigError("config_file", f"{path} is not UTF-8 text.", fix="Save it as UTF-8.") from failed


def parse(text: str, path: Path) -> Any:
    """The document in `text`: its form is told by the name's ending, JSON also by its first character.

    Raises:
        ConfigError: it is none.
    """
    suffix = path.suffix.lower()
    if suffix in YAML_FILES:
        return _yaml(text, path)
    if suffix == ".json" or (suffix != ".toml" and text.lstrip().startswith(("{", "["))) or text.lstrip().startswith("{"):
        return _json(text, path)
    return _toml(text, path)


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as failed:
        raise ConfigError("config_file", f"{path} is no valid JSON: {failed}.", fix="Save it anew from the program that wrote it.") from failed


def _toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as failed:
        raise ConfigError(
            "config_file", f"{path} is no valid TOML: {failed}.", fix="A Windows path needs single quotes or doubled backslashes."
        ) from failed


def _yaml(text: str, path: Path) -> Any:
    # Imported for those files alone: everything else in params starts without it.
    import yaml

    try:
        return _Plain().made(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError) as failed:
        raise ConfigError("config_file", f"{path} is no valid YAML: {failed}.", fix="Check its indentation.") from failed


class _Plain:
    """YAML's values as JSON has them: names are text, dates are text, and there are not too many."""

    def __init__(self) -> None:
        self.count = 0

    def made(self, value: Any, depth: int = 0) -> Any:
        """`value` in plain types. Raises ConfigError where it has no end."""
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            raise ConfigError("config_file", "The YAML file refers to itself, or holds more than a config does.", fix="Open a config file.")
        if isinstance(value, dict):
            return {str(key): self.made(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple, set)):
            return [self.made(item, depth + 1) for item in value]
        return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
