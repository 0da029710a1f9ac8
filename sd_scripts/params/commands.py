"""The trainers that exist: which script takes which sections of options. What an option means is said in its section."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from sd_scripts.params.averaging import Averaging
from sd_scripts.params.cache import Cache, Loader
from sd_scripts.params.captions import CaptionDropout, Captions
from sd_scripts.params.dataset import Folders, Masks, MetadataFile, Regularisation
from sd_scripts.params.distributed import Distributed
from sd_scripts.params.files import ConfigFile
from sd_scripts.params.finetune import BlockRates, DreamBoothText, FineTuneText, GroupedUpdate, OldAttention, TwoTexts
from sd_scripts.params.hub import HuggingFace
from sd_scripts.params.images import Augmentation, Images
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.logging import Logging
from sd_scripts.params.loss import Loss, SNRWeight
from sd_scripts.params.lycoris import LycorisArgs
from sd_scripts.params.memory import Attention, Compile, FrozenPrecision, Memory, Precision
from sd_scripts.params.metadata import Metadata
from sd_scripts.params.model import ModelFiles, SDModel, SourceModel
from sd_scripts.params.network import AdapterArgs, LoRAArgs, Network
from sd_scripts.params.noise import NoiseDDPM, Timesteps
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.preservation import OutputPreservation
from sd_scripts.params.samples import Samples
from sd_scripts.params.saving import AdapterFile, ModelFile, Saving, State
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.params.spec import Parameter, Section, section_of
from sd_scripts.params.text import ClipText
from sd_scripts.params.text_cache import TextCache
from sd_scripts.params.training import Training
from sd_scripts.params.validation import Validation
from sd_scripts.params.word import EmbeddingFile, LearntWord, PivotalTuning, TextualInversion


@dataclass(frozen=True)
class Command:
    """One trainer or tool: `script` without ".py", the model `family`, the `method`, and the sections it takes.

    The sections stand in the order in which a form shows them. `defaults` overrides the defaults of single options. `added` names options that
    kohya's script of this name does not take, though other scripts of that suite do.
    """

    script: str
    family: str
    method: str
    title: str
    kind: Literal["train", "tool"]
    sections: tuple[type, ...]
    defaults: Mapping[str, object] = field(default_factory=dict)
    added: frozenset[str] = frozenset()

    @cached_property
    def descriptions(self) -> tuple[Section, ...]:
        """What each section declares, in the order of `sections`."""
        return tuple(section_of(cls) for cls in self.sections)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every option, with this command's defaults."""
        return tuple(self._with_default(parameter) for section in self.descriptions for parameter in section.params)

    @cached_property
    def by_name(self) -> Mapping[str, Parameter]:
        """Every option by its name."""
        return {parameter.name: parameter for parameter in self.parameters}

    def parameter(self, name: str) -> Parameter:
        """The option called `name`. Raises KeyError."""
        return self.by_name[name]

    def section(self, name: str) -> Section:
        """The section that declares the option called `name`. Raises KeyError."""
        return next(section for section in self.descriptions if section.name == self.by_name[name].section)

    @cached_property
    def flags(self) -> tuple[Parameter, ...]:
        """The options that the script itself takes on its command line: all but those of a list (`network_args`) and of the launcher."""
        sinks = {section.name: section.sink for section in self.descriptions}
        return tuple(parameter for parameter in self.parameters if sinks[parameter.section] in ("flag", "dataset"))

    def _with_default(self, parameter: Parameter) -> Parameter:
        if parameter.name not in self.defaults:
            return parameter
        return dataclasses.replace(parameter, default=self.defaults[parameter.name])


LORA_SECTIONS = (
    SourceModel,
    SDModel,
    Folders,
    MetadataFile,
    Regularisation,
    Images,
    Captions,
    CaptionDropout,
    Augmentation,
    Masks,
    Training,
    Optimizer,
    LRSchedule,
    Averaging,
    Network,
    LoRAArgs,
    AdapterArgs,
    LycorisArgs,
    LearntWord,
    PivotalTuning,
    ClipText,
    Precision,
    FrozenPrecision,
    Memory,
    Attention,
    Cache,
    Loader,
    Loss,
    SNRWeight,
    OutputPreservation,
    NoiseDDPM,
    Timesteps,
    Samples,
    Saving,
    AdapterFile,
    State,
    Logging,
    Metadata,
    Validation,
    Launcher,
    Distributed,
    Compile,
    HuggingFace,
    ConfigFile,
)

