"""What all pages share: settings, allowed folders, drafts, and the hand that starts and stops runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import gradio as gr

from kohya_gui.configs import FIRST_SCRIPT, Draft, start_draft
from kohya_gui.drafts import Drafts
from kohya_gui.files import Roots
from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.launch import process_count
from kohya_gui.jobs.monitor import Views
from kohya_gui.jobs.runs import RUN_FILE
from kohya_gui.jobs.tensorboard import Board
from kohya_gui.settings import ServerOptions, Settings
from kohya_gui.text import Words, words
from sd_scripts.errors import RunError
from sd_scripts.params.commands import Command, command
from sd_scripts.params.config import Config
from sd_scripts.params.problem import Problem, error
from sd_scripts.survey.checks import Report, survey

LOCAL_USER = "local"


@dataclass
class Desk:
    """One per server. `settings` and `roots` are replaced when somebody saves the Settings page, see `settle`; all else stays."""

    settings: Settings
    options: ServerOptions
    languages: Mapping[str, Words]
    roots: Roots
    drafts: Drafts
    executor: CommandExecutor
    board: Board
    views: Views = field(default_factory=Views)

    @property
    def words(self) -> Words:
        """The texts in the language of whoever is being answered."""
        return words()

    def start(self, wanted: Command) -> Draft:
        """The draft of an empty form for a trainer. Raises ConfigError."""
        return start_draft(wanted, self.settings)

    def settle(self, settings: Settings) -> None:
        """Use other settings from now on: folders, and what an empty form starts with.

        Raises:
            ConfigError: the preset does not exist, or a default is none of its option's values; then nothing is changed.
        """
        start = start_draft(command(FIRST_SCRIPT), settings)
        self.settings, self.roots = settings, Roots(settings.roots())
        self.drafts = replace(self.drafts, start=start)

    def user_of(self, request: gr.Request) -> str:
        """Whose draft it is; without a login there is one user."""
        return request.username or LOCAL_USER

    def run_folder(self, run_id: str) -> Path:
        """The folder of a run by its id.

        Raises:
            RunError: there is no such run.
        """
        path = self.settings.runs_dir / run_id
        if not run_id or Path(run_id).name != run_id or not (path / RUN_FILE).is_file():
            raise RunError(f"There is no run {run_id!r}.", fix="Open it from the list of runs.")
        return path

    def judge(self, user: str, draft: Draft) -> tuple[Config, list[Problem]]:
        """The draft as a config, with problems that are found without looking at files, and paths that the page may not use."""
        config, problems = draft.config(prompts_file=self.drafts.prompts_file(user))
        return config, [*problems, *self.foreign_paths(config)]

    def foreign_paths(self, config: Config) -> list[Problem]:
        """Given paths outside the allowed folders."""
        found = []
        for name, value in config.given.items():
            if config.command.parameter(name).hints.path:
                values = value if isinstance(value, tuple) else (value,)
                if not all(self.roots.allows(str(item)) for item in values):
                    found.append(
                        error(
                            name,
                            "This place is outside the folders that the page may use.",
                            "Choose a place under an allowed folder, or add it to allowed_roots in config.toml.",
                        )
                    )
        return found

    def survey(self, config: Config, problems: Sequence[Problem]) -> tuple[Report, list[Problem]]:
        """What is at the config's paths, and all problems together. Paths that the page may not use are not looked at."""
        if self.foreign_paths(config):
            return Report(None, None, None, None, None, list(problems)), list(problems)
        report = survey(config, processes=process_count(config))
        return report, list(dict.fromkeys([*problems, *report.problems]))
