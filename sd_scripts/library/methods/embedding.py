"""Textual inversion: a new word is learnt, the model stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import Family
from sd_scripts.library.methods.base import EMBEDDING, FileKind
from sd_scripts.library.methods.words import LearntVectors
from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.weights_file import SavedFile, save_weights
from sd_scripts.params.config import Config
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem
from sd_scripts.params.word import LearntWord, TextualInversion
from sd_scripts.survey.plan import Plan


class Embedding:
    """The method behind the trainers of textual inversion."""

    file_kind: ClassVar[FileKind] = EMBEDDING

    def __init__(self, config: Config, family: Family) -> None:
        self.config, self.family = config, family
        self.notes: tuple[Problem, ...] = ()
        self.vectors: LearntVectors

    @classmethod
    def trained_parts(cls, config: Config) -> frozenset[str]:
        """No part of the model itself."""
        return frozenset()

    def prepare(self) -> None:
        """Put the word into the text encoders. Raises ConfigError, DataError."""
        word = self.config[LearntWord]
        self.vectors = LearntVectors(
            self.family,
            word.token_string or "",
            count=word.num_vectors_per_token,
            init_word=word.init_word,
            weights=self.config[TextualInversion].weights,
        )

    def param_groups(self) -> list[ParamGroup]:
        """One group. Raises ConfigError if its rate is 0."""
        rate = self.config[Optimizer].learning_rate
        if not rate:
            raise ConfigError("learning_rate", "It is 0: nothing would be trained.", fix="Give it a value above 0, such as 5e-3.")
        return [ParamGroup("embedding", self.trainable(), rate)]

    def trainable(self) -> list[nn.Parameter]:
        """The vectors of each text encoder."""
        return self.vectors.parameters()

    def before_step(self, step: int, plan: Plan) -> None:
        """Nothing is to be done."""

    def before_predict(self, timesteps: Tensor, *, strength: float = 1.0) -> None:
        """Nothing depends on the timestep."""

    def after_step(self) -> Mapping[str, float]:
        """Nothing is to be done."""
        return {}

    def train(self) -> None:
        """Vectors have no mode."""

    def eval(self) -> None:
        """Vectors have no mode."""

    def tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """`emb_params`, or `clip_l` and `clip_g`: (vectors, width), on the CPU; None keeps float32."""
        return self.vectors.tensors(save_dtype)

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, counts: tuple[int, int]) -> SavedFile:
        """One file. The counts stand in its metadata."""
        return save_weights(path, tensors, metadata)

    def state_dict(self) -> dict[str, Any]:
        """The vectors as trained."""
        return self.tensors(None)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises DataError if it is another word's."""
        self.vectors.load(state)

    def metadata(self) -> dict[str, str]:
        """There is no adapter to speak of."""
        return {}
