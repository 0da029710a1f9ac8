"""Which trainer a file was written for, told by its keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.migrate.ledger import SCRIPT
from sd_scripts.params.migrate.told_family import BOXES, Told, by_box, by_name, by_options

LORA_KEYS = ("LoRA_type", "unet_lr", "network_dim", "network_module", "locon")
EMBEDDING_KEYS = ("token_string", "init_word", "num_vectors_per_token")
METADATA_KEYS = ("train_dir", "image_folder", "caption_metadata_filename", "latent_metadata_filename", "full_path")
DREAMBOOTH_KEYS = ("reg_data_dir", "prior_loss_weight")
"""Keys by which the tabs of the kohya GUI are told apart, in this order: each tab saves all of its own."""
ADAPTER_KEYS = (
    "network_module", "network_dim", "network_alpha", "network_args", "network_weights", "network_rank", "network_type", "lora_rank", "lora_alpha",
    "lora_type", "lycoris_algo", "unet_lr", "rank", "conv_dim", "network_train_unet_only",
)  # fmt: skip
"""Options, and what people write for them, that only an adapter has."""
RUN_KEYS = ("pretrained_model_name_or_path", "output_name", "train_data_dir")
"""Options of which a file that describes a whole run has some."""
WHOLE = ("dreambooth", "finetune")
MIN_RUN_KEYS, MIN_OPTIONS = 2, 10
_TRAIN_TYPE = re.compile(r"(?:(?P<family>[a-z0-9_]+)-)?(?P<kind>lora|lokr|loha|dreambooth|finetune|ti|textual[-_]inversion)")
_KINDS = {"lora": "adapter", "lokr": "adapter", "loha": "adapter", "dreambooth": "dreambooth", "finetune": "finetune"}
_TYPE_KEYS = ("model_train_type", "train_type")


def trainer_of_form(document: Mapping[str, Any], near: Command) -> tuple[Command, Told | None]:
    """The trainer of a file that the kohya GUI saved, and the family that it was saved for; what the file does not tell is as in `near`."""
    told = by_box(document)
    if told is None:
        is_sd = any(box in document for box in BOXES) or "v2" in document
        told = Told("sd", "no box of another family") if is_sd else by_name(document)
    return _trainer(told, _method_of_form(document, near.method), near), told


def trainer_of_options(document: Mapping[str, Any], near: Command) -> tuple[Command, Told | None]:
    """The trainer of a file with options under their own names, and the family that it tells of.

    A name counts that the file gives itself; else what the options say; else the trainer that knows most of them, `near` where others know no more.
    """
    named = next((row for row in COMMANDS if row.script == document.get(SCRIPT)), None)
    if named is not None:
        return named, Told(named.family, SCRIPT)
    told = _by_train_type(document) or by_options(document)
    rows = [row for row in COMMANDS if row.kind == "train" and (told is None or row.family == (told.family if told.is_built else near.family))]
    method = _method_of_options(document)
    fitting = [row for row in rows if row.method == method or (method in WHOLE and row.method in WHOLE)]
    return max(fitting or rows, key=lambda row: (sum(key in row.by_name for key in document), row.method == method, _nearness(row, near))), told


def _trainer(told: Told | None, method: str, near: Command) -> Command:
    """The trainer of a method for a family; one without a trainer here is read for that of `near`."""
    family = told.family if told and told.is_built else near.family
    return row_of(family, method) or near


def row_of(family: str, method: str) -> Command | None:
    """The trainer of a method for a family; a family without DreamBooth of its own trains that with its only trainer of whole models."""
    rows = {row.method: row for row in COMMANDS if row.kind == "train" and row.family == family}
    return rows.get(method) or next((rows[other] for other in WHOLE if method in WHOLE and other in rows), None)


def _method_of_form(document: Mapping[str, Any], method: str) -> str:
    for keys, told in ((LORA_KEYS, "adapter"), (EMBEDDING_KEYS, "embedding"), (METADATA_KEYS, "finetune"), (DREAMBOOTH_KEYS, "dreambooth")):
        if any(key in document for key in keys):
            return told
    return method


def _method_of_options(document: Mapping[str, Any]) -> str:
    """What is trained, as far as the options tell; "" where they leave it open."""
    kind = _train_type(document)
    if kind:
        return _KINDS.get(kind, "embedding")
    if any(key in document for key in ADAPTER_KEYS):
        return "adapter"
    if document.get("token_string"):
        return "embedding"
    is_run = sum(bool(document.get(key)) for key in RUN_KEYS) >= MIN_RUN_KEYS and "learning_rate" in document and len(document) >= MIN_OPTIONS
    if is_run:
        return "finetune" if document.get("in_json") else "dreambooth"
    return ""


def _train_type(document: Mapping[str, Any]) -> str:
    found = _match(document)
    return found["kind"] if found else ""


def _by_train_type(document: Mapping[str, Any]) -> Told | None:
    """lora-scripts and its forks name family and method in one word, such as sdxl-lora."""
    found = _match(document)
    family = {"sd1": "sd", "sd15": "sd"}.get(found["family"] or "", found["family"] or "") if found else ""
    return Told(family, f"{found[0]}") if found and family else None


def _match(document: Mapping[str, Any]) -> re.Match[str] | None:
    name = next((str(document[key]).lower() for key in _TYPE_KEYS if document.get(key)), "")
    return _TRAIN_TYPE.fullmatch(name)


def _nearness(row: Command, near: Command) -> int:
    return (row.family == near.family) + (row.method == near.method) + (row is near)
