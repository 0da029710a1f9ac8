"""The Dataset page and the Train page: what that one trains on is shown here when the page is opened, and what is made here is trained on there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from kohya_gui.configs import Draft
from kohya_gui.dataset_desk import ALONE, QUIET, Data, DatasetDesk, Told, text_of
from kohya_gui.dataset_files import begun_from_form, is_begun, opened
from kohya_gui.dataset_state import Edition, State
from kohya_gui.text import retell, say
from sd_scripts.errors import TrainingError
from sd_scripts.params.config import Config
from sd_scripts.survey.dataset_config import REPLACED

NAMED_BY = ("dataset_config", *REPLACED)
"""Options that say which pictures are trained on; the last do where there is no dataset file."""


def mark(config: Config) -> str:
    """What a form trains on as a short text that changes when that does; "" where it names nothing."""
    named = {name: config.value(name) for name in NAMED_BY if name in config.command.by_name}
    return json.dumps(named, default=str) if any(named.values()) else ""


def do_arrive(desk: DatasetDesk, user: str, data: Data) -> Told:
    """The page was opened: show what the form trains on, and of that the picture or the folder that `data` names."""
    told, at = _arrived(desk, user), text_of(data, "at")
    if not at or told.tone == "warn":
        return dataclasses.replace(told, offer={**told.offer, "at": at}) if told.offer else told
    return do_find(desk, user, {"path": at})


def do_find(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Show a picture alone, by its path or by its caption's, or what is to be looked at in a folder."""
    path = Path(text_of(data, "path"))
    document = desk.states.read(user).document
    for spot, table in document.all_subsets():
        folder = Path(str(table.get("image_dir") or Path(str(table.get("metadata_file", ""))).parent))
        if folder in (path, path.parent):
            only = "" if folder == path else f"{ALONE}{path.name}"
            desk.show(user, chosen=spot, view="pictures", only=only, page=0)
            return QUIET
    return Told("warn", say("{name} is in none of the folders here.", name=path.name))


def _arrived(desk: DatasetDesk, user: str) -> Told:
    """Show what the form trains on, unless it was shown before. What was made here and is not saved stays."""
    state, config = desk.states.read(user), desk.drafts().read(user).config()[0]
    found = mark(config)
    if not found or found == state.trained:
        return QUIET
    if state.edition.file and state.edition.file == str(config.value("dataset_config") or ""):
        note_trained(desk, user)
        return QUIET
    if is_begun(state.document) and state.edition.is_own_work:
        words = say("The Train page trains on other pictures. What you have here is not saved, so it stays.")
        return Told("warn", words, offer={"do": "from-train"}, offered=say("Show them instead"))
    try:
        edition = edition_of(desk, config)
    except TrainingError as failed:
        reason = f"{retell(failed.message)} {retell(failed.fix)}".strip()
        return Told("warn", say("What the Train page trains on cannot be shown. {reason}", reason=reason))
    if is_begun(state.document) or state.past:
        desk.replace(user, edition)
    else:
        desk.states.update(user, lambda _: State(edition, (0, 0)).settled())
    note_trained(desk, user)
    return Told("good", where_from(edition))


def do_from_train(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Begin with what the form trains on: the dataset file that it names, or its folders; with the picture that `data` names, if it names one."""
    edition = edition_of(desk, desk.drafts().read(user).config()[0])
    desk.replace(user, edition)
    note_trained(desk, user)
    at = text_of(data, "at")
    return do_find(desk, user, {"path": at}) if at else Told("good", where_from(edition))


def do_use(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Save, and let the user's form train on it."""
    edition = desk.states.read(user).edition
    path = text_of(data, "path").strip()
    if edition.is_changed or not edition.file or (path and str(desk.roots().resolve(path)) != edition.file):
        edition = desk.save(user, path)

    def change(draft: Draft) -> Draft:
        draft = draft.with_value("dataset_config", edition.file)
        for name in REPLACED:
            draft = draft.with_value(name, None) if name in draft.command.by_name else draft
        return draft

    desk.drafts().update(user, change, apart=True)
    note_trained(desk, user)
    return Told("good", say("The Train page uses {path} now.", path=edition.file), link="/")


def edition_of(desk: DatasetDesk, config: Config) -> Edition:
    """What a form trains on, as a document. Raises TrainingError if there is none, or it cannot be read."""
    file = config.value("dataset_config")
    if file:
        return opened(desk.roots().resolve(str(file)))
    document = begun_from_form(config, desk.roots())
    return Edition(document, begun=document.text)


def where_from(edition: Edition) -> str:
    """Where a document came from, in a sentence."""
    if edition.file:
        return say("This is {name}, the dataset file of the Train page.", name=Path(edition.file).name)
    return say("These are the folders of the Train page.")


def note_trained(desk: DatasetDesk, user: str) -> None:
    """What the form trains on now is shown here, or was put away."""
    found = mark(desk.drafts().read(user).config()[0])
    desk.states.update(user, lambda state: dataclasses.replace(state, trained=found))
