"""ai-toolkit's YAML (or JSON): a job with a name and one process, whose tables are network, save, datasets, train, model and sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import Command
from sd_scripts.params.migrate.ledger import Imported
from sd_scripts.params.migrate.rivals.ai_toolkit_rules import PROCESSES, RULES
from sd_scripts.params.migrate.rivals.reading import Program, Readable, Reading, dotted, finished, is_true, known_keys, trainer_for
from sd_scripts.params.migrate.told_family import Told, family_of_name

ARCHS = {
    "sd1": "sd", "sd2": "sd", "sd3": "sd3", "sdxl": "sdxl", "flux": "flux", "flux_kontext": "flux", "flex1": "flux", "flex2": "flux",
    "pixart": "pixart", "pixart_sigma": "pixart", "auraflow": "auraflow", "lumina2": "lumina", "chroma": "chroma", "hidream": "hidream",
    "flux2": "flux2",
    "zimage": "z_image", "omnigen2": "omnigen", "krea2": "krea",
}  # fmt: skip
FLAGS = {
    "is_xl": "sdxl",
    "is_v3": "sd3",
    "is_flux": "flux",
    "is_pixart": "pixart",
    "is_pixart_sigma": "pixart",
    "is_auraflow": "auraflow",
    "is_lumina2": "lumina",
    "is_v2": "sd",
}
"""Switches that choose a family in older files."""
SMALLER_SDXL = ("ssd", "vega", "is_ssd", "is_vega")
TRAININGS = ("extension", "train")


def is_ai_toolkit(document: Mapping[str, Any]) -> bool:
    """Whether a document is a job of that program."""
    config = document.get("config")
    return isinstance(config, dict) and isinstance(config.get("process"), list)


def import_ai_toolkit(document: Mapping[str, Any], near: Command, *, folder: Path, readable: Readable) -> Imported:
    """Account for every key of a job. Of several processes the first counts.

    Raises:
        ConfigError: the job does not train.
    """
    config = document["config"]
    processes = [process for process in config["process"] if isinstance(process, dict)]
    job = str(document.get("job") or "extension")
    kind = str(processes[0].get("type", "")) if processes else ""
    if not processes or job not in TRAININGS or "train" not in processes[0]:
        raise ConfigError("config_file", f"The job {job} of type {kind or 'none'} is no training.", fix="Open a job that trains.")
    process = processes[0]
    flat = dotted({key: value for key, value in document.items() if key != "config"})
    flat |= {f"config.{key}": value for key, value in config.items() if key != "process"}
    flat |= dotted(process)
    told = _told(process.get("model") or {})
    method = "embedding" if "embedding" in process else "adapter" if "network" in process else "dreambooth"
    reading = Reading(PROGRAM, flat, trainer_for(told, method, near), folder=folder, readable=readable)
    _say(reading, kind, process)
    if len(processes) > 1:
        reading.ledger.keep("config.process (others)", processes[1:], note="A config has one training; open the others by themselves.")
        reading.ledger.warn("", f"The job has {len(processes)} processes.", "What is read is the first one.")
    return finished(reading, told)


def _told(model: Mapping[str, Any]) -> Told:
    arch = str(model.get("arch") or "").partition(":")[0]
    if arch:
        family = ARCHS.get(arch) or next((family for start, family in ARCHS.items() if arch.startswith(start)), "") or family_of_name(arch) or arch
        return Told(family, f"arch {arch}")
    flag = next((flag for flag in FLAGS if is_true(model.get(flag))), "")
    if flag:
        return Told(FLAGS[flag], flag)
    named = family_of_name(str(model.get("name_or_path") or ""))
    # Where nothing is said it is Stable Diffusion 1.x; a name that says otherwise is told.
    return Told(named, str(model.get("name_or_path")), surely=False) if named not in ("", "sd") else Told("sd", "no other family")


def _say(reading: Reading, kind: str, process: Mapping[str, Any]) -> None:
    model = process.get("model") or {}
    if kind and kind not in PROCESSES:
        reading.ledger.refuse("", f"The job trains with {kind}, which is not built here.", "What is common to all was read.")
    if any(is_true(model.get(flag)) or model.get("arch") == flag for flag in SMALLER_SDXL):
        reading.ledger.refuse(
            "pretrained_model_name_or_path", "The file is for a smaller kind of SDXL, which is not trained here.", "Choose SDXL itself."
        )
    if process.get("adapter"):
        reading.ledger.refuse("", "The job trains an adapter for pictures, such as an IP-Adapter, which is not built here.", "Train a LoRA.")


FALLBACKS: dict[str, Any] = {
    "train.steps": 1000,
    "train.lr": 1e-6,
    "train.optimizer": "adamw",
    "train.lr_scheduler": "constant",
    "train.gradient_checkpointing": True,
    "train.train_text_encoder": False,
    "save.save_every": 1000,
    "save.dtype": "float16",
    "save.max_step_saves_to_keep": 5,
}
"""What that program takes where a file says nothing, and this one would not."""
PROGRAM = Program("ai-toolkit", RULES, known_keys("ai_toolkit.json"), FALLBACKS, first=("sample.prompts", "sample.samples", "train.optimizer"))
