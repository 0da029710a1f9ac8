"""What the fields and buttons of the Train page do: from widget values to draft, marks, plan, and a started run."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from kohya_gui.configs import Draft, draft_of, import_file, preset_folder, presets, script_of
from kohya_gui.form.form import Form
from kohya_gui.form.keys import name_of
from kohya_gui.form.marks import SectionFacts, as_markup, make_marks
from kohya_gui.form.plan import plan_panel, problem_list
from kohya_gui.form.switch import choose, method_choices
from kohya_gui.jobs.preflight import preflight
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.text import plural
from sd_scripts.errors import ConfigError, RunError, TrainingError
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import dumps, write_config
from sd_scripts.params.migrate import Imported, Row, import_command_line
from sd_scripts.params.problem import Problem

PROMPTS = "prompts"


class Others(NamedTuple):
    """Widgets that are no options of a trainer: the sample prompts, the two choices that name the trainer, and the presets that it has."""

    prompts: Component
    method: gr.Radio
    family: gr.Radio
    preset: gr.Dropdown


@dataclass(frozen=True)
class TrainingActions:
    """Handlers of one page."""

    desk: Desk
    form: Form
    sections: tuple[SectionFacts, ...]
    others: Others

    def load(self, request: gr.Request) -> dict[Component, Any]:
        """Values for a page that was just opened: only what differs from what it was built with."""
        draft = self.desk.drafts.read(self.desk.user_of(request))
        return self._shown(draft, self.form.start)

    def marks(self, request: gr.Request) -> Markup:
        """The marks of the draft."""
        user = self.desk.user_of(request)
        return self._marks(user, self.desk.drafts.read(user))

    def typed(self, name: str, value: Any, request: gr.Request) -> Any:
        """One field changed."""
        user = self.desk.user_of(request)
        before = self.desk.drafts.read(user)
        draft = self.desk.drafts.update(user, lambda draft: self._take(draft, name, value))
        return gr.skip() if draft == before else self._marks(user, draft)

    def switch(self, method: str, family: str, request: gr.Request) -> dict[Component, Any]:
        """Another trainer was chosen: what was set stays, as far as that one takes it."""
        user, chosen = self.desk.user_of(request), choose(method, family)
        before = self.desk.drafts.read(user)
        fresh, old = self.desk.start(chosen), self.desk.start(before.command)
        shown = self._shown(self.desk.drafts.update(user, lambda draft: draft.switched(fresh, old)), before)
        # What was clicked stands there already; to set it again would undo a click that came after it.
        shown[self.others.family] = gr.skip()
        if chosen.method == method:
            shown[self.others.method] = gr.skip() if chosen.family == before.command.family else gr.update(choices=method_choices(family))
        return shown

    def plan(self, request: gr.Request) -> tuple[Markup, Markup]:
        """The panel beside the form, and the marks of what was found at the paths."""
        user = self.desk.user_of(request)
        config, problems = self.desk.judge(user, self.desk.drafts.read(user))
        report, found = self.desk.survey(config, problems)
        return plan_panel(config, report, found, self.desk.words, card_bytes=self._card()), self._findings(user, config, found, known=problems)

    def act(self, text: str, request: gr.Request) -> dict[Component, Any]:
        """A command of the page's script: {"do": "reset" or "fix", "names": [fields]}, {"do": "undo" or "redo"}.

        A reset takes fields back to what was opened, a fix does what the fix of a field's problem says.
        """
        try:
            wanted = json.loads(text or "{}")
            names = [name_of(key) for key in wanted.get("names", ()) if key in self.form.fields]
            do = str(wanted.get("do", ""))
        except (ValueError, AttributeError, TypeError):
            names, do = [], ""
        user = self.desk.user_of(request)
        before = self.desk.drafts.read(user)
        if do in ("undo", "redo"):
            after = self.desk.drafts.step(user, back=do == "undo")
        elif do == "fix":
            after = self.desk.drafts.update(user, lambda draft: self._mended(user, draft, names), apart=True)
        else:
            after = self.desk.drafts.update(user, lambda draft: self._reset(draft, names), apart=True)
        return self._shown(after, before)

    def _mended(self, user: str, draft: Draft, names: Sequence[str]) -> Draft:
        """The draft after the first problem of one of the fields that can be mended so."""
        _, problems = self.desk.survey(*self.desk.judge(user, draft))
        mend = next((problem.mend for problem in problems if problem.field in names and problem.mend), ())
        for name, value in mend:
            draft = draft.with_value(name, value) if name in draft.command.by_name else draft
        return draft

    def check(self, values: Mapping[Component, Any], request: gr.Request) -> tuple[Markup, Markup, Markup]:
        """Everything that a start would check."""
        user, draft = self._collect(values, request)
        config, problems = self.desk.judge(user, draft)
        report, found = self.desk.survey(config, problems)
        if not self.desk.foreign_paths(config):
            found = list(dict.fromkeys([*found, *preflight(config, runs_dir=self.desk.settings.runs_dir)]))
        panel = plan_panel(config, report, found, self.desk.words, card_bytes=self._card())
        errors = sum(problem.severity == "error" for problem in found)
        sentence = f"{plural(errors, 'error')} to mend before the training can start." if errors else "Ready to start."
        return panel, self._findings(user, config, found, known=problems), told("bad" if errors else "good", sentence)

    def show_command(self, values: Mapping[Component, Any], request: gr.Request) -> Markup:
        """The command and the config file, for a terminal."""
        user, draft = self._collect(values, request)
        config, _ = self.desk.judge(user, draft)
        try:
            command = shlex.join(self.desk.executor.command(config))
        except TrainingError as failed:
            return told("bad", str(failed))
        return tag(
            "div",
            tag("h2", "Command"),
            tag("pre", command, id="command-text", tabindex="0"),
            tag("button", "Copy", class_="button", type="button", data_copy="#command-text"),
            tag("h2", "config.toml"),
            tag("pre", dumps(draft.config()[0]), id="toml-text", tabindex="0"),
            tag("button", "Copy", class_="button", type="button", data_copy="#toml-text"),
            class_="card command-card",
        )

    def start(self, values: Mapping[Component, Any], request: gr.Request) -> tuple[Markup, Markup]:
        """Start the training and go to its page; what stops it is said as a sentence."""
        user, draft = self._collect(values, request)
        config, problems = self.desk.judge(user, draft)
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            return self._refused(errors, config), Markup()
        try:
            run = self.desk.executor.start(config)
        except TrainingError as failed:
            found = [problem for problem in getattr(failed, "problems", ()) if problem.severity == "error"]
            return (self._refused(found, config) if found else told("bad", str(failed))), Markup()
        return Markup(), tag("span", data_href=f"{self.desk.options.root_path}/run?id={run.name}", hidden=True)

    def open_path(self, path: str, request: gr.Request) -> tuple[dict[Component, Any], Markup]:
        """Open a config file of this machine."""
        if not path.strip():
            raise ConfigError("", "No file is named.", fix="Write or browse to a .toml or .json file.")
        found = self.desk.roots.resolve(path.strip())
        return self._open(found, request, source=found.name, file=str(found))

    def open_upload(self, path: str, request: gr.Request) -> tuple[dict[Component, Any], Markup]:
        """Open a config file that the browser sent."""
        return self._open(Path(path), request, source=Path(path).name)

    def open_command(self, text: str, request: gr.Request) -> tuple[dict[Component, Any], Markup]:
        """Take the options of a pasted command line."""
        if not (text or "").strip():
            raise ConfigError("", "Nothing was pasted.", fix="Paste a command such as: accelerate launch train_network.py --network_dim 16 ...")
        user = self.desk.user_of(request)
        return self._took(import_command_line(text, self.desk.drafts.read(user).command), user, source="the command")

    def open_preset(self, name: str, request: gr.Request) -> tuple[dict[Component, Any], Markup]:
        """Open a bundled preset or one of the user's own; folders and model stay as they are."""
        path = presets(preset_folder(self.desk.drafts.read(self.desk.user_of(request)).command.method)).get(name)
        if path is None:
            raise ConfigError("preset", f"There is no preset {name!r}.")
        return self._open(path, request, source=name, keep=KEPT_BY_PRESETS)

    def reset(self, request: gr.Request) -> tuple[dict[Component, Any], Markup]:
        """Begin again with an empty form."""
        user = self.desk.user_of(request)
        before = self.desk.drafts.read(user)
        fresh = self.desk.start(before.command)
        self.desk.drafts.write(user, fresh)
        return self._shown(fresh, before), told("good", "The form is as new.")

    def save(self, path: str, values: Mapping[Component, Any], request: gr.Request) -> Markup:
        """Write the form as a TOML config file on this machine. It replaces no file but the one that was opened or saved last."""
        user, draft = self._collect(values, request)
        if not path.strip():
            raise ConfigError("", "No file is named.", fix="Write a path such as configs/cat.toml.")
        target = Path(path.strip())
        target = self.desk.roots.resolve(target if target.suffix == ".toml" else target.with_name(target.name + ".toml"))
        if draft.wrong:
            raise ConfigError(next(iter(draft.wrong)), "It cannot be saved as it stands.", fix="Mend the marked fields first.")
        if target.exists() and str(target) != draft.file:
            raise ConfigError("", f"{target} exists, and is not the file that was opened.", fix="Choose another name, or open it first.")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_config(target, draft.config()[0])
        except OSError as failed:
            raise RunError(f"{target} cannot be written: {failed.strerror}.", fix="Choose another place.") from failed
        self.desk.drafts.update(user, lambda draft: dataclasses.replace(draft, file=str(target)))
        return told("good", f"Saved as {target}.")

    def _open(self, path: Path, request: gr.Request, *, source: str, file: str = "", keep: Sequence[str] = ()) -> tuple[dict[Component, Any], Markup]:
        user = self.desk.user_of(request)
        before = self.desk.drafts.read(user)
        named = script_of(path)
        return self._took(
            import_file(path, named or before.command, exactly=named is not None or bool(keep)), user, source=source, file=file, keep=keep
        )

    def _took(self, imported: Imported, user: str, *, source: str, file: str = "", keep: Sequence[str] = ()) -> tuple[dict[Component, Any], Markup]:
        """Show what was imported; of the draft before, only the fields of `keep` stay."""
        before = self.desk.drafts.read(user)
        draft = draft_of(imported.config, file=file)
        kept = {name: before.given[name] for name in keep if name in before.given}
        draft = dataclasses.replace(
            draft, given={**draft.given, **kept}, base={**draft.base, **kept}, prompts=draft.prompts or (before.prompts if keep else "")
        )
        self.desk.drafts.write(user, draft)
        notes = [tag("li", str(note.message), " ", tag("span", note.fix, class_="fix"), class_=note.severity) for note in imported.config.notes]
        return self._shown(draft, before), join(_opened(source, imported.rows), tag("ul", notes, class_="problems") if notes else None)

    def _collect(self, values: Mapping[Component, Any], request: gr.Request) -> tuple[str, Draft]:
        user = self.desk.user_of(request)

        def change(draft: Draft) -> Draft:
            return self._take(self.form.collect(draft, values), PROMPTS, values.get(self.others.prompts, draft.prompts))

        return user, self.desk.drafts.update(user, change)

    def _take(self, draft: Draft, name: str, value: Any) -> Draft:
        if name == PROMPTS:
            return draft if draft.prompts == (value or "") else dataclasses.replace(draft, prompts=value or "")
        return self.form.take(draft, name, value)

    def _reset(self, draft: Draft, names: Sequence[str]) -> Draft:
        given = {name: value for name, value in draft.given.items() if name not in names}
        given |= {name: draft.base[name] for name in names if name in draft.base}
        return dataclasses.replace(draft, given=given, wrong={name: text for name, text in draft.wrong.items() if name not in names})

    def _shown(self, draft: Draft, before: Draft) -> dict[Component, Any]:
        # Gradio takes an empty mapping for a single value, so the prompts are always in it.
        prompts, method, family, preset = self.others
        shown: dict[Component, Any] = {prompts: gr.skip() if draft.prompts == before.prompts else draft.prompts}
        if draft.script != before.script:
            row = draft.command
            shown |= {method: gr.update(choices=method_choices(row.family), value=row.method), family: row.family}
            shown[preset] = gr.update(choices=list(presets(preset_folder(row.method))), value=None)
        return {**self.form.show(draft, before), **shown}

    def _marks(self, user: str, draft: Draft) -> Markup:
        config, problems = self.desk.judge(user, draft)
        marks = make_marks(draft, config, problems, sections=self.sections, words=self.desk.words)
        return as_markup({**marks, **self.desk.drafts.steps(user)})

    def _findings(self, user: str, config: Config, problems: Sequence[Problem], *, known: Sequence[Problem]) -> Markup:
        """Marks of what only a look at the files told; the script adds them to those of the draft."""
        rest = [problem for problem in problems if problem not in known]
        return as_markup(make_marks(self.desk.drafts.read(user), config, rest, sections=self.sections, words=self.desk.words))

    def _card(self) -> int | None:
        """Memory of the smallest accelerator that a training may get."""
        return min((device.memory_bytes for device in self.desk.executor.machine.devices if device.memory_bytes), default=None)

    def _refused(self, problems: Sequence[Problem], config: Config) -> Markup:
        return tag("div", tag("h2", "Not started"), problem_list(problems, config.command, self.desk.words), class_="card refused", role="alert")


