"""The door of every trainer: options in, exit code out. All that a user can be told is told here, before or after the training itself.

Nothing here needs torch, so `--help` and wrong options take no time: family, method and the trainer are named by their dotted paths and imported only
when the options and the pictures are accepted. Whatever goes wrong becomes a sentence, an event and an exit code (sd_scripts/errors.py).
"""

from __future__ import annotations

import json
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError, DataError, RunError, Stopped, TrainingError
from sd_scripts.library.training.checkpoint import existing_outputs, save_rules
from sd_scripts.library.training.console import LOG, close_console, open_console
from sd_scripts.library.training.report import Report
from sd_scripts.library.training.request import Outcome, Request
from sd_scripts.library.training.uploads import with_fetched_state
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders
from sd_scripts.params.events import RUN_DIR_VARIABLE
from sd_scripts.params.logging import Logging
from sd_scripts.params.problem import Problem
from sd_scripts.params.saving import State
from sd_scripts.survey.checks import survey
from sd_scripts.survey.items import remember

TRAINER = "sd_scripts.library.training.session:train"
SHOWER = "sd_scripts.library.training.shown_dataset:show_dataset"


def main(script: str, *, family: str, method: str, argv: Sequence[str] | None = None) -> int:
    """Run one trainer and return its exit code.

    Args:
        script: the command's name in params/commands.py.
        family: dotted path of the family's class, "package.module:Class".
        method: that of the method's class.
        argv: the command line without the program's name; None for this process's.
    """
    _forget_script_folder()
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    folder = os.environ.get(RUN_DIR_VARIABLE)
    report = Report(Path(folder) if folder else None, main=rank == 0)
    report.clear(rank)
    open_console()
    try:
        outcome = _train(script, sys.argv[1:] if argv is None else argv, report, names=(family, method), processes=processes)
        report.event("done", exit_code=outcome.exit_code, reason=outcome.reason, step=outcome.step)
        report.say(f"{outcome.reason} (step {outcome.step})")
        return outcome.exit_code
    except KeyboardInterrupt:
        report.event("done", exit_code=Stopped.exit_code, reason="stopped at once, without saving", step=report.step)
        return Stopped.exit_code
    except Stopped as stopped:
        report.event("done", exit_code=stopped.exit_code, reason=stopped.message, step=report.step)
        return stopped.exit_code
    except TrainingError as error:
        return _failed(error, report, rank)
    except Exception as error:  # noqa: BLE001  # the process's border: a bug, too, must leave its reason behind
        traceback.print_exc()
        return _failed(_blamed(error, report.run_dir, rank, processes), report, rank)
    finally:
        report.close()
        close_console()


def _train(script: str, argv: Sequence[str], report: Report, *, names: tuple[str, str], processes: int) -> Outcome:
    config = parse_args(command(script), argv)
    open_console(config[Logging])
    found = survey(config, processes=processes)
    refuse(found.problems, report)
    if found.plan is None or found.blueprint is None or found.scan is None:
        raise DataError("There is nothing to train on.", fix="Look at train_data_dir or dataset_config.")
    if report.main:
        refuse(remember(found.blueprint, found.scan), report)
    showing = config[Folders].debug_dataset
    config = with_fetched_state(config)
    if not showing:
        _refuse_to_overwrite(config, epochs=found.plan.epochs)
    report.event("plan", plan=found.plan.as_dict())
    for line in found.plan.formula():
        report.say(line)
    for row in found.adapter.rows if found.adapter else ():
        report.say(row.line())
    report.phase("loading")
    trainer: Callable[[Request, Report], Outcome] = pkgutil.resolve_name(SHOWER if showing else TRAINER)
    return trainer(Request(config, found.plan, found.blueprint, found.scan, *names), report)


def refuse(problems: Sequence[Problem], report: Report) -> None:
    """Tell all problems; raise ConfigError for the first error among them."""
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in problems:
        if problem.severity == "error":
            if problem is not errors[0]:
                LOG.error(str(problem))
        else:
            field = f"--{problem.field}: " if problem.field else ""
            report.warn(problem.field or "data", f"{field}{problem.message}", problem.fix)
    if errors:
        raise ConfigError(errors[0].field, errors[0].message, fix=errors[0].fix)


def _refuse_to_overwrite(config: Config, *, epochs: int) -> None:
    """A new run never writes over what another one left. A resumed one goes on among its own files."""
    there = [] if config[State].resume else existing_outputs(save_rules(config, epochs=epochs))
    if there:
        one = f"{there[0]} exists from an earlier run."
        more = f"{there[0]} and {len(there) - 1} more exist from an earlier run."
        fix = "Choose another output_name or output_dir, or move the files away."
        raise ConfigError("output_name", one if len(there) == 1 else more, fix=fix)


def _failed(error: BaseException, report: Report, rank: int) -> int:
    exit_code = getattr(error, "exit_code", 1)
    LOG.error(f"error: {error}")
    report.failed(error, rank=rank, exit_code=exit_code)
    return exit_code


def _blamed(error: Exception, run_dir: Path | None, rank: int, processes: int) -> Exception:
    """The error itself; or, where it only says that another process went away, the reason that the other one left."""
    if run_dir is None or processes == 1:
        return error
    for other in range(processes):
        path = run_dir / f"error-{other}.json"
        if other != rank and path.is_file():
            return _left_by(path, other) or error
    return error


def _left_by(path: Path, rank: int) -> RunError | None:
    try:
        reason: dict[str, Any] = json.loads(path.read_text("utf-8"))
        found = RunError(f"Process {rank} failed: {reason['text']}", fix=reason["fix"])
        found.exit_code, found.code = int(reason["exit_code"]), str(reason["code"])
    except (OSError, ValueError, KeyError):
        return None
    return found


def _forget_script_folder() -> None:
    """A script started by its path has its own folder first in sys.path, where our module names would hide other people's."""
    own = Path(__file__).resolve().parents[2]
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != own]
