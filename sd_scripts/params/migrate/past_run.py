"""Train like this one: what a LoRA file says of its own training (`ss_*` in its metadata), as a config."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.ledger import Imported, Ledger
from sd_scripts.params.migrate.shared import network_words
from sd_scripts.params.migrate.told_family import Told
from sd_scripts.params.migrate.trainer import row_of, trainer_of_options

MARK = "ss_"
_NOTHING = ("", "None", "null")
_RENAMED = {
    "num_epochs": "max_train_epochs",
    "debiased_estimation": "debiased_estimation_loss",
    "batch_size_per_device": "train_batch_size",
}
_OF_DATASET = ("batch_size_per_device", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_no_upscale", "resize_interpolation")
_OF_SUBSET = (
    "num_repeats", "color_aug", "flip_aug", "random_crop", "shuffle_caption", "keep_tokens", "keep_tokens_separator", "secondary_separator",
    "enable_wildcard", "caption_prefix", "caption_suffix", "class_tokens",
)  # fmt: skip
_SUBSET_NAMES = {"num_repeats": "dataset_repeats"}
_OPTIMIZER = re.compile(r"([\w.]+)(?:\((.*)\))?", re.DOTALL)
_OWN_CLASSES = {"torch.optim.adamw.AdamW": "AdamW", "transformers.optimization.Adafactor": "Adafactor"}
_V2 = "sd_v2"
_VERSIONS = (
    ("sdxl", "sdxl"),
    ("sd3", "sd3"),
    ("sd_v", "sd"),
    ("flux2", "flux2"),
    ("flux", "flux"),
    ("chroma", "chroma"),
    ("lumina", "lumina"),
    ("anima", "anima"),
    ("hunyuan", "hunyuan_image"),
)
"""Families by how their name in the metadata begins."""


def import_metadata(metadata: Mapping[str, str], near: Command) -> Imported:
    """The options of the training that made a file, as its metadata tell them. Paths are not among them, and counts of its pictures do not apply.

    Raises:
        ConfigError: there is nothing about a training in it.
    """
    said = {key.removeprefix(MARK): value for key, value in metadata.items() if key.startswith(MARK)}
    if not {"network_module", "learning_rate"} & set(said):
        raise ConfigError(
            "", "The file says nothing about its training.", fix="Only files with metadata can be followed; many are published without."
        )
    command, told = _trainer(said, near)
    ledger = Ledger(command)
    ledger.meant_for(told)
    for key, value in said.items():
        _account(ledger, key, value, said)
    return ledger.finish()


def _trainer(said: Mapping[str, str], near: Command) -> tuple[Command, Told | None]:
    """The trainer that made the file, told by the kind of its base model; else by the adapter and the base model's name."""
    module = said.get("network_module", "networks.lora")
    version = said.get("base_model_version", "")
    family = next((family for start, family in _VERSIONS if version.startswith(start)), "")
    hints = {"network_module": module, "pretrained_model_name_or_path": said.get("sd_model_name", "")}
    command, told = trainer_of_options(hints, near)
    if family:
        told = Told(family, version)
        command = (row_of(family, "adapter") if told.is_built else None) or row_of(near.family, "adapter") or near
    return command, told


def _account(ledger: Ledger, key: str, value: str, said: Mapping[str, str]) -> None:
    name = _RENAMED.get(key, key)
    if value in _NOTHING:
        ledger.skip(MARK + key, value)
    elif key in ("network_args", "datasets", "optimizer", "resolution", "base_model_version"):
        _PARTS[key](ledger, value, said)
    elif key == "max_train_steps" and said.get("num_epochs", "None") not in _NOTHING:
        ledger.keep(MARK + key, value, note="The epochs count: other pictures make other steps.")
    elif name in ledger.command.by_name and key not in ("output_name", "session_id"):
        _take(ledger, key, value, name=name)
    else:
        ledger.keep(MARK + key, value, note="It tells of that run, and is no setting.")


def _take(ledger: Ledger, key: str, value: str, *, name: str) -> None:
    parameter = ledger.command.parameter(name)
    made: object = value.lower() == "true" if parameter.kind == "bool" else value
    if made == parameter.default:
        ledger.skip(MARK + key, value)
    else:
        ledger.take(MARK + key, value, name=name, made=made)


def _network_args(ledger: Ledger, value: str, said: Mapping[str, str]) -> None:
    try:
        words = [f"{name}={item}" for name, item in json.loads(value).items() if name != "dropout" and str(item) not in _NOTHING]
    except (ValueError, AttributeError):
        ledger.keep("ss_network_args", value, note="It cannot be read.")
        return
    network_words(ledger, words, said.get("network_module"))


def _optimizer(ledger: Ledger, value: str, said: Mapping[str, str]) -> None:
    """`module.Class(key=value,...)`."""
    found = _OPTIMIZER.fullmatch(value.strip())
    if not found:
        ledger.keep("ss_optimizer", value, note="It cannot be read.")
        return
    path, arguments = found[1], found[2] or ""
    name = _OWN_CLASSES.get(path, path.rpartition(".")[2])
    ledger.take("ss_optimizer", value, name="optimizer_type", made=name)
    words = re.split(r",(?=\w+=)", arguments) if arguments else []
    if words:
        ledger.given["optimizer_args"] = tuple(word.replace("(", "").replace(")", "") for word in words)


def _resolution(ledger: Ledger, value: str, said: Mapping[str, str]) -> None:
    ledger.take("ss_resolution", value, name="resolution", made=value.strip("()[]").replace(" ", ""))


def _datasets(ledger: Ledger, value: str, said: Mapping[str, str]) -> None:
    """The first dataset, and its first subset: the form has one of each."""
    try:
        datasets: list[dict[str, Any]] = json.loads(value)
        first = datasets[0]
        subset = first["subsets"][0]
    except (ValueError, KeyError, IndexError, TypeError):
        ledger.keep("ss_datasets", value, note="It cannot be read.")
        return
    if first.get("resolution"):
        ledger.take("ss_datasets resolution", first["resolution"], name="resolution", made=",".join(map(str, first["resolution"])))
    for source, names in ((first, _OF_DATASET), (subset, _OF_SUBSET)):
        for name in names:
            option = _SUBSET_NAMES.get(name, _RENAMED.get(name, name))
            if source.get(name) not in (None, "") and option in ledger.command.by_name:
                ledger.take(f"ss_datasets {name}", source[name], name=option)
    if len(datasets) > 1 or len(first["subsets"]) > 1:
        ledger.warn("dataset_config", "That training had several datasets or folders.", "What is filled in is that of the first one.")


def _version(ledger: Ledger, value: str, said: Mapping[str, str]) -> None:
    for name, is_so in (("v2", value.startswith(_V2)), ("v_parameterization", value.endswith("_v"))):
        if is_so and name in ledger.command.by_name:
            ledger.given[name] = True
    ledger.keep("ss_base_model_version", value, note=f"The trainer is {ledger.command.script}. Choose a base model of that kind.")


_PARTS = {
    "network_args": _network_args,
    "datasets": _datasets,
    "optimizer": _optimizer,
    "resolution": _resolution,
    "base_model_version": _version,
}
