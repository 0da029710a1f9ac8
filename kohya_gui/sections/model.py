"""The base model."""

from __future__ import annotations

from pathlib import Path

from kohya_gui.form.section import FormSection
from kohya_gui.text import say
from sd_scripts.params.config import Config
from sd_scripts.params.model import ModelFiles, SDModel, SourceModel


class BaseModel(FormSection):
    """Which model the training starts from."""

    title = "Base model"
    parts = (SourceModel, SDModel, ModelFiles)
    open = True

    def summary(self, config: Config) -> str:
        """The model's file name, and what was said about it."""
        model = config[SourceModel].pretrained_model_name_or_path
        sd = config[SDModel]
        words = [Path(model).name if model else say("no model chosen"), "v2" if sd.v2 else "", "v-prediction" if sd.v_parameterization else ""]
        return " · ".join(word for word in words if word)
