"""The Train page's way to files: configs opened, saved, copied, compared and exported, commands pasted. Answers are those of `training_actions`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from kohya_gui.config_shelf import Shelf, free_path
from kohya_gui.configs import Draft, draft_of, import_file, script_of
from kohya_gui.form.marks import base_words
from kohya_gui.jobs.states import write_whole
from kohya_gui.markup import Markup, join, tag
from kohya_gui.sections.preparation import run
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import Answer, TrainingActions, told
from kohya_gui.text import count, plural, retell, say, words
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.config_file import write_config
from sd_scripts.params.migrate import Imported, Row, Target, dataset_toml, export_text, import_command_line, with_dataset

THIS_FORM = "this form"


@dataclass(frozen=True)
class FileActions:
    """Answers to one page, each for a user by name. All raise ConfigError for what cannot be read, RunError for what cannot be written."""

    desk: Desk
    actions: TrainingActions
    shelf: Shelf

    def open_path(self, user: str, path: str) -> Answer:
        """Open a config file of this machine."""
        found = self._named(path, say("Write or browse to a config file."))
        answer = self._open(user, found, source=found.name, file=str(found))
        return {**answer, "recent": self._noted(user, found)}

    def open_upload(self, user: str, path: Path) -> Answer:
        """Open a config file that the browser sent."""
        return self._open(user, path, source=path.name)

    def open_command(self, user: str, text: str) -> Answer:
        """Take the options of a pasted command line."""
        if not text.strip():
            raise ConfigError("", "Nothing was pasted.", fix="Paste a command such as: accelerate launch train_network.py --network_dim 16 ...")
        return self._took(user, import_command_line(text, self.desk.drafts.read(user).command), source=say("the command"))

    def save(self, user: str, path: str) -> Answer:
        """Write the form as a TOML config file on this machine. It replaces no file but the one that was opened or saved last."""
        target = self._named(path, say("Write a path such as configs/cat.toml."))
        target = target if target.suffix == ".toml" else target.with_name(target.name + ".toml")
        if target.exists() and str(target) != self.desk.drafts.read(user).file:
            raise ConfigError("", f"{target} exists, and is not the file that was opened.", fix="Choose another name, or open it first.")
        return self._write(user, target, say("Saved as {path}.", path=target))

    def duplicate(self, user: str) -> Answer:
        """Save the form under a free name beside its file, and go on with the copy."""
        file = self.desk.drafts.read(user).file
        if not file:
            raise ConfigError("", "This form has no file yet.", fix="Save it first.")
        target = free_path(Path(file).with_suffix(".toml"))
        return self._write(user, target, say("This is {path} now; {original} stays as it was saved last.", path=target, original=Path(file).name))

    def compare(self, user: str, path: str, other: str) -> Answer:
        """Settings that differ between two config files, or between one and the form."""
        left = self._read(user, self._named(path, say("Write or browse to a config file.")))
        right = self._read(user, self.desk.roots.resolve(other.strip())) if other.strip() else self.desk.drafts.read(user)
        names = [Path(path.strip()).name, Path(other.strip()).name if other.strip() else say(THIS_FORM)]
        return {"outcome": _differences(left, right, names)}

    def export(self, user: str, target: str) -> Answer:
        """What a file for kohya's programs would not hold, and the way to it."""
        _, rows, name = self.exported(user, target)
        lost = [row for row in rows if row.outcome == "no counterpart"]
        link = tag(
            "a", say("Download {name}", name=name), href=f"{self.desk.options.root_path}/form/export?target={target}", class_="button", download=name
        )
        said = (
            say("Everything that was set is in it.") if not lost else say("{count} of {all} settings are not in it:", count=len(lost), all=len(rows))
        )
        return {"outcome": tag("div", tag("h2", name), tag("p", said), _rows(lost) if lost else None, link, class_="card")}

    def exported(self, user: str, target: str) -> tuple[str, tuple[Row, ...], str]:
        """The text of the file, what became of each setting, and the file's name. Raises ConfigError for another target."""
        if target not in get_args(Target):
            raise ConfigError("", f"There is no export for {target!r}.", fix="Choose json or toml.")
        draft = self.desk.drafts.read(user)
        text, rows = export_text(draft.config()[0], "json" if target == "json" else "toml")
        return text, rows, f"{Path(draft.file).stem or draft.given.get('output_name') or 'config'}-kohya.{target}"

    def prepare(self, user: str, values: Mapping[str, object]) -> Answer:
        """Copy pictures into folders named as kohya's trainers want them, and point the folder fields there."""
        wanted, made = run(values, self.desk.roots)
        folders: dict[str, str | bool] = {"train_data_dir": str(made.train_data_dir), "dataset_config": ""}
        folders |= {"reg_data_dir": str(made.reg_data_dir)} if made.reg_data_dir else {}
        draft = self.desk.drafts.update(user, lambda draft: self.actions.form.collect(draft, folders), apart=True)
        pictures, captions = plural(made.pictures, "picture"), plural(made.captions, "caption")
        copied = say(
            "Copied {pictures} and {captions} to {folder}. The folder fields point there now.",
            pictures=pictures,
            captions=captions,
            folder=wanted.image_folder,
        )
        return {**self.actions.shown(user, draft), "outcome": told("good", copied)}

    def _named(self, path: str, fix: str) -> Path:
        if not path.strip():
            raise ConfigError("", "No file is named.", fix=fix)
        return self.desk.roots.resolve(path.strip())

    def _noted(self, user: str, path: Path) -> list[str]:
        self.shelf.note(user, str(path))
        return self.shelf.recent(user)

    def _read(self, user: str, path: Path) -> Draft:
        named = script_of(path)
        return draft_of(import_file(path, named or self.desk.drafts.read(user).command, exactly=named is not None).config, file=str(path))

    def _write(self, user: str, target: Path, said: str) -> Answer:
        draft = self.desk.drafts.read(user)
        if draft.wrong:
            raise ConfigError(next(iter(draft.wrong)), "It cannot be saved as it stands.", fix="Mend the marked fields first.")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_config(target, draft.config()[0])
        except OSError as failed:
            raise RunError(f"{target} cannot be written: {failed.strerror}.", fix="Choose another place.") from failed
        self.desk.drafts.update(user, lambda draft: dataclasses.replace(draft, file=str(target)))
        answer = self.actions.shown(user, self.desk.drafts.read(user))
        return {**answer, "recent": self._noted(user, target), "outcome": told("good", said)}

    def _open(self, user: str, path: Path, *, source: str, file: str = "") -> Answer:
        named = script_of(path)
        near = named or self.desk.drafts.read(user).command
        return self._took(user, import_file(path, near, exactly=named is not None), source=source, file=file)

    def _took(self, user: str, imported: Imported, *, source: str, file: str = "") -> Answer:
        """Show what was imported. A part of a training is added to the form; a dataset that came along gets a file of its own."""
        if imported.dataset is not None:
            imported = with_dataset(imported, self._keep_dataset(imported, source))
        before = self.desk.drafts.read(user)
        draft = draft_of(imported.config, file=file)
        if imported.adds and before.script == draft.script:
            added = {name: value for name, value in draft.given.items() if name in before.command.by_name}
            draft = dataclasses.replace(before, given={**before.given, **added}, prompts=draft.prompts or before.prompts)
        self.desk.drafts.write(user, draft)
        notes = [
            tag("li", retell(str(note.message)), " ", tag("span", retell(note.fix), class_="fix"), class_=note.severity)
            for note in imported.config.notes
        ]
        said = join(_opened(source, imported.rows), tag("ul", notes, class_="problems") if notes else None)
        return {**self.actions.shown(user, draft), "outcome": said}

    def _keep_dataset(self, imported: Imported, source: str) -> Path:
        path = free_path(self.desk.settings.datasets_dir / f"{Path(source).stem or 'imported'}.toml")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, dataset_toml(imported))
        except OSError as failed:
            raise RunError(f"{path} cannot be written: {failed.strerror}.", fix="Choose another datasets_dir in the settings.") from failed
        return path


