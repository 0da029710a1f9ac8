"""Picture folders of another trainer's config: one becomes options of the form, several become a dataset description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.dataset_scopes import OPTION_OF
from sd_scripts.params.migrate.rivals.reading import Reading, as_number
from sd_scripts.params.values import typed

TEXT_FILES = ".txt"


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder: where, and how it is shown. `subset` and `dataset` hold keys of a dataset config; one dataset is made for each of `sizes`."""

    path: str
    subset: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    sizes: Sequence[Any] = ()
    is_reg: bool = False


def take_folders(reading: Reading, folders: Iterable[Folder], general: Mapping[str, Any] | None = None) -> str:
    """Give the folders to the config; returns what they became. `general` holds keys for all of them."""
    made = [folder for folder in folders if folder.path]
    general = {key: value for key, value in (general or {}).items() if value is not None}
    if not made:
        return ""
    if len(made) == 1 and not made[0].is_reg and len(made[0].sizes) < 2:
        return _take_one(reading, made[0], general)
    datasets: dict[tuple[str, ...], dict[str, Any]] = {}
    for folder in made:
        for size in folder.sizes or (None,):
            keys = dict(folder.dataset) | ({"resolution": size} if size is not None else {})
            place = datasets.setdefault(tuple(f"{key}={keys[key]}" for key in sorted(keys)), {**keys, "subsets": []})
            place["subsets"].append({"image_dir": folder.path, **folder.subset, **({"is_reg": True} if folder.is_reg else {})})
    reading.ledger.dataset = {"general": general, "datasets": list(datasets.values())} if general else {"datasets": list(datasets.values())}
    return f"dataset_config: {len(datasets)} [[datasets]], {len(made)} [[datasets.subsets]]"


def _take_one(reading: Reading, folder: Folder, general: Mapping[str, Any]) -> str:
    options = {**general, **folder.dataset, **folder.subset} | ({"resolution": folder.sizes[0]} if folder.sizes else {})
    _give(reading, "train_data_dir", folder.path)
    for key, value in options.items():
        _give(reading, OPTION_OF.get(key, key), value)
    return ", ".join(["train_data_dir", *(OPTION_OF.get(key, key) for key in options)])


def _give(reading: Reading, name: str, value: Any) -> None:
    parameter = reading.command.by_name.get(name)
    try:
        if parameter is not None and typed(parameter, value) is not None:
            reading.ledger.given[name] = typed(parameter, value)
    except ConfigError as refused:
        reading.ledger.keep(f"{name} of the folder", value, note=refused.message)


def square(size: object) -> str | None:
    """A picture size as kohya writes it, from 512, "512" or "1024x768"; None where it is none."""
    text = str(size).lower().strip().replace("×", "x")
    if "x" in text:
        width, _, height = text.partition("x")
        return f"{int(width)},{int(height)}" if width.strip().isdecimal() and height.strip().isdecimal() else None
    side = as_number(text)
    return f"{int(side)},{int(side)}" if side and side >= 1 else None