_ADAPTER_ONLY = (Network, LoRAArgs, AdapterArgs, LycorisArgs, LearntWord, PivotalTuning, FrozenPrecision, OutputPreservation, AdapterFile, Validation)


def _whole_model(*more: type, without: tuple[type, ...] = ()) -> tuple[type, ...]:
    """Sections of a training of the whole model: those of a LoRA but the adapter's own, and `more`."""
    return (*(section for section in LORA_SECTIONS if section not in (*_ADAPTER_ONLY, *without)), ModelFile, *more)


def _textual_inversion(*more: type) -> tuple[type, ...]:
    """Sections of a textual inversion: those of a LoRA but the adapter's own and dropped captions, which would leave nothing to learn."""
    kept = tuple(section for section in LORA_SECTIONS if section not in (*_ADAPTER_ONLY, CaptionDropout))
    return (*kept, LearntWord, TextualInversion, EmbeddingFile, *more)


_MORE_THAN_KOHYAS = frozenset(
    {"cpu_offload_checkpointing", "initial_epoch", "initial_step", "skip_until_initial_step", "no_metadata", "training_comment"}
)
"""Options of the LoRA trainers that kohya's trainers of whole models lack."""

_WORD = frozenset({"token_string", "init_word", "num_vectors_per_token"})
"""Options of textual inversion that a LoRA takes too: pivotal tuning."""

COMMANDS: tuple[Command, ...] = (
    Command(
        "train_network",
        family="sd",
        method="adapter",
        title="LoRA for Stable Diffusion 1.x and 2.x",
        kind="train",
        sections=LORA_SECTIONS,
        added=_WORD,
    ),
    Command(
        "sdxl_train_network",
        family="sdxl",
        method="adapter",
        title="LoRA for SDXL",
        kind="train",
        sections=(*LORA_SECTIONS, TextCache, ModelFiles),
        added=_WORD,
    ),
    Command(
        "train_db",
        family="sd",
        method="dreambooth",
        title="DreamBooth for Stable Diffusion 1.x and 2.x",
        kind="train",
        sections=_whole_model(DreamBoothText, without=(MetadataFile,)),
        added=_MORE_THAN_KOHYAS | {"dataset_repeats"},
    ),
    Command(
        "fine_tune",
        family="sd",
        method="finetune",
        title="Full training of Stable Diffusion 1.x and 2.x",
        kind="train",
        sections=_whole_model(FineTuneText, OldAttention),
        added=_MORE_THAN_KOHYAS | {"conditioning_data_dir", "masked_loss", "reg_data_dir", "prior_loss_weight"},
    ),
    Command(
        "sdxl_train",
        family="sdxl",
        method="finetune",
        title="Full training of SDXL",
        kind="train",
        sections=_whole_model(TwoTexts, BlockRates, GroupedUpdate, TextCache, ModelFiles, OldAttention),
        added=_MORE_THAN_KOHYAS | {"prior_loss_weight"},
    ),
    Command(
        "train_textual_inversion",
        family="sd",
        method="embedding",
        title="Textual inversion for Stable Diffusion 1.x and 2.x",
        kind="train",
        sections=_textual_inversion(),
        added=_MORE_THAN_KOHYAS | {"weighted_captions"},
    ),
    Command(
        "sdxl_train_textual_inversion",
        family="sdxl",
        method="embedding",
        title="Textual inversion for SDXL",
        kind="train",
        sections=_textual_inversion(ModelFiles),
        added=_MORE_THAN_KOHYAS | {"weighted_captions"},
    ),
)


def command(script: str) -> Command:
    """The command whose script is `script`, with or without ".py". Raises KeyError."""
    for row in COMMANDS:
        if row.script == script.removesuffix(".py"):
            return row
    raise KeyError(script)
