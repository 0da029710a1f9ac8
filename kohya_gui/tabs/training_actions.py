"""What the fields and buttons of the Train page do: from what the browser sent to what it shows, and to a started run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kohya_gui.configs import Draft
from kohya_gui.form.blocks import block_picture, set_block
from kohya_gui.form.form import Form
from kohya_gui.form.keys import name_of
from kohya_gui.form.marks import SectionFacts, make_marks
from kohya_gui.form.plan import plan_panel, problem_list
from kohya_gui.form.switch import choose
from kohya_gui.jobs.preflight import preflight
from kohya_gui.markup import Markup, tag
from kohya_gui.presets import listed
from kohya_gui.tabs.desk import Desk
from kohya_gui.text import count, error_words, say, words
from sd_scripts.errors import TrainingError
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import dumps
from sd_scripts.params.problem import Problem

Answer = dict[str, Any]
"""What the page's script is to show: see `TrainingActions`."""


@dataclass(frozen=True)
class TrainingActions:
    """Answers to one page, each for a user by name. An answer may hold:

    `values`: what fields hold now, by key; `marks`: how fields and sections are decorated (`form.marks`); `plan`: the panel beside the form;
    `findings`: marks of what only a look at the files told; `presets`: names of presets; `file`: the config file that is open; `outcome`: the answer
    to a button; `href`: the page to go to.
    """

    desk: Desk
    form: Form
    sections: tuple[SectionFacts, ...]

    def look(self, user: str) -> Answer:
        """Everything that a page which was just opened shows."""
        return self.shown(user, self.desk.drafts.read(user))

    def typed(self, user: str, values: Mapping[str, str | bool]) -> Answer:
        """Fields came to hold these values."""
        draft = self.desk.drafts.update(user, lambda draft: self.form.collect(draft, values))
        return {"marks": self.marks(user, draft)}

    def switch(self, user: str, method: str, family: str) -> Answer:
        """Another trainer was chosen: what was set stays, as far as that one takes it. Raises ConfigError where there is no such choice."""
        chosen = choose(method, family)
        fresh, old = self.desk.start(chosen), self.desk.start(self.desk.drafts.read(user).command)
        return self.shown(user, self.desk.drafts.update(user, lambda draft: draft.switched(fresh, old)))

    def plan(self, user: str) -> Answer:
        """The panel beside the form, and the marks of what was found at the paths."""
        config, problems = self.desk.judge(user, self.desk.drafts.read(user))
        report, found = self.desk.survey(config, problems)
        panel = plan_panel(config, report, found, words(), card_bytes=self._card(), root_path=self.desk.options.root_path)
        return {"plan": panel, "findings": self._findings(user, config, found, known=problems)}

    def step(self, user: str, *, back: bool) -> Answer:
        """Undo, or do again what was undone."""
        return self.shown(user, self.desk.drafts.step(user, back=back))

    def fix(self, user: str, keys: Sequence[str]) -> Answer:
        """Do what the fix of these fields' first problem says, where it can be done so."""
        names = [name_of(key) for key in keys]
        return self.shown(user, self.desk.drafts.update(user, lambda draft: self._mended(user, draft, names), apart=True))

    def reset(self, user: str, keys: Sequence[str]) -> Answer:
        """Take fields back to what was opened."""
        names = [name_of(key) for key in keys]
        return self.shown(user, self.desk.drafts.update(user, lambda draft: draft.reset(names), apart=True))

    def blocks(self, user: str, sheet: str) -> Markup:
        """The picture of the U-Net's blocks."""
        return block_picture(self.desk.judge(user, self.desk.drafts.read(user))[0], sheet)

    def set_block(self, user: str, sheet: str, index: int, text: str) -> Answer:
        """One block's number in the picture was changed. Raises ConfigError."""
        return self.shown(user, self.desk.drafts.update(user, lambda draft: set_block(draft, sheet, index, text), apart=True))

    def anew(self, user: str) -> Answer:
        """Begin again with an empty form."""
        fresh = self.desk.start(self.desk.drafts.read(user).command)
        self.desk.drafts.write(user, fresh)
        return {**self.shown(user, fresh), "outcome": told("good", say("The form is as new."))}

    def check(self, user: str) -> Answer:
        """Everything that a start would check."""
        config, problems = self.desk.judge(user, self.desk.drafts.read(user))
        report, found = self.desk.survey(config, problems)
        if not self.desk.foreign_paths(config):
            found = list(dict.fromkeys([*found, *preflight(config, runs_dir=self.desk.settings.runs_dir)]))
        panel = plan_panel(config, report, found, words(), card_bytes=self._card(), root_path=self.desk.options.root_path)
        errors = sum(problem.severity == "error" for problem in found)
        first = say("1 error to mend before the training can start.")
        several = say("{count} errors to mend before the training can start.", count=count(errors))
        sentence = (first if errors == 1 else several) if errors else say("Ready to start.")
        findings = self._findings(user, config, found, known=problems)
        return {"plan": panel, "findings": findings, "outcome": told("bad" if errors else "good", sentence)}

    def show_command(self, user: str) -> Answer:
        """The command and the config file, for a terminal."""
        draft = self.desk.drafts.read(user)
        config, _ = self.desk.judge(user, draft)
        command = shlex.join(self.desk.executor.command(config))
        shown = tag(
            "div",
            tag("h2", say("Command")),
            tag("pre", command, id="command-text", tabindex="0"),
            tag("button", say("Copy"), class_="button", type="button", data_copy="#command-text"),
            tag("h2", "config.toml"),
            tag("pre", dumps(draft.config()[0]), id="toml-text", tabindex="0"),
            tag("button", say("Copy"), class_="button", type="button", data_copy="#toml-text"),
            class_="card command-card",
        )
        return {"outcome": shown}

    def start(self, user: str) -> Answer:
        """Start the training and go to its page; what stops it is said as a sentence."""
        config, problems = self.desk.judge(user, self.desk.drafts.read(user))
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            return {"outcome": self._refused(errors, config)}
        try:
            run = self.desk.executor.start(config)
        except TrainingError as failed:
            found = [problem for problem in getattr(failed, "problems", ()) if problem.severity == "error"]
            return {"outcome": self._refused(found, config) if found else told("bad", error_words(failed))}
        return {"href": f"{self.desk.options.root_path}/run?id={run.name}"}

    def shown(self, user: str, draft: Draft) -> Answer:
        """All fields and marks of a draft, and the presets that its method has."""
        return {"values": self.form.show(draft), "marks": self.marks(user, draft), "presets": listed(draft.command), "file": draft.file}

    def marks(self, user: str, draft: Draft) -> dict[str, Any]:
        """How the draft's fields and sections are decorated, and whether there is anything to undo."""
        config, problems = self.desk.judge(user, draft)
        return {**make_marks(draft, config, problems, sections=self.sections, words=words()), **self.desk.drafts.steps(user)}

    def _mended(self, user: str, draft: Draft, names: Sequence[str]) -> Draft:
        """The draft after the first problem of one of the fields that can be mended so."""
        _, problems = self.desk.survey(*self.desk.judge(user, draft))
        mend = next((problem.mend for problem in problems if problem.field in names and problem.mend), ())
        for name, value in mend:
            draft = draft.with_value(name, value) if name in draft.command.by_name else draft
        return draft

    def _findings(self, user: str, config: Config, problems: Sequence[Problem], *, known: Sequence[Problem]) -> dict[str, Any]:
        """Marks of what only a look at the files told; the script adds them to those of the draft."""
        rest = [problem for problem in problems if problem not in known]
        return make_marks(self.desk.drafts.read(user), config, rest, sections=self.sections, words=words())

    def _card(self) -> int | None:
        """Memory of the smallest accelerator that a training may get."""
        return min((device.memory_bytes for device in self.desk.executor.machine.devices if device.memory_bytes), default=None)

    def _refused(self, problems: Sequence[Problem], config: Config) -> Markup:
        return tag(
            "div",
            tag("h2", say("Not started")),
            problem_list(problems, config.command, words(), root_path=self.desk.options.root_path),
            class_="card refused",
            role="alert",
        )


def told(tone: str, sentence: str) -> Markup:
    """A sentence in answer to a button; `tone` is good, warn or bad."""
    return tag("p", sentence, class_=f"told {tone}", role="alert" if tone == "bad" else "status")
