"""The sections of the training form: each file says which options a section draws, and adds what only that section has."""

from __future__ import annotations

from kohya_gui.form.section import FormSection
from kohya_gui.sections.model import BaseModel
from kohya_gui.sections.output import HuggingFaceHub, LoggingOptions, MetaData, SavingFiles
from kohya_gui.sections.pictures import CaptionText, Pictures, PictureSize
from kohya_gui.sections.preparation import DatasetPreparation
from kohya_gui.sections.samples import SampleImages
from kohya_gui.sections.training import AccelerateLaunch, AdvancedTraining, BasicTraining, LoRA, NewWord, Performance, WholeModel

SECTIONS: tuple[type[FormSection], ...] = (
    BaseModel,
    Pictures,
    DatasetPreparation,
    LoRA,
    NewWord,
    WholeModel,
    BasicTraining,
    PictureSize,
    CaptionText,
    SampleImages,
    SavingFiles,
    Performance,
    AdvancedTraining,
    LoggingOptions,
    MetaData,
    AccelerateLaunch,
    HuggingFaceHub,
)
"""In the order in which the form shows them."""

NOT_DRAWN = ("config_file", "output_config")
"""Options that only a command line has: the form itself is the config file."""
