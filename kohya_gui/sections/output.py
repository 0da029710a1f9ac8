"""What a run leaves behind: files, states, curves, and what the file says about itself."""

from __future__ import annotations

from kohya_gui.form.section import FormSection
from kohya_gui.text import every, say
from sd_scripts.params.config import Config
from sd_scripts.params.hub import HuggingFace
from sd_scripts.params.logging import Logging
from sd_scripts.params.metadata import Metadata
from sd_scripts.params.saving import AdapterFile, ModelFile, Saving, State
from sd_scripts.params.word import EmbeddingFile


class SavingFiles(FormSection):
    """Names, places and intervals of saving, and what resuming needs."""

    title = "Saving"
    parts = (Saving, AdapterFile, ModelFile, EmbeddingFile, State)

    def summary(self, config: Config) -> str:
        """File name and interval."""
        saving, ending = config[Saving], config.value("save_model_as") or say("as the base model")
        often = [every(saving.save_every_n_steps, "step"), every(saving.save_every_n_epochs, "epoch")]
        state = say("with state") if config[State].save_state else ""
        return " · ".join(word for word in (saving.output_name or "last", str(ending), *often, state) if word)


class LoggingOptions(FormSection):
    """Curves and console output."""

    title = "Logging"
    parts = (Logging,)

    def summary(self, config: Config) -> str:
        """Where curves go."""
        logging = config[Logging]
        return (
            say("{program} in {folder}", program=logging.log_with or "tensorboard", folder=logging.logging_dir)
            if logging.logging_dir
            else say("curves in the page only")
        )


class MetaData(FormSection):
    """What the saved file says about itself."""

    title = "Metadata"
    parts = (Metadata,)

    def summary(self, config: Config) -> str:
        """Title and author."""
        metadata = config[Metadata]
        return " · ".join(word for word in (metadata.metadata_title, metadata.metadata_author) if word)


class HuggingFaceHub(FormSection):
    """Upload to Hugging Face."""

    title = "Hugging Face"
    parts = (HuggingFace,)

    def summary(self, config: Config) -> str:
        """The repository."""
        return config[HuggingFace].huggingface_repo_id or say("not used")
