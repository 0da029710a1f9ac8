"""Dataset files: opened, begun from folders or the form, saved. A file is replaced only if it is the one that was opened, and still as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kohya_gui.dataset_document import BOM, Document, Kind
from kohya_gui.dataset_state import Edition, State
from kohya_gui.dataset_upload import DEEPEST, subsets_in
from kohya_gui.files import Roots
from kohya_gui.jobs.states import write_whole
from kohya_gui.text import say
from sd_scripts.errors import ConfigError, DataError, RunError
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.dataset import Folders, Masks, MetadataFile, Regularisation
from sd_scripts.survey.dataset_options import OPTION_OF, from_command_line, keys_of
from sd_scripts.survey.datasets import Subset
from sd_scripts.survey.folders import datasets_of_folders
from sd_scripts.survey.picture_names import holds_pictures

ENDINGS: Mapping[str, Kind] = {".toml": "toml", ".json": "json"}
LARGEST_FILE = 4_000_000
ANY_SIZE = (512, 512)
"""The size of a dataset where the form says none."""
NEAR = 2
"""Folders below a named one that are looked into: img/10_cat is two."""


def opened(path: Path) -> Edition:
    """A dataset file as it stands on the disk.

    Raises:
        ConfigError: it is none.
        DataError: it cannot be read.
    """
    kind = ENDINGS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError("", say("{name} is no .toml and no .json file.", name=path.name), fix=say("Name a dataset file."))
    text = _read(path)
    document = Document(text, kind).checked()
    data = document.data()
    if data and "datasets" not in data:
        raise ConfigError(
            "", say("{name} names no datasets: it is no dataset file.", name=path.name), fix=say("Training configs open on the Train page.")
        )
    return Edition(document, str(path), text)


def pasted(text: str, name: str) -> Edition:
    """A dataset file that the browser sent, without a place on this machine. Raises ConfigError."""
    document = Document(text, ENDINGS.get(Path(name).suffix.lower(), "toml")).checked()
    if "datasets" not in document.data():
        raise _no_dataset(name)
    return Edition(document)


def _no_dataset(name: str) -> ConfigError:
    return ConfigError("", say("{name} names no datasets: it is no dataset file.", name=name), fix=say("Training configs open on the Train page."))


def saved(edition: Edition, path: Path) -> Edition:
    """The document written to `path`.

    Raises:
        ConfigError: the ending does not fit, or another file is there, or the file has changed since it was opened.
        RunError: it cannot be written.
    """
    target = path if path.suffix else path.with_name(f"{path.name}.{edition.document.kind}")
    if ENDINGS.get(target.suffix.lower()) != edition.document.kind:
        raise ConfigError("", say("This dataset is saved as .{kind}, not as {ending}.", kind=edition.document.kind, ending=target.suffix))
    if target.exists():
        if str(target) != edition.file:
            raise ConfigError(
                "", say("{path} exists, and is not the file that was opened.", path=target), fix=say("Choose another name, or open it first.")
            )
        if _read(target) != edition.saved:
            raise ConfigError(
                "",
                say("{path} was changed by another program since it was opened.", path=target),
                fix=say("Save under another name, or open it anew."),
            )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, edition.document.text)
    except OSError as failed:
        raise RunError(say("{path} cannot be written: {reason}.", path=target, reason=failed.strerror), fix=say("Choose another place.")) from failed
    return dataclasses.replace(edition, file=str(target), saved=edition.document.text, begun="")


def after_saving(state: State, edition: Edition) -> State:
    """The state once its edition was saved: steps that can be undone know what the file says now."""

    def told(row: Edition) -> Edition:
        return dataclasses.replace(row, saved=edition.saved) if row.file == edition.file else row

    return dataclasses.replace(state, edition=edition, past=tuple(map(told, state.past)), undone=tuple(map(told, state.undone)), typing="")


def suggested_file(folder: Path, document: Document) -> Path:
    """A file name that is free, after the first folder of pictures."""
    first = next((row for dataset in document.datasets() for row in dataset.get("subsets", [])), {})
    stem = Path(str(first.get("image_dir", ""))).name.split("_", 1)[-1].strip(" .") or "dataset"
    number = 1
    while (path := folder / f"{stem}{'' if number == 1 else f'-{number}'}.{document.kind}").exists():
        number += 1
    return path


def with_folder(document: Document, dataset: int, folder: Path, config: Config, *, whole: bool = False) -> tuple[Document, int]:
    """The document with `folder` in a dataset, or where it holds no picture itself, with the folders of pictures below it; and how many are new.

    `whole`: with all of them, however deep.

    Raises:
        DataError: there is no picture in it.
        ConfigError: all of it is in the dataset already.
    """
    if not folder.is_dir():
        raise DataError(say("There is no such folder."), fix=say("Check the path."), path=folder)
    rows = subsets_in(folder, depth=DEEPEST if whole else 0 if holds_pictures(folder) else NEAR)
    if not rows:
        raise DataError(say("There are no pictures in this folder."), fix=say("Choose the folder that holds them."), path=folder)
    if not document.datasets():
        document, dataset = document.with_dataset(first_dataset(config)), 0
    known = {str(row.get("image_dir")) for row in document.subsets(dataset)}
    new = [row for row in rows if row["image_dir"] not in known]
    if not new:
        raise ConfigError("", say("{path} is in this dataset already.", path=folder), fix=say("Copy it into another dataset for a second size."))
    for row in new:
        document = document.with_subset(dataset, row)
    return document, len(new)


def first_dataset(config: Config) -> dict[str, object]:
    """The keys of a new dataset: what the form says of size, batch and buckets."""
    try:
        values = from_command_line(config)
    except ConfigError:
        values = {}
    size = values.get("resolution") or ANY_SIZE
    wanted = {"resolution": size[0] if size[0] == size[1] else list(size), "batch_size": values.get("batch_size", 1)}
    return {**wanted, "enable_bucket": bool(values.get("enable_bucket", True))}


def begun_from_form(config: Config, roots: Roots) -> Document:
    """A dataset file that means what the form's folders mean.

    Raises:
        ConfigError, DataError: the form names no folder, or none that can be used.
    """
    for name in (config[Folders].train_data_dir, _reg(config), _masks(config), _metadata(config)):
        if name:
            roots.resolve(name)
    sized = config if config.value("resolution") else make_config(config.command, {**config.given, "resolution": ANY_SIZE}, config.studio)
    blueprint = datasets_of_folders(sized)
    keys = {key.name: OPTION_OF.get(key.name, key.name) for key in keys_of("general", config.command)}
    skipped = ("resolution", "batch_size", "num_repeats", "class_tokens")
    general = {key: _plain(config.given[name]) for key, name in keys.items() if name in config.given and key not in skipped}
    (dataset,) = blueprint.datasets
    table = {key: value for key, value in first_dataset(config).items() if key not in general}
    document = Document().with_dataset(table)
    for subset in dataset.subsets:
        document = document.with_subset(0, _subset_table(subset))
    for key, value in general.items():
        document = document.with_value((), key, value)
    return document


def _subset_table(subset: Subset) -> dict[str, Any]:
    table: dict[str, Any] = {"image_dir": str(subset.image_dir.absolute()), "num_repeats": subset.num_repeats}
    optional = {
        "class_tokens": subset.class_tokens,
        "is_reg": subset.is_reg or None,
        "metadata_file": _text(subset.metadata_file),
        "conditioning_data_dir": _text(subset.conditioning_data_dir),
        "alpha_mask": subset.alpha_mask or None,
    }
    return table | {key: value for key, value in optional.items() if value is not None}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _reg(config: Config) -> str | None:
    return config[Regularisation].reg_data_dir if Regularisation in config else None


def _masks(config: Config) -> str | None:
    return config[Masks].conditioning_data_dir if Masks in config else None


def _metadata(config: Config) -> str | None:
    return config[MetadataFile].in_json if MetadataFile in config else None


def _read(path: Path) -> str:
    """The text of a file, line ends and byte-order mark as they are."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(say("There is no such file."), fix=say("Check the path."), path=path) from None
    except OSError as failed:
        raise DataError(say("The file cannot be read: {reason}.", reason=failed.strerror), fix=say("Check its permissions."), path=path) from failed
    if len(content) > LARGEST_FILE:
        raise DataError(say("The file is too large for a dataset file."), path=path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as failed:
        raise DataError(say("The file is not UTF-8."), fix=say("Save it as UTF-8."), path=path) from failed


def is_begun(document: Document) -> bool:
    """Whether anything stands in it."""
    return bool(document.text.removeprefix(BOM).strip())