def _opened(source: str, rows: Sequence[Row]) -> Markup:
    """What became of each key of an opened file: those that were not simply taken over are listed."""
    rest = [row for row in rows if row.outcome not in ("taken", "default")]
    looked = say("Opened {source}: {keys}, {count} of them worth a look.", source=source, keys=plural(len(rows), "key"), count=count(len(rest)))
    sentence = told("good", looked if rest else say("Opened {source}.", source=source))
    return join(sentence, tag("details", tag("summary", say("What became of the keys")), _rows(rest))) if rest else sentence


def _rows(rows: Sequence[Row]) -> Markup:
    head = tag("tr", [tag("th", say(word), scope="col") for word in ("Key", "Value", "Became", "Note")])
    lines = [
        tag("tr", tag("td", tag("code", row.key)), tag("td", str(row.value)), tag("td", row.became or say(row.outcome)), tag("td", retell(row.note)))
        for row in rows
    ]
    table = tag("table", tag("thead", head), tag("tbody", lines), class_="rows")
    return tag("div", table, class_="scrolled", tabindex="0", role="region", aria_label=say("Keys"))


def _differences(left: Draft, right: Draft, names: Sequence[str]) -> Markup:
    title = tag("h2", say("{left} and {right}", left=names[0], right=names[1]))
    lines = []
    if left.script != right.script:
        lines.append(tag("tr", tag("th", say("Trainer"), scope="row"), tag("td", left.script), tag("td", right.script)))
    for name in dict.fromkeys([*left.command.by_name, *right.command.by_name]):
        values = [base_words(draft.value(name)) if name in draft.command.by_name else "–" for draft in (left, right)]
        if values[0] != values[1]:
            parameter = (left if name in left.command.by_name else right).command.parameter(name)
            label = tag("th", words().label(parameter), " ", tag("code", name), scope="row")
            lines.append(tag("tr", label, [tag("td", value) for value in values]))
    if not lines:
        return tag("div", title, tag("p", say("All settings are the same.")), class_="card")
    head = tag("tr", [tag("th", word, scope="col") for word in (say("Setting"), *names)])
    table = tag("table", tag("thead", head), tag("tbody", lines), class_="rows compared")
    return tag("div", title, tag("div", table, class_="scrolled", tabindex="0", role="region", aria_label=say("Settings that differ")), class_="card")