KEPT_BY_PRESETS = (
    "pretrained_model_name_or_path",
    "train_data_dir",
    "reg_data_dir",
    "dataset_config",
    "dataset_repeats",
    "class_tokens",
    "output_dir",
    "output_name",
    "logging_dir",
    "resolution",
    "vae",
)
"""What a preset leaves alone: it says how to train, not what."""


def told(tone: str, sentence: str) -> Markup:
    """A sentence in answer to a button; `tone` is good, warn or bad."""
    return tag("p", sentence, class_=f"told {tone}", role="alert" if tone == "bad" else "status")


def _opened(source: str, rows: Sequence[Row]) -> Markup:
    """What became of each key of an opened file: those that were not simply taken over are listed."""
    rest = [row for row in rows if row.outcome not in ("taken", "default")]
    sentence = told("good", f"Opened {source}: {plural(len(rows), 'key')}, {len(rest)} of them worth a look." if rest else f"Opened {source}.")
    if not rest:
        return sentence
    head = tag("tr", [tag("th", word, scope="col") for word in ("Key", "Value", "Became", "Note")])
    lines = [tag("tr", tag("td", tag("code", row.key)), tag("td", str(row.value)), tag("td", row.outcome), tag("td", row.note)) for row in rest]
    return join(
        sentence, tag("details", tag("summary", "What became of the keys"), tag("table", tag("thead", head), tag("tbody", lines), class_="rows"))
    )
