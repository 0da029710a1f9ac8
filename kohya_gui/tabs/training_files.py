"""The Train page's way to files: configs opened and saved, commands pasted, presets applied. Answers are those of `training_actions`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.configs import draft_of, import_file, preset_folder, presets, script_of
from kohya_gui.markup import Markup, join, tag
from kohya_gui.sections.preparation import run
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import Answer, TrainingActions, told
from kohya_gui.text import plural
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.config_file import write_config
from sd_scripts.params.migrate import Imported, Row, import_command_line

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


@dataclass(frozen=True)
class FileActions:
    """Answers to one page, each for a user by name."""

    desk: Desk
    actions: TrainingActions

    def open_path(self, user: str, path: str) -> Answer:
        """Open a config file of this machine. Raises ConfigError, DataError."""
        if not path.strip():
            raise ConfigError("", "No file is named.", fix="Write or browse to a .toml or .json file.")
        found = self.desk.roots.resolve(path.strip())
        return self._open(user, found, source=found.name, file=str(found))

    def open_upload(self, user: str, path: Path) -> Answer:
        """Open a config file that the browser sent. Raises ConfigError, DataError."""
        return self._open(user, path, source=path.name)

    def open_command(self, user: str, text: str) -> Answer:
        """Take the options of a pasted command line. Raises ConfigError."""
        if not text.strip():
            raise ConfigError("", "Nothing was pasted.", fix="Paste a command such as: accelerate launch train_network.py --network_dim 16 ...")
        return self._took(user, import_command_line(text, self.desk.drafts.read(user).command), source="the command")

    def open_preset(self, user: str, name: str) -> Answer:
        """Apply a bundled preset or one of the user's own; folders and model stay as they are. Raises ConfigError."""
        path = presets(preset_folder(self.desk.drafts.read(user).command.method)).get(name)
        if path is None:
            raise ConfigError("preset", f"There is no preset {name!r}.")
        return self._open(user, path, source=name, keep=KEPT_BY_PRESETS)

    def save(self, user: str, path: str) -> Answer:
        """Write the form as a TOML config file on this machine. It replaces no file but the one that was opened or saved last.

        Raises:
            ConfigError: no name, a file of that name that was not opened, or a field that holds no value.
            RunError: the file cannot be written.
        """
        draft = self.desk.drafts.read(user)
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
        return {"outcome": told("good", f"Saved as {target}.")}

    def prepare(self, user: str, values: Mapping[str, object]) -> Answer:
        """Copy pictures into folders named as kohya's trainers want them, and point the folder fields there. Raises ConfigError, DataError."""
        wanted, made = run(values, self.desk.roots)
        folders = {"train_data_dir": str(made.train_data_dir), "dataset_config": ""}
        folders |= {"reg_data_dir": str(made.reg_data_dir)} if made.reg_data_dir else {}
        draft = self.desk.drafts.update(user, lambda draft: self.actions.form.collect(draft, folders), apart=True)
        copied = f"Copied {plural(made.pictures, 'picture')} and {plural(made.captions, 'caption')} to {wanted.image_folder}."
        return {**self.actions.shown(user, draft), "outcome": told("good", f"{copied} The folder fields point there now.")}

    def _open(self, user: str, path: Path, *, source: str, file: str = "", keep: Sequence[str] = ()) -> Answer:
        named = script_of(path)
        near = named or self.desk.drafts.read(user).command
        return self._took(user, import_file(path, near, exactly=named is not None or bool(keep)), source=source, file=file, keep=keep)

    def _took(self, user: str, imported: Imported, *, source: str, file: str = "", keep: Sequence[str] = ()) -> Answer:
        """Show what was imported; of the draft before, only the fields of `keep` stay."""
        before = self.desk.drafts.read(user)
        draft = draft_of(imported.config, file=file)
        kept = {name: before.given[name] for name in keep if name in before.given}
        draft = dataclasses.replace(
            draft, given={**draft.given, **kept}, base={**draft.base, **kept}, prompts=draft.prompts or (before.prompts if keep else "")
        )
        self.desk.drafts.write(user, draft)
        notes = [tag("li", str(note.message), " ", tag("span", note.fix, class_="fix"), class_=note.severity) for note in imported.config.notes]
        said = join(_opened(source, imported.rows), tag("ul", notes, class_="problems") if notes else None)
        return {**self.actions.shown(user, draft), "outcome": said}


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
