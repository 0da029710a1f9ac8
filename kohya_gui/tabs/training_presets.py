"""The Train page's presets: what one changes is shown before it is applied. Answers are those of `training_actions`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.configs import PRESETS, Draft
from kohya_gui.form.marks import base_words
from kohya_gui.markup import Markup, join, tag
from kohya_gui.presets import Preset, applied, changes, drop_preset, keep_preset, listed, preset_named
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import Answer, TrainingActions, told
from kohya_gui.text import retell, say, words
from sd_scripts.params.commands import Command

MOST_CHANGES = 60


@dataclass(frozen=True)
class PresetActions:
    """Answers to one page, each for a user by name; presets lie in `folder`. All raise ConfigError for a name that is none."""

    desk: Desk
    actions: TrainingActions
    folder: Path = PRESETS

    def look(self, user: str, name: str) -> Answer:
        """What a preset would change."""
        draft = self.desk.drafts.read(user)
        preset = preset_named(name, draft.command, self.folder)
        return {"outcome": _preview(draft, preset)}

    def apply(self, user: str, name: str) -> Answer:
        """Apply it; folders and model stay as they are."""
        draft = self.desk.drafts.read(user)
        preset = preset_named(name, draft.command, self.folder)
        made = self.desk.drafts.update(user, lambda draft: applied(draft, preset), apart=True)
        said = told("good", say("“{title}” is applied. Undo takes it back.", title=preset.told_title))
        return {**self.actions.shown(user, made), "outcome": said}

    def keep(self, user: str, name: str) -> Answer:
        """Make the form a preset of the user's own."""
        draft = self.desk.drafts.read(user)
        made = keep_preset(draft, name.strip(), self.folder)
        return {"presets": listed(draft.command, self.folder), "outcome": told("good", say("Kept as the preset “{title}”.", title=made.title))}

    def drop(self, user: str, name: str) -> Answer:
        """Put a preset of the user's own away."""
        draft = self.desk.drafts.read(user)
        preset = preset_named(name, draft.command, self.folder)
        path = drop_preset(preset)
        said = say("“{title}” is deleted. Its file lies in {path} now.", title=preset.title, path=path)
        return {"presets": listed(draft.command, self.folder), "outcome": told("good", said)}


def _preview(draft: Draft, preset: Preset) -> Markup:
    rows = list(changes(draft, applied(draft, preset)))
    facts = [retell(preset.about), say("Chosen for cards with {memory} GB.", memory=f"{preset.card_gb:g}") if preset.card_gb else ""]
    buttons = [tag("button", say("Apply"), type="button", class_="button primary", data_do="preset-apply")]
    if preset.is_own:
        buttons.append(tag("button", say("Delete this preset"), type="button", class_="button", data_do="preset-drop"))
    buttons.append(tag("button", say("Cancel"), type="button", class_="button", data_clear="outcome"))
    return tag(
        "div",
        tag("h2", preset.told_title),
        [tag("p", fact, class_="small soft") for fact in facts if fact],
        _changes_table(draft.command, rows),
        tag("div", buttons, class_="buttons"),
        class_="card preset-card",
        role="region",
        aria_label=say("Preset"),
    )


def _changes_table(command: Command, rows: Iterable[tuple[str, object, object]]) -> Markup:
    rows = list(rows)
    if not rows:
        return tag("p", say("It changes nothing: all its values are set already."))
    lines = [
        tag(
            "tr",
            tag("th", words().label(command.parameter(name)), " ", tag("code", name), scope="row"),
            tag("td", base_words(old)),
            tag("td", base_words(new)),
        )
        for name, old, new in rows[:MOST_CHANGES]
    ]
    head = tag("tr", [tag("th", say(word), scope="col") for word in ("Setting", "Now", "Then")])
    rest = tag("p", say("And {count} more.", count=len(rows) - MOST_CHANGES), class_="small soft") if len(rows) > MOST_CHANGES else None
    table = tag("table", tag("thead", head), tag("tbody", lines), class_="rows changes")
    count = say("{count} settings change:", count=len(rows)) if len(rows) > 1 else say("One setting changes:")
    return join(tag("p", count), tag("div", table, class_="scrolled", tabindex="0", role="region", aria_label=say("What it changes")), rest)
