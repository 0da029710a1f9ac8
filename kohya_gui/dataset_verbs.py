"""The requests of the Dataset page: each is a verb that changes what the user has open, and answers with a sentence. No HTTP and no HTML here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kohya_gui.dataset_desk import ALONE, LOOK, QUIET, VIEWS, Data, DatasetDesk, Told, Wrong, added, number_of, text_of
from kohya_gui.dataset_document import Document
from kohya_gui.dataset_fields import fields_of, typed_value
from kohya_gui.dataset_files import NEAR, first_dataset, opened, pasted
from kohya_gui.dataset_fixes import bring_back, convert, set_aside, unconvert
from kohya_gui.dataset_state import Edition
from kohya_gui.dataset_train import do_arrive, do_find, do_from_train, do_use, note_trained
from kohya_gui.dataset_upload import remove_empty_folders, subsets_in
from kohya_gui.text import count, retell, say
from sd_scripts.errors import ConfigError, DataError
from sd_scripts.params.dataset_scopes import DATASET_KEYS
from sd_scripts.survey.dataset_config import PATH_KEYS


def answer(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Carry out one request.

    Raises:
        TrainingError: it cannot be done; nothing has changed.
    """
    verb = VERBS.get(str(data.get("do", "")))
    if verb is None:
        raise ConfigError("", say("There is no such request."))
    return verb(desk, user, data)


