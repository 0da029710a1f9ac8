"""The verb `train`: a config or a stopped run, trained without the page, with the same preflight and run folder."""

from __future__ import annotations

import json
import signal
import sys
from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from kohya_gui.follow import JsonLines, Show, Terminal, exit_code, final_files, follow
from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.preflight import Refused
from kohya_gui.verbs_config import read_any, runs_folder
from sd_scripts.errors import ConfigError, RunError


def run(arguments: Namespace) -> int:
    """Train, and return the run's exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    executor = CommandExecutor(runs_folder(arguments), offline=not arguments.online)
    try:
        folder = _begin(arguments, executor)
    except Refused as refused:
        return _tell_refusal(refused, as_json=arguments.json)
    if not arguments.json:
        print(f"run: {folder}", file=sys.stderr)
    view = follow_and_stop(executor, folder, JsonLines() if arguments.json else Terminal())
    if not arguments.json:
        print("\n".join(final_files(view)))
    return exit_code(view.status)


def follow_and_stop(executor: CommandExecutor, run: Path, show: Show, *, asked: bool = False) -> RunView:
    """Follow a run to its end. Ctrl-C asks it to save and stop, where nobody `asked` yet; once more ends it at once. For the main thread only."""
    served = 0

    def serve() -> bool:
        nonlocal served
        while served < len(presses):
            served += 1
            _ask_to_stop(executor, run, hard=asked or served > 1)
        return False

    with _counted_presses() as presses:
        return follow(run, show, interrupted=serve)


@contextmanager
def _counted_presses() -> Generator[list[int]]:
    """Ctrl-C, or a request to terminate, becomes an entry of the list: as an exception it would cut a line that is just being printed."""
    presses: list[int] = []
    before = {number: signal.signal(number, lambda number, _: presses.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield presses
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ask_to_stop(executor: CommandExecutor, run: Path, *, hard: bool) -> None:
    try:
        executor.stop(run, hard=hard)
    except RunError:
        # It ended by itself between the key and the request; following tells how.
        return
    print("\nending it now" if hard else "\nstopping after this step and saving; Ctrl-C again ends it at once", file=sys.stderr)


def _begin(arguments: Namespace, executor: CommandExecutor) -> Path:
    if arguments.resume:
        return executor.resume(executor.runs_dir / Path(arguments.resume).name)
    if arguments.config is None:
        raise ConfigError("", "There is nothing to train.", fix="Name a config, or a run with --resume.")
    return executor.start(read_any(arguments.config, arguments.script))


def _tell_refusal(refused: Refused, *, as_json: bool) -> int:
    if as_json:
        problems = [{"field": p.field, "message": p.message, "fix": p.fix, "severity": p.severity} for p in refused.problems]
        print(json.dumps({"error": {"code": refused.code, "exit_code": refused.exit_code}, "problems": problems}, ensure_ascii=False))
    else:
        print("\n".join(str(problem) for problem in refused.problems), file=sys.stderr)
    return refused.exit_code
