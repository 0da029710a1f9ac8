"""What the files of a run are called, told without torch: trainer, form and supervisor use the same names, kohya's.

Format: docs/compatibility.md, "Names of files".
"""

from __future__ import annotations

from pathlib import Path

from sd_scripts.params.config import Config
from sd_scripts.params.model import SourceModel
from sd_scripts.params.rules.word import learnt_word
from sd_scripts.params.saving import AdapterFile, ModelFile
from sd_scripts.params.word import EmbeddingFile, PivotalTuning

STATE_SUFFIX = "-state"
FOLDER = ""
"""The ending of a model that is saved as a folder in the diffusers layout."""


def epoch_stem(name: str | None, epoch: int) -> str:
    """File name without ending of the checkpoint after `epoch` (1-based)."""
    return f"{name or 'epoch'}-{epoch:06d}"


def step_stem(name: str | None, step: int) -> str:
    """File name without ending of the checkpoint after `step` optimizer steps."""
    return f"{name or 'at'}-step{step:08d}"


def last_stem(name: str | None) -> str:
    """File name without ending of the finished run."""
    return name or "last"


def weights_ending(config: Config) -> str:
    """Ending of the files that are saved, with its dot; `FOLDER` for a folder.

    A whole model without `save_model_as` is saved as the kind that it was loaded from; what is no local file is a folder.
    """
    if EmbeddingFile in config:
        return f".{config[EmbeddingFile].save_model_as or 'pt'}"
    if AdapterFile in config:
        return f".{config[AdapterFile].save_model_as or 'safetensors'}"
    options = config[ModelFile]
    if options.save_model_as:
        return FOLDER if options.save_model_as.startswith("diffusers") else f".{options.save_model_as}"
    source = Path(config[SourceModel].pretrained_model_name_or_path or "")
    if not source.is_file():
        return FOLDER
    return ".safetensors" if options.use_safetensors or source.suffix.lower() == ".safetensors" else ".ckpt"


def embedding_beside(config: Config, weights: Path) -> Path | None:
    """The file of a word that is learnt along with an adapter, beside the adapter's file `weights`; None where there is none."""
    word = learnt_word(config) if PivotalTuning in config else None
    return None if word is None else weights.with_name(f"{weights.stem}_{word}{weights.suffix}")


def folder_weights_ending(config: Config) -> str:
    """Ending of the weight files inside such a folder."""
    options = config[ModelFile]
    return ".bin" if options.save_model_as == "diffusers" and not options.use_safetensors else ".safetensors"
