"""SimpleTuner's JSON: a flat config whose keys are its options, with or without their dashes, and a list of data backends in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.ledger import Imported
from sd_scripts.params.migrate.rivals.reading import Program, Readable, Reading, finished, is_true, known_keys, trainer_for
from sd_scripts.params.migrate.rivals.simpletuner_rules import RULES
from sd_scripts.params.migrate.told_family import Told

FAMILIES = {
    "sdxl": "sdxl", "sd1x": "sd", "sd2x": "sd", "legacy": "sd", "sd3": "sd3", "flux": "flux", "flux2": "flux2", "kolors": "kolors",
    "pixart_sigma": "pixart", "pixart": "pixart", "auraflow": "auraflow", "omnigen": "omnigen", "deepfloyd": "deepfloyd", "cosmos2image": "cosmos",
    "sana": "sana", "qwen_image": "qwen_image", "wan": "wan", "hidream": "hidream", "lumina2": "lumina", "ltxvideo": "ltx", "ltxvideo2": "ltx",
    "chroma": "chroma", "hunyuanvideo": "hunyuan_video", "z_image": "z_image", "z-image": "z_image", "stable_cascade": "cascade", "anima": "anima",
}  # fmt: skip
OLD_NAMES = {"checkpointing_steps": "checkpoint_step_interval", "validation_steps": "validation_step_interval"}


def is_simpletuner(document: Mapping[str, Any]) -> bool:
    """Whether a document is a config of that program."""
    names = {key.lstrip("-") for key in document}
    return "model_family" in names or {"data_backend_config", "model_type"} <= names


def import_simpletuner(document: Mapping[str, Any], near: Command, *, folder: Path, readable: Readable) -> Imported:
    """Account for every key of a SimpleTuner config that lies in `folder`."""
    dashed = {key.lstrip("-"): key for key in document if key.startswith("-")}
    flat = {key.lstrip("-"): value for key, value in document.items()}
    family = str(flat.get("model_family") or "sdxl").lower()
    told = Told(FAMILIES.get(family, family), f"model_family {family}")
    method = "adapter" if str(flat.get("model_type") or "lora") == "lora" else "dreambooth"
    reading = Reading(PROGRAM, flat, trainer_for(told, method, near), folder=folder, readable=readable)
    reading.old_names.update(dashed)
    reading.rename(OLD_NAMES)
    if is_true(flat.get("controlnet")) or is_true(flat.get("control")):
        reading.ledger.refuse("", "The file trains a ControlNet, which is not built here.", "What is common to all was read.")
    return finished(reading, told)


FALLBACKS: dict[str, Any] = {
    "lora_type": "standard",
    "lora_rank": 16,
    "train_text_encoder": False,
    "lr_scheduler": "sine",
    "learning_rate": 4e-7,
    "mixed_precision": "bf16",
    "data_backend_config": "",
}
"""What that program takes where a file says nothing, and this one would not."""
PROGRAM = Program(
    "SimpleTuner", RULES, known_keys("simpletuner.json"), FALLBACKS, first=("optimizer", "validation_prompt", "user_prompt_library", "lora_type")
)
