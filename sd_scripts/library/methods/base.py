"""What a training method answers. The loop calls these and knows no more of what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.params.problem import Problem
from sd_scripts.survey.plan import Plan


class Method(Protocol):
    """What is trained, in which groups, and which tensors a checkpoint holds.

    `notes` are warnings for the user, filled by `prepare`.
    """

    notes: tuple[Problem, ...]

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
class Removable(Protocol):
    """A method whose training can be switched off for a moment, which gives the model as it was before."""

    def disabled(self) -> AbstractContextManager[None]:
        """Within it the model computes as if nothing had been trained. It draws no random numbers."""
        ...
