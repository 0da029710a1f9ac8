"""The Dataset page on the server: what each user has open, the look at it, and ways to change it. Which requests there are says `dataset_verbs`."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_gui.dataset_document import Document
from kohya_gui.dataset_files import after_saving, is_begun, saved, suggested_file, with_folder
from kohya_gui.dataset_looks import Job, Looker, config_for, look
from kohya_gui.dataset_pictures import Picture
from kohya_gui.dataset_state import Edition, States
from kohya_gui.dataset_transfers import Transfers
from kohya_gui.drafts import Drafts
from kohya_gui.files import Roots
from kohya_gui.jobs.launch import process_count
from kohya_gui.settings import Settings
from kohya_gui.text import count, say
from sd_scripts.errors import ConfigError, DataError
from sd_scripts.params.config import Config
from sd_scripts.survey.dataset_config import Spot

LONGEST_WAIT = 20.0
ALONE = "="
"""How a filter begins that shows a single picture, by its name or by its caption's."""
LOOK = "look"
"""The filter for pictures that have more than notes."""
VIEWS = ("pictures", "options", "buckets")
Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wrong:
    """What was typed into a field and is no value: the text, and why."""

    text: str
    message: str


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence in answer to a request; `link` is a page that it leads to, `offer` a request that it offers, called `offered`."""

    tone: str
    sentence: str
    link: str = ""
    offer: Mapping[str, object] = field(default_factory=dict)
    offered: str = ""


QUIET = Told("", "")


@dataclass
class DatasetDesk:
    """One per server. `settings`, `roots` and `drafts` are asked anew each time, since a person may change them."""

    folder: Path
    settings: Callable[[], Settings]
    roots: Callable[[], Roots]
    drafts: Callable[[], Drafts]
    states: States = field(init=False)
    looker: Looker = field(default_factory=Looker)
    transfers: Transfers = field(default_factory=Transfers)
    wrong: dict[str, dict[tuple[Spot, str], Wrong]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        self.states = States(self.folder)

    def config(self, user: str) -> Config:
        """The form's config with the dataset in the place of its folders."""
        file = self.states.read(user).edition.file
        return config_for(self.drafts().read(user).config()[0], Path(file).name or f"dataset.{self.states.read(user).document.kind}")

    def look(self, user: str) -> Job:
        """The look at the user's dataset as it is now; begun if it is not under way."""
        document, config = self.states.read(user).document, self.config(user)
        data, allows = document.data(), self.roots().allows
        key = (document, sorted(map(repr, config.given.items())), config.command.script)
        return self.looker.ask(user, key, lambda job: look(data, config, allows=allows, processes=process_count(config), job=job))

    def picture(self, user: str, data: Data) -> Picture:
        """A picture of a subset by its name. Raises DataError if there is none, or the page may not touch it."""
        spot, job = self.spot(user, data, least=2), self.look(user)
        if not job.ready.wait(LONGEST_WAIT):
            raise DataError(say("The pictures are still being looked at."), fix=say("Try again when that is done."))
        subset = job.found.subsets.get(spot) if job.found else None
        picture = subset.by_name.get(text_of(data, "name")) if subset else None
        if picture is None:
            raise DataError(say("There is no such picture."), fix=say("Look at the folder anew."))
        self.roots().resolve(picture.path)
        return picture

    def caption(self, user: str, data: Data) -> Path:
        """The caption file of a picture of a subset, by its own name. Raises DataError if the page may not touch it."""
        path = self.roots().resolve(self.image_dir(user, data) / text_of(data, "caption"))
        if path.parent != self.image_dir(user, data) or not path.is_file():
            raise DataError(say("There is no such caption."))
        return path

    def upload_folder(self, name: str) -> Path:
        """A folder that uploads went into, by its name. Raises DataError if it is none."""
        parent = self.settings().datasets_dir
        if name in ("", ".", "..") or Path(name).name != name or not (parent / name).is_dir():
            raise DataError(say("There is no folder of uploads of that name."))
        return parent / name

    def image_dir(self, user: str, data: Data) -> Path:
        """The folder of a subset. Raises DataError if the page may not open it."""
        spot = self.spot(user, data, least=2)
        table = self.states.read(user).document.table(spot)
        folder = table.get("image_dir") or str(Path(str(table.get("metadata_file", ""))).parent)
        return self.roots().resolve(str(folder))

    def opened(self, user: str, edition: Edition) -> Told:
        """Show a document that was opened."""
        self.replace(user, edition)
        name = Path(edition.file).name or say("the file")
        return Told("good", say("Opened {name}.", name=name))

    def replace(self, user: str, edition: Edition) -> None:
        """Show another document in the place of the one that is there; that can be undone."""
        self.wrong[user].clear()
        self.looker.forget(user)
        chosen: Spot = (0, 0) if edition.document.has((0, 0)) else (0,) if edition.document.has((0,)) else ()
        self.states.update(user, lambda state: dataclasses.replace(state.edited(edition), chosen=chosen, view="pictures", only="", page=0))

    def save(self, user: str, text: str) -> Edition:
        """Write the document to a file, or to one of the page's choice. Raises TrainingError, see `dataset_files.saved`."""
        state = self.states.read(user)
        if self.wrong[user]:
            (_, key), wrong = next(iter(self.wrong[user].items()))
            raise ConfigError(key, wrong.message, fix=say("Mend the marked field first."))
        if not is_begun(state.document):
            raise ConfigError("", say("There is nothing to save yet."), fix=say("Add a folder of pictures."))
        path = self.roots().resolve(text.strip()) if text.strip() else suggested_file(self.settings().datasets_dir, state.document)
        edition = saved(state.edition, path)
        self.states.update(user, lambda now: after_saving(now, edition))
        return edition

    def add(self, user: str, folder: Path, dataset: int, *, whole: bool = False) -> Told:
        """Add folders of pictures and show the first, see `with_folder`. Raises TrainingError."""
        config, document = self.config(user), self.states.read(user).document
        at = dataset if document.has((dataset,)) else 0
        made, number = with_folder(document, at, folder, config, whole=whole)
        self.edit(user, lambda _: made)
        self.show(user, chosen=(at, len(made.subsets(at)) - number), view="pictures", only="", page=0)
        return added(folder.name, number)

    def edit(self, user: str, change: Callable[[Document], Document], *, typing: str = "") -> None:
        """Change the document, which can be undone. Raises ConfigError."""
        self.states.update(user, lambda state: state.with_document(change(state.document), typing=typing))

    def show(self, user: str, **fields: Any) -> None:
        """Change what is shown."""
        self.states.update(user, lambda state: dataclasses.replace(state, typing="", **fields).settled())

    def spot(self, user: str, data: Data, *, least: int = 0) -> Spot:
        """The table that a request is about, at least so deep. Raises ConfigError if it is gone."""
        spot = read_spot(data.get("spot", ""))
        if len(spot) < least or not self.states.read(user).document.has(spot):
            raise ConfigError("", say("This part of the dataset is gone."), fix=say("Choose another."))
        return spot


def added(name: str, number: int) -> Told:
    """That folders were added."""
    if number == 1:
        return Told("good", say("Added {name}.", name=name))
    return Told("good", say("Added {number} folders of {name}.", number=count(number), name=name))


def read_spot(text: object) -> Spot:
    """A spot as the page writes it: "" is general, "1" the second dataset, "1.0" its first subset. Raises ConfigError."""
    words = str(text).split(".") if str(text) else []
    if len(words) > 2 or not all(word.isascii() and word.isdigit() and len(word) < 7 for word in words):
        raise ConfigError("", say("This part of the dataset is gone."), fix=say("Choose another."))
    return tuple(map(int, words))


def spot_text(spot: Spot) -> str:
    """A spot as the page writes it."""
    return ".".join(map(str, spot))


def text_of(data: Data, name: str) -> str:
    """A text of a request, "" where it is not given. Raises ConfigError."""
    value = data.get(name, "")
    if not isinstance(value, str):
        raise ConfigError("", say("The request is damaged: {name} is no text.", name=name))
    return value


def number_of(data: Data, name: str) -> int:
    """A whole number of a request, 0 where it is not given. Raises ConfigError."""
    value = data.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError("", say("The request is damaged: {name} is no number.", name=name))
    return value
