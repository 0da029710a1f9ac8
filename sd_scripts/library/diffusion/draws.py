"""Random draws of one micro-batch as a function of position (seed, stream, epoch, step, index), never of what was drawn before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sd_scripts.survey.randomness import seed_for


@dataclass(frozen=True, slots=True)
class Draws:
    """Generators for the items of one micro-batch.

    `indices` are the items' places in the step's global batch (over processes and accumulated micro-batches), so a draw is the same however
    many processes share the batch. What belongs to the batch as a whole (index -1) is equal on every process.
    """

    seed: int
    epoch: int
    step: int
    indices: tuple[int, ...]

    def items(self, stream: str) -> list[torch.Generator]:
        """One CPU generator per item, freshly seeded: asking twice for a stream gives the same numbers twice."""
        return [self._generator(stream, index) for index in self.indices]

    def batch(self, stream: str) -> torch.Generator:
        """The CPU generator of what the whole batch shares."""
        return self._generator(stream, -1)

    def _generator(self, stream: str, index: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed_for(self.seed, stream, epoch=self.epoch, step=self.step, index=index))


def randn_per_item(generators: Sequence[torch.Generator], shape: Sequence[int]) -> torch.Tensor:
    """Standard normal numbers, (len(generators), *shape), float32 on the CPU, item i from generator i."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])
