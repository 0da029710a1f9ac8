"""Verbs that look and change nothing that runs: check, command, runs."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

from kohya_gui.configs import FIRST_SCRIPT, script_of
from kohya_gui.jobs.adoption import adopt_all
from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.preflight import gather, problems_of
from kohya_gui.jobs.runs import RunSummary, list_runs
from kohya_gui.settings import HOME, Settings, read_settings
from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.commands import command as command_of
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import read_config
from sd_scripts.params.migrate import import_any


def run(arguments: Namespace) -> int:
    """Run the verb that was named."""
    verbs: Mapping[str, Callable[[Namespace], int]] = {"check": _check, "command": _command, "runs": _runs}
    return verbs[arguments.verb](arguments)


def trainer_of(path: Path, script: str | None) -> Command:
    """The trainer that was asked for, else the one that the file names, else the first."""
    return command_of(script) if script else script_of(path) or command_of(FIRST_SCRIPT)


def read_any(path: Path, script: str | None) -> Config:
    """A config for `script`, see `trainer_of`: TOML is read strictly, the kohya GUI's JSON is imported.

    Raises:
        ConfigError: the file is missing, or cannot be read as either.
    """
    if path.suffix.lower() == ".json":
        return import_any(path, trainer_of(path, script), exactly=script is not None).config
    return read_config(path, trainer_of(path, script))


def settings_of(arguments: Namespace) -> Settings:
    """The program's settings, with the folder of the runs as given on the command line.

    Raises:
        ConfigError: the file that was named is not there, or cannot be read.
    """
    if arguments.settings is not None and not arguments.settings.is_file():
        raise ConfigError("config", f"{arguments.settings} does not exist.", fix="Copy config.toml.example to it, or leave --config out.")
    settings = read_settings(arguments.settings or HOME / "config.toml")
    return dataclasses.replace(settings, runs_dir=arguments.runs_dir.absolute()) if arguments.runs_dir else settings


def runs_folder(arguments: Namespace) -> Path:
    """The folder of the runs. Raises ConfigError as `settings_of` does."""
    return settings_of(arguments).runs_dir


def _check(arguments: Namespace) -> int:
    config = read_any(arguments.config, arguments.script)
    facts = gather(config, runs_dir=runs_folder(arguments))
    problems = problems_of(facts)
    plan = facts.survey.plan
    refused = any(problem.severity == "error" for problem in problems)
    if arguments.json:
        answer = {"ok": not refused, "problems": [dataclasses.asdict(problem) for problem in problems], "plan": plan.as_dict() if plan else None}
        print(json.dumps(answer, ensure_ascii=False, default=str))
    else:
        layers = [row.line() for row in facts.survey.adapter.rows] if facts.survey.adapter else []
        print("\n".join([*map(str, problems), *(plan.formula() if plan else ()), *layers, "refused" if refused else "ok"]))
    return 2 if refused else 0


def _command(arguments: Namespace) -> int:
    path = arguments.config.absolute()
    config = read_any(path, arguments.script)
    if path.suffix.lower() == ".json":
        raise ConfigError(
            "", f"A trainer cannot read {path.name}.", fix=f"Convert it first: gui.py import {shlex.quote(str(arguments.config))} --to config.toml"
        )
    argv = CommandExecutor(runs_folder(arguments)).command(config, config_path=path)
    print(json.dumps({"argv": argv}, ensure_ascii=False) if arguments.json else shlex.join(argv))
    return 0


def _runs(arguments: Namespace) -> int:
    folder = runs_folder(arguments)
    adopt_all(folder)
    runs = list_runs(folder)
    if arguments.json:
        print(json.dumps([_record(summary) for summary in runs], ensure_ascii=False))
    elif not runs:
        print(f"No runs in {folder} yet.")
    else:
        print("\n".join(_line(summary) for summary in runs))
    return 0


def _record(summary: RunSummary) -> dict[str, object]:
    status = summary.status
    facts = {name: getattr(status, name) for name in ("state", "reason", "fix", "exit_code", "created", "started", "ended", "attempt")}
    return {"id": summary.id, "path": str(summary.path), "name": summary.name, "command": summary.command, **facts}


def _line(summary: RunSummary) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.status.started or summary.status.created))
    return f"{summary.status.state:<12} {when}  {summary.id}  {summary.status.reason}".rstrip()
