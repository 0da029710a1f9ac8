"""Which trainer a file was written for, told by its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.params.commands import COMMANDS, Command
from sd_scripts.params.migrate.shared import is_on

FAMILY_BOXES = {
    "sdxl": "SDXL",
    "sdxl_checkbox": "SDXL",
    "flux1_checkbox": "FLUX.1",
    "sd3_checkbox": "SD 3",
    "hunyuan_image_checkbox": "HunyuanImage",
    "anima_checkbox": "Anima",
    "lumina_checkbox": "Lumina",
}
"""The kohya GUI's boxes that choose a family, with its name for people. Without any it is Stable Diffusion 1.x or 2.x."""
FAMILY_OF_BOX = {"sdxl": "sdxl", "sdxl_checkbox": "sdxl"}
"""The boxes of families that have trainers here."""
LORA_KEYS = ("LoRA_type", "unet_lr", "network_dim", "network_module", "locon")
EMBEDDING_KEYS = ("token_string", "init_word", "num_vectors_per_token")
METADATA_KEYS = ("train_dir", "image_folder", "caption_metadata_filename", "latent_metadata_filename", "full_path")
DREAMBOOTH_KEYS = ("reg_data_dir", "prior_loss_weight")
"""Keys by which the tabs of that GUI are told apart, in this order: each tab saves all of its own."""
WHOLE = ("dreambooth", "finetune")


def trainer_of_form(document: Mapping[str, Any], near: Command) -> Command:
    """The trainer of a file that the kohya GUI saved; what the file does not tell is as in `near`."""
    family = next((FAMILY_OF_BOX[box] for box in FAMILY_OF_BOX if is_on(document.get(box))), "")
    if not family:
        told = any(box in document for box in FAMILY_BOXES) or "v2" in document
        family = "sd" if told and not any(is_on(document.get(box)) for box in FAMILY_BOXES) else near.family
    return _row(family, _method_of_form(document, near.method)) or near


def trainer_of_options(document: Mapping[str, Any], near: Command) -> Command:
    """The trainer that knows most keys of a file with options under their own names; `near` where others know no more."""
    rows = [row for row in COMMANDS if row.kind == "train"]
    if document.get("network_module"):
        rows = [row for row in rows if row.method == "adapter"]
    elif document.get("token_string") and not document.get("network_dim"):
        rows = [row for row in rows if row.method == "embedding"]
    return max(rows, key=lambda row: (sum(key in row.by_name for key in document), _nearness(row, near)))


def _method_of_form(document: Mapping[str, Any], method: str) -> str:
    for keys, told in ((LORA_KEYS, "adapter"), (EMBEDDING_KEYS, "embedding"), (METADATA_KEYS, "finetune"), (DREAMBOOTH_KEYS, "dreambooth")):
        if any(key in document for key in keys):
            return told
    return method


def _row(family: str, method: str) -> Command | None:
    """The trainer of a method for a family; a family without DreamBooth of its own trains that with its only trainer of whole models."""
    rows = {row.method: row for row in COMMANDS if row.kind == "train" and row.family == family}
    return rows.get(method) or next((rows[other] for other in WHOLE if method in WHOLE and other in rows), None)


def _nearness(row: Command, near: Command) -> int:
    return (row.family == near.family) + (row.method == near.method) + (row is near)
