"""What a training method answers. The loop calls these and knows no more of what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.weights_file import SavedFile
from sd_scripts.params.config import Config
from sd_scripts.params.problem import Problem
from sd_scripts.survey.plan import Plan


@dataclass(frozen=True, slots=True)
class FileKind:
    """What kind of file a method saves, as `modelspec.*` tells it: what follows the base model's architecture, the title of an unnamed file, and
    whether its layout is the original one whatever the family."""

    suffix: str
    title: str
    original: bool = False


ADAPTER = FileKind("/lora", "LoRA")
EMBEDDING = FileKind("/textual-inversion", "TextualInversion", original=True)
FULL_MODEL = FileKind("", "Checkpoint", original=True)


class Method(Protocol):
    """What is trained, in which groups, and which tensors a checkpoint holds.

    `notes` are warnings for the user, filled by `prepare`.
    """

    file_kind: ClassVar[FileKind]
    notes: tuple[Problem, ...]

    @classmethod
    def trained_parts(cls, config: Config) -> frozenset[str]:
        """Parts of the model whose own weights are trained ("unet", "text_encoder", ...): they are loaded in float32."""
        ...

    def prepare(self) -> None:
        """Put what is trained into the family's model, on its device. Called once, before the optimizer is made. Raises ConfigError, DataError."""
        ...

    def param_groups(self) -> list[ParamGroup]:
        """Parameters with their learning rates. Raises ConfigError if nothing would be trained."""
        ...

    def trainable(self) -> list[nn.Parameter]:
        """Every parameter of `param_groups`, in that order."""
        ...

    def before_step(self, step: int, plan: Plan) -> None:
        """Called before the first forward of each optimizer step; `step` counts the steps that are done, so it starts at 0."""
        ...

    def before_predict(self, timesteps: Tensor, *, strength: float = 1.0) -> None:
        """Called before the captions of a micro-batch are encoded and its noise is predicted.

        Args:
            timesteps: those of the micro-batch, (batch,).
            strength: the `network_multiplier` of its dataset.
        """
        ...

    def after_step(self) -> Mapping[str, float]:
        """Called after each optimizer step. Returns numbers for the log."""
        ...

    def train(self) -> None:
        """Switch what is trained to training (dropouts on)."""
        ...

    def eval(self) -> None:
        """Switch what is trained to inference."""
        ...

    def tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The checkpoint's tensors by the ecosystem's keys, on the CPU; None keeps the dtype of training."""
        ...

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, counts: tuple[int, int]) -> SavedFile:
        """Write what `tensors` gave as the file, or folder, `path`; `counts` are steps and epochs done. Raises RunError."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that resuming needs, in full precision."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave, bit for bit. Raises DataError if it is another training's."""
        ...

    def metadata(self) -> Mapping[str, str]:
        """`ss_network_*` and the like, written the way kohya writes them."""
        ...


@runtime_checkable
class WithWord(Protocol):
    """A method that learns a word beside something else, and saves it in a file of its own."""

    def word_tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The word's vectors by the keys of embedding files, on the CPU."""
        ...


@runtime_checkable
class Removable(Protocol):
    """A method whose training can be switched off for a moment, which gives the model as it was before."""

    def disabled(self) -> AbstractContextManager[None]:
        """Within it the model computes as if nothing had been trained. It draws no random numbers."""
        ...
