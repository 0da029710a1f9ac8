"""Tokens that trainings need: kept in one file that only its owner may read, and handed to processes by their environment alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from kohya_gui.jobs.states import write_whole
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.config import Config

SECRETS = {"wandb_api_key": "WANDB_API_KEY", "huggingface_token": "HF_TOKEN"}
"""Options that are never written anywhere but into the owner's file, with the environment variable that carries each."""
SECRETS_FILE = ".secrets.json"
SHOWN_LETTERS = 4
SHORTEST_TO_SHOW = 12


def secrets_of(config: Config, runs_dir: Path) -> dict[str, str]:
    """The secrets that `config` gives, as environment variables, with those that were given earlier; newly given ones are remembered for resuming.

    They are kept in one file in `runs_dir` that only its owner may read.
    """
    known = _kept(runs_dir)
    given = {variable: str(config.given[name]) for name, variable in SECRETS.items() if config.given.get(name)}
    if given and {**known, **given} != known:
        runs_dir.mkdir(parents=True, exist_ok=True)
        write_whole(runs_dir / SECRETS_FILE, json.dumps({**known, **given}), private=True)
    return {**remembered_secrets(runs_dir), **given}


def remembered_secrets(runs_dir: Path) -> dict[str, str]:
    """The secrets that were given earlier, by environment variable; what the environment holds itself counts before them."""
    return {variable: value for variable, value in _kept(runs_dir).items() if variable not in os.environ}


def keep_secret(runs_dir: Path, variable: str, value: str | None) -> None:
    """Keep a token for all trainings, or forget it (None).

    Raises:
        ConfigError: it is empty or has blanks or line ends in it, so it is no token.
        RunError: the file cannot be written.
    """
    if value is not None and (not value or any(not letter.isprintable() or letter.isspace() for letter in value)):
        raise ConfigError("", "A token is one word without blanks.", fix="Copy it again from the page that made it.")
    known = dict(_kept(runs_dir))
    known.pop(variable, None)
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        write_whole(runs_dir / SECRETS_FILE, json.dumps(known if value is None else {**known, variable: value}), private=True)
    except OSError as failed:
        raise RunError(f"{runs_dir / SECRETS_FILE} cannot be written: {failed.strerror}.", fix="Choose another folder for runs.") from failed


def kept_ending(runs_dir: Path, variable: str) -> str | None:
    """The last letters of a kept token, by which its owner knows it; "" where it is too short to show any, None where none is kept."""
    value = _kept(runs_dir).get(variable)
    return None if value is None else value[-SHOWN_LETTERS:] if len(value) >= SHORTEST_TO_SHOW else ""


def _kept(runs_dir: Path) -> Mapping[str, str]:
    path = runs_dir / SECRETS_FILE
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
