"""Starting, stopping and resuming runs: what a button or a verb does. What is checked first lives in `preflight`, who watches in `process`."""

from __future__ import annotations

import json
import time
from pathlib import Path

from kohya_gui.jobs.adoption import adopt, adopt_all, spawn_supervisor
from kohya_gui.jobs.devices import Machine, machine
from kohya_gui.jobs.launch import launch_argv, launch_environment, needs_the_net
from kohya_gui.jobs.locks import START_LOCK, Held, locked
from kohya_gui.jobs.preflight import Refused, gather, problems_of
from kohya_gui.jobs.process import STOP_GRACE_S
from kohya_gui.jobs.promise import output_folder, promise
from kohya_gui.jobs.prompts import RUN_STEM, absolute, prompts_of, with_values
from kohya_gui.jobs.runs import CONFIG_FILE, LOCK_FILE, STOP_FILE, active_run, fill_run, make_run_folder, read_run
from kohya_gui.jobs.secrets import remembered_secrets, secrets_of
from kohya_gui.jobs.states import State, Status, move, read_recorded, write_status, write_whole
from kohya_gui.jobs.tail import EVENTS_FILE, read_all_events
from sd_scripts.errors import RunError
from sd_scripts.params.commands import command as command_of
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import dumps, read_config
from sd_scripts.params.events import CONTROL_FOLDER, Request
from sd_scripts.params.saving import Saving

_START_WAIT_S = 60.0


class CommandExecutor:
    """Runs in one folder, started from one working directory (`cwd`, where relative paths begin; default: the current one).

    `offline` keeps trainers from asking outside servers; `on_machine` is what training runs on, found out if it is not said.
    """

    def __init__(self, runs_dir: Path, *, cwd: Path | None = None, offline: bool = True, on_machine: Machine | None = None) -> None:
        self.runs_dir = Path(runs_dir).absolute()
        self.cwd = (cwd or Path.cwd()).absolute()
        self.offline = offline
        self.machine = on_machine or machine()

    def command(self, config: Config, *, config_path: Path | None = None) -> list[str]:
        """The launch command as words, for a config file at `config_path` (default: where a new run would have it). Raises ConfigError."""
        return launch_argv(config, config_path or self.runs_dir / "RUN" / CONFIG_FILE, self.machine)

    def start(self, config: Config) -> Path:
        """Check everything, make a run folder, start the training and return the folder.

        Raises:
            Refused: preflight found an error; all findings are in it. It is a ConfigError of the first one.
            RunError: another training runs, or the machine is to blame.
        """
        self.runs_dir.mkdir(parents=True, exist_ok=True)
        adopt_all(self.runs_dir)
        try:
            with locked(self.runs_dir / START_LOCK, wait_s=_START_WAIT_S):
                self._refuse_second_run()
                run = self._make_run(config)
                spawn_supervisor(run, secrets=secrets_of(config, self.runs_dir))
        except Held:
            raise RunError("Another training is being started.", fix="Try again in a moment.") from None
        return run

    def stop(self, run: Path, *, hard: bool = False, grace_s: float = STOP_GRACE_S) -> Status:
        """Ask a run to finish its step, save, and end; `hard` ends it at once. Returns the status at the time of asking.

        Raises:
            RunError: nothing of the run is active.
        """
        run = Path(run).absolute()
        status = adopt(run)
        if status.state == "queued":
            return self._move(run, "stopped", reason="Taken back before it started.", ended=time.time())
        if not status.is_active:
            raise RunError(f"{run.name} is {status.state}; there is nothing to stop.")
        self.request(run, "stop")
        write_whole(run / STOP_FILE, json.dumps({"t": time.time(), "hard": hard, "grace_s": grace_s}))
        return status

    def request(self, run: Path, request: Request) -> None:
        """Ask the trainer to save, draw samples or pause after its step. Raises RunError if the run is not active."""
        status = adopt(run)
        if not status.is_active:
            raise RunError(f"{run.name} is {status.state}; it takes no request.")
        write_whole(run / CONTROL_FOLDER / request, json.dumps({"t": time.time()}))

    def resume(self, run: Path) -> Path:
        """Go on with a run in its own folder, from its newest saved state, and return the folder.

        Raises:
            RunError: the run cannot be resumed, saved no state, or another training runs.
        """
        run = Path(run).absolute()
        adopt_all(self.runs_dir)
        try:
            with locked(self.runs_dir / START_LOCK, wait_s=_START_WAIT_S):
                self._refuse_second_run()
                self._prepare_to_resume(run)
                spawn_supervisor(run, secrets=remembered_secrets(self.runs_dir))
        except Held:
            raise RunError("Another training is being started.", fix="Try again in a moment.") from None
        return run

    def _refuse_second_run(self) -> None:
        other = active_run(self.runs_dir)
        if other is not None:
            raise RunError(f"Another training is running: {other.id}.", fix="Wait for it to end, or stop it.")

    def _make_run(self, config: Config) -> Path:
        if self.cwd != Path.cwd():
            config = absolute(config, self.cwd)
        facts = gather(config, runs_dir=self.runs_dir, on_machine=self.machine)
        problems = problems_of(facts)
        if any(problem.severity == "error" for problem in problems):
            raise Refused(problems)
        run = make_run_folder(self.runs_dir, config[Saving].output_name or "run")
        prompts = prompts_of(config)
        if prompts is not None:
            prompts.write(output_folder(config) / "sample", "prompt")
            config = with_values(config, {"sample_prompts": str(prompts.write(run, RUN_STEM))})
        fill_run(
            run,
            config,
            argv=self.command(config, config_path=run / CONFIG_FILE),
            cwd=self.cwd,
            environment=launch_environment(self.machine, offline=self.offline and not needs_the_net(config)),
            promised=promise(config, facts.survey.plan),
            dataset=facts.listing(),
        )
        return run

    def _prepare_to_resume(self, run: Path) -> None:
        record, status = read_run(run), read_recorded(run)
        if not status.is_resumable:
            raise RunError(f"{run.name} is {status.state}; only runs that were stopped, paused or interrupted can be resumed.")
        state = newest_state(run)
        if state is None:
            raise RunError(f"{run.name} has no saved state to resume from.", fix="Start it anew, with save_state on next time.")
        config = with_values(read_config(run / CONFIG_FILE, command_of(record["command"])), {"resume": str(state), "resume_from_huggingface": False})
        write_whole(run / CONFIG_FILE, dumps(config))
        self._move(run, "queued")

    def _move(self, run: Path, state: State, **facts: object) -> Status:
        try:
            with locked(run / LOCK_FILE, wait_s=5):
                status = move(read_recorded(run), state, **facts)
                write_status(run, status)
        except Held:
            raise RunError(f"{run.name} is being changed by its supervisor.", fix="Try again in a moment.") from None
        return status


def newest_state(run: Path) -> Path | None:
    """The last state that the run saved and that is still there."""
    base = Path(read_run(run)["cwd"])
    saved = [base / event["path"] for event in read_all_events(run / EVENTS_FILE) if event["kind"] == "save" and event.get("what") == "state"]
    return next((path for path in reversed(saved) if path.is_dir()), None)
