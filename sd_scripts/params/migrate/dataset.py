"""Descriptions of datasets: kohya's tables, what people write instead of them, and the file that a config needs for them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.config import make_config
from sd_scripts.params.dataset_scopes import DATASET_KEYS, KEYS_OF, OPTION_OF, SUBSET_KEYS, Scope
from sd_scripts.params.migrate.ledger import Imported, Ledger, with_guess
from sd_scripts.params.values import nearest, typed

TABLES = ("general", "datasets")
OTHER_NAMES = {
    "image_directory": "image_dir",
    "mask_directory": "conditioning_data_dir",
    "path": "image_dir",
    "train_batch_size": "batch_size",
    "repeats": "num_repeats",
}
"""What musubi-tuner, diffusion-pipe and people call a key, with the same meaning."""
OF_OTHERS = {
    "cache_directory": "Caches lie beside the pictures.",
    "cache_dir": "Caches lie beside the pictures.",
    "text_cache_dir": "Caches lie beside the pictures.",
    "latent_cache_dir": "Caches lie beside the pictures.",
    "cond_cache_dir": "Caches lie beside the pictures.",
    "video_directory": "Videos are not trained here.",
    "video_jsonl_file": "Videos are not trained here.",
    "target_frames": "Videos are not trained here.",
    "frame_extraction": "Videos are not trained here.",
    "control_directory": "Pictures that steer others are not trained here.",
    "control_path": "Pictures that steer others are not trained here.",
    "image_jsonl_file": "Its captions go into a metadata file (metadata_file) of another form.",
    "recursive": "Folders below a folder are not looked into: each is a subset of its own.",
    "path_pattern": "A subset takes all pictures of its folder.",
    "sample_ratio": "A subset takes all pictures of its folder.",
    "validation_split_num": "validation_split is a share of the pictures.",
}
"""Keys of other trainers' dataset files without a counterpart, and why."""


def describes_datasets(document: Mapping[str, Any]) -> bool:
    """Whether there are datasets in the document, among other things or alone."""
    return isinstance(document.get("datasets"), list)


def import_dataset(document: Mapping[str, Any], path: Path, command: Command) -> Imported:
    """A dataset file alone. It is named as it stands where it can be used so; else a mended copy is made.

    Raises:
        ConfigError: there is no dataset in it.
    """
    ledger = Ledger(command)
    made, as_it_stands = take_dataset(ledger, document)
    for key, value in document.items():
        if key not in TABLES:
            ledger.keep(key, value, note="It belongs to a training, not to a dataset.", outcome="unknown")
            as_it_stands = False
    if not made["datasets"]:
        raise ConfigError("dataset_config", f"{path.name} describes no dataset.", fix="It needs [[datasets]] with [[datasets.subsets]].")
    if as_it_stands:
        ledger.given["dataset_config"] = str(path)
    else:
        ledger.dataset = made
    return ledger.finish(adds=True)


def take_dataset(ledger: Ledger, document: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Account for `general` and `datasets`. Returns tables that our own reader takes, and whether they are those of the document."""
    before = {name: document[name] for name in TABLES if name in document}
    made: dict[str, Any] = {}
    if "general" in document:
        made["general"], _ = _table(ledger, document["general"], "general", scope="general")
    entries = document.get("datasets") or ()
    made["datasets"] = [_dataset(ledger, entry, f"datasets[{at}]") for at, entry in enumerate(entries)]
    as_it_stands = made == before
    made["datasets"] = [dataset for dataset in made["datasets"] if dataset.get("subsets")]
    return {name: table for name, table in made.items() if table or name == "datasets"}, as_it_stands


def _dataset(ledger: Ledger, entry: Any, place: str) -> dict[str, Any]:
    own, of_subsets = _table(ledger, entry, place, scope="dataset")
    subsets = []
    for at, table in enumerate(entry.get("subsets") or () if isinstance(entry, dict) else ()):
        subset, of_dataset = _table(ledger, table, f"{place}.subsets[{at}]", scope="subset")
        own.update({key: value for key, value in of_dataset.items() if key not in own})
        if subset:
            subsets.append(subset)
    if "image_dir" in of_subsets or "metadata_file" in of_subsets:
        subsets.append(of_subsets)
    return {**own, "subsets": subsets} if subsets else own


def _table(ledger: Ledger, table: Any, place: str, *, scope: Scope) -> tuple[dict[str, Any], dict[str, Any]]:
    """One table's keys: those that belong there, and those that belong into the other of dataset and subset."""
    own: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for key, value in table.items() if isinstance(table, dict) else ():
        if key != "subsets":
            _key(ledger, f"{place}.{key}", value, scope=scope, into=(own, other))
    return own, other


def _key(ledger: Ledger, full: str, value: Any, *, scope: Scope, into: tuple[dict[str, Any], dict[str, Any]]) -> None:
    key = full.rpartition(".")[2]
    name = OTHER_NAMES.get(key, key)
    elsewhere = SUBSET_KEYS if scope == "dataset" else DATASET_KEYS if scope == "subset" else ()
    if name not in KEYS_OF[scope] and name not in elsewhere:
        _stranger(ledger, full, value, key=key, scope=scope)
        return
    option = ledger.command.by_name.get(OPTION_OF.get(name, name))
    try:
        if option is not None and name not in ("resolution", "face_crop_aug_range"):
            typed(option, value)
    except ConfigError as refused:
        ledger.keep(full, value, note=refused.message)
        return
    misplaced = name not in KEYS_OF[scope]
    into[misplaced][name] = copy.deepcopy(value)
    if misplaced:
        ledger.convert(full, value, became=f"{'datasets.subsets' if scope == 'dataset' else 'datasets'}.{name}", note="It belongs there.")
    elif name != key:
        ledger.convert(full, value, became=f"{name} = {value}")
    else:
        ledger.take_as_it_is(full, value)


def _stranger(ledger: Ledger, full: str, value: Any, *, key: str, scope: Scope) -> None:
    if key in OF_OTHERS:
        ledger.keep(full, value, note=OF_OTHERS[key])
        return
    near = nearest(key, KEYS_OF[scope])
    ledger.keep(full, value, note=with_guess("No dataset file has such a key.", near), outcome="unknown")


def dataset_toml(imported: Imported) -> str:
    """The text of the dataset file that a config needs; "" where it needs none."""
    return tomli_w.dumps(_without_none(imported.dataset)) if imported.dataset else ""


def with_dataset(imported: Imported, path: Path) -> Imported:
    """The import with its dataset at `path`, where the caller has written `dataset_toml`."""
    old = imported.config
    config = make_config(old.command, {**old.given, "dataset_config": str(path)}, old.studio, notes=old.notes)
    return Imported(config, imported.rows, None, imported.adds)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, (list, tuple)) else value