def do_open(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Open a file of this machine."""
    text = text_of(data, "path").strip()
    if not text:
        raise ConfigError("", say("No file is named."), fix=say("Write or browse to a .toml or .json file."))
    return desk.opened(user, opened(desk.roots().resolve(text)))


def do_open_text(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Open a file that the browser read."""
    return desk.opened(user, pasted(text_of(data, "text"), text_of(data, "name")))


def do_new(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Begin an empty dataset."""
    desk.replace(user, Edition())
    note_trained(desk, user)
    return Told("good", say("A new dataset. “Undo” brings the last one back."))


def do_save(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Save to the named file, or to one of the page's choice."""
    edition = desk.save(user, text_of(data, "path"))
    return Told("good", say("Saved as {path}.", path=edition.file))


def do_choose(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Show another table."""
    spot = desk.spot(user, data)
    view = text_of(data, "view")
    desk.show(user, chosen=spot, only="", page=0, **({"view": view} if view in VIEWS else {}))
    return QUIET


def do_view(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Show pictures, options or buckets."""
    view = text_of(data, "view")
    desk.show(user, view=view if view in VIEWS else VIEWS[0])
    return QUIET


def do_only(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Show some of the pictures."""
    desk.show(user, only=text_of(data, "only"), page=0, view="pictures")
    return QUIET


def do_page(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Show another page of pictures."""
    desk.show(user, page=max(0, number_of(data, "page")))
    return QUIET


def do_again(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Look at the files anew."""
    desk.looker.forget(user)
    return QUIET


def do_set(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Set one key of a table; an empty text takes it out."""
    spot, key, text = desk.spot(user, data), text_of(data, "key"), text_of(data, "value")
    try:
        value = typed_value(spot, key, text, desk.config(user))
        if value is not None and key in PATH_KEYS:
            desk.roots().resolve(str(value))
    except (ConfigError, DataError) as refused:
        desk.wrong[user][spot, key] = Wrong(text, f"{retell(refused.message)} {retell(refused.fix)}".strip())
        return QUIET
    desk.wrong[user].pop((spot, key), None)
    desk.edit(user, lambda document: document.with_value(spot, key, value), typing=f"{spot} {key}")
    return QUIET


def do_drop(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Take a key out of a table, known or not."""
    spot, key = desk.spot(user, data), text_of(data, "key")
    desk.wrong[user].pop((spot, key), None)
    desk.edit(user, lambda document: document.with_value(spot, key, None))
    return Told("good", say("{key} is taken out.", key=key))


def do_mend(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Set a key of the datasets to what the fix of a problem says, wherever it is otherwise."""
    key, text = text_of(data, "key"), text_of(data, "value")
    if key not in DATASET_KEYS:
        raise ConfigError("", say("There is no such request."))
    state, config = desk.states.read(user), desk.config(user)
    value = typed_value((0,), key, text, config)

    def change(document: Document) -> Document:
        for at in range(len(document.datasets())):
            held = next(row.value for row in fields_of(document.data(), (at,), config) if row.key.name == key)
            document = document if held == value else document.with_value((at,), key, value)
        return document

    desk.edit(user, change)
    changed = desk.states.read(user).document != state.document
    return Told("good", say("{key} is set.", key=key)) if changed else QUIET


def do_add(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Add folders of pictures, those in a folder among them."""
    text = text_of(data, "path").strip()
    if not text:
        raise ConfigError("", say("No folder is named."), fix=say("Write or browse to the folder of the pictures."))
    return desk.add(user, desk.roots().resolve(text), number_of(data, "dataset"))


def do_uploaded(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Add what was uploaded; a folder that nothing came into goes again."""
    folder = desk.upload_folder(text_of(data, "folder"))
    desk.transfers.end(folder)
    try:
        return desk.add(user, folder, number_of(data, "dataset"), whole=True)
    except DataError:
        remove_empty_folders(folder)
        raise


def do_cancel(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Cancel an upload: what has arrived goes again."""
    number = desk.transfers.cancel(desk.upload_folder(text_of(data, "folder")))
    if not number:
        return Told("warn", say("Cancelled. Nothing had arrived yet."))
    if number == 1:
        return Told("warn", say("Cancelled. The file that had arrived is removed here; yours is as it was."))
    return Told("warn", say("Cancelled. The {number} files that had arrived are removed here; yours are as they were.", number=count(number)))


def do_nested(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Add the folders of pictures below a subset's folder, which a training does not read by itself."""
    spot, folder = desk.spot(user, data, least=2), desk.image_dir(user, data)
    known = {str(folder), *(str(row.get("image_dir")) for row in desk.states.read(user).document.subsets(spot[0]))}
    below = [row for row in subsets_in(folder, depth=NEAR) if row["image_dir"] not in known]
    if not below:
        raise DataError(say("There are no pictures in this folder."), fix=say("Look at the folder anew."), path=folder)

    def change(document: Document) -> Document:
        for row in below:
            document = document.with_subset(spot[0], row)
        return document

    desk.edit(user, change)
    return added(folder.name, len(below))


def do_add_dataset(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Add a dataset: another size or batch, to put folders into."""
    table = first_dataset(desk.config(user))
    desk.edit(user, lambda document: document.with_dataset(table))
    desk.show(user, chosen=(len(desk.states.read(user).document.datasets()) - 1,), view="options", only="", page=0)
    return QUIET


def do_remove(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Take a dataset or subset out of the document."""
    spot = desk.spot(user, data, least=1)
    desk.edit(user, lambda document: document.without(spot))
    desk.wrong[user].clear()
    return Told("good", say("Taken out of the dataset. The pictures stay where they are."))


def do_copy(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Put a dataset or subset there once more."""
    spot = desk.spot(user, data, least=1)
    desk.edit(user, lambda document: document.copied(spot))
    desk.wrong[user].clear()
    desk.show(user, chosen=(*spot[:-1], spot[-1] + 1), view="options", only="", page=0)
    if len(spot) == 1:
        return Told("good", say("Copied. Change its size or batch."))
    return Told("good", say("Copied. It counts once its folder is another one, or once it stands in another dataset."))


def do_move(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Move a table up or down among its like, or a subset into another dataset."""
    spot, document = desk.spot(user, data, least=1), desk.states.read(user).document
    if "dataset" in data:
        at = number_of(data, "dataset")
        target = (at, len(document.subsets(at))) if len(spot) == 2 and at != spot[0] and document.has((at,)) else spot
    else:
        target = (*spot[:-1], spot[-1] + (1 if number_of(data, "by") > 0 else -1))
    if target[-1] < 0 or ("dataset" not in data and not document.has(target)) or target == spot:
        return QUIET
    desk.edit(user, lambda document: document.moved(spot, target))
    desk.wrong[user].clear()
    desk.show(user, chosen=target, page=0)
    return QUIET


def do_undo(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Take the last edit back."""
    desk.wrong[user].clear()
    desk.states.update(user, lambda state: state.stepped(back=True))
    return QUIET


def do_redo(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Do again what was taken back."""
    desk.wrong[user].clear()
    desk.states.update(user, lambda state: state.stepped(back=False))
    return QUIET


def do_aside(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Set a picture aside."""
    picture = desk.picture(user, data)
    place = set_aside(picture.path)
    desk.looker.forget(user)
    if desk.states.read(user).only.startswith(ALONE):
        desk.show(user, only=LOOK, page=0)  # nothing is left of what was shown: on to what else is to be mended
    words = say("{name} lies in {folder} now. “Bring back” below the pictures returns it.", name=picture.name, folder=place.parent)
    return Told("good", words, offer={"do": "back", "spot": data.get("spot"), "name": place.name}, offered=say("Bring back"))


def do_back(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Bring a picture back."""
    folder, name = desk.image_dir(user, data), text_of(data, "name")
    bring_back(folder, name)
    desk.looker.forget(user)
    return Told("good", say("{name} is back.", name=name))


def do_convert(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Turn a caption into UTF-8."""
    kept = convert(desk.caption(user, data), text_of(data, "encoding"))
    desk.looker.forget(user)
    offer = {**data, "do": "unconvert", "kept": kept.name}
    return Told("good", say("The caption is UTF-8 now. As it was it lies in {path}.", path=kept), offer=offer, offered=say("Undo"))


def do_unconvert(desk: DatasetDesk, user: str, data: Data) -> Told:
    """Take the turning of a caption into UTF-8 back."""
    caption = desk.caption(user, data)
    unconvert(caption, text_of(data, "kept"), text_of(data, "encoding"))
    desk.looker.forget(user)
    return Told("good", say("{name} is as it was.", name=caption.name))


VERBS: Mapping[str, Callable[[DatasetDesk, str, Data], Told]] = {
    "open": do_open,
    "open-text": do_open_text,
    "new": do_new,
    "arrive": do_arrive,
    "from-train": do_from_train,
    "find": do_find,
    "save": do_save,
    "use": do_use,
    "choose": do_choose,
    "view": do_view,
    "only": do_only,
    "page": do_page,
    "again": do_again,
    "set": do_set,
    "drop": do_drop,
    "mend": do_mend,
    "add": do_add,
    "uploaded": do_uploaded,
    "cancel": do_cancel,
    "nested": do_nested,
    "add-dataset": do_add_dataset,
    "remove": do_remove,
    "copy": do_copy,
    "move": do_move,
    "undo": do_undo,
    "redo": do_redo,
    "aside": do_aside,
    "back": do_back,
    "convert": do_convert,
    "unconvert": do_unconvert,
}
