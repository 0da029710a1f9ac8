"""What the model is to go on saying: targets that are the prediction of the model before training, for pictures or for captions of a class."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sd_scripts.library.data.dataset import Batch
from sd_scripts.library.diffusion.loss import per_sample_loss
from sd_scripts.library.families.base import Conditions, Family, Noised, TextEmbeddings
from sd_scripts.library.methods.base import Method, Removable
from sd_scripts.library.transfer import to_device
from sd_scripts.params.config import Config
from sd_scripts.params.loss import Loss
from sd_scripts.params.preservation import OutputPreservation
from sd_scripts.survey.blueprint import Blueprint

Encode = Callable[[Sequence[str]], TextEmbeddings]


@dataclass(frozen=True, slots=True)
class Preservation:
    """Differential output preservation: `preservation(batch, noised, text, conditions)`.

    `trained_text` says whether captions are encoded otherwise than before training. `encode` encodes captions with what is trained, or without it.

    Source: kohya's `diff_output_preservation` (targets of chosen pictures) and ai-toolkit's of the same name (captions of a class).
    """

    options: OutputPreservation
    loss: Loss
    family: Family
    method: Removable
    encode: Encode
    trained_text: bool

    def __call__(
        self, batch: Batch, noised: Noised, text: TextEmbeddings, conditions: Conditions, *, model_pred: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | float]:
        """Targets of a batch's pictures, (batch, channels, height, width), and losses per item to add, (batch,), float32; 0 for none.

        With `masked_prior_weight`, what lies outside `mask` is held to the prediction before training (OneTrainer's masked prior preservation).

        To be called where the model computes: under the run's mixed precision.
        """
        target = noised.target
        outside = mask is not None and self.options.masked_prior_weight > 0
        kept = [(self.options.reg_output_preservation and item.is_reg) or chosen for item, chosen in zip(batch.items, batch.preserved, strict=True)]
        added = self._class_losses(batch, noised, conditions)
        if not (outside or any(kept)):
            return target, added
        before = self._before(noised, text, batch.captions, conditions)
        if outside and mask is not None:
            losses = per_sample_loss(model_pred, before, self.loss, timesteps=noised.timesteps, schedule=self.family.schedule, mask=1 - mask)
            added = added + self.options.masked_prior_weight * losses
        rows = to_device(torch.tensor(kept), target.device).view(-1, 1, 1, 1)
        return torch.where(rows, before, target), added

    def _class_losses(self, batch: Batch, noised: Noised, conditions: Conditions) -> Tensor | float:
        """How far captions with the class have moved; 0 for those without the trigger, whose class caption would be the one that is learnt."""
        word, trigger = self.options.preservation_class, self.options.preservation_trigger
        if not word or not trigger:
            return 0.0
        captions = [in_place_of(trigger, word, caption) for caption in batch.captions]
        weights = [0.0 if new is None else self.options.preservation_weight for new in captions]
        if not any(weights):
            return 0.0
        texts = [old if new is None else new for old, new in zip(batch.captions, captions, strict=True)]
        text = self.encode(texts)
        moved = self.family.predict(noised, text, conditions)
        before = self._before(noised, text, texts, conditions)
        losses = per_sample_loss(moved, before, self.loss, timesteps=noised.timesteps, schedule=self.family.schedule)
        return losses * to_device(torch.tensor(weights), losses.device)

    @torch.no_grad()
    def _before(self, noised: Noised, text: TextEmbeddings, captions: Sequence[str], conditions: Conditions) -> Tensor:
        """The prediction of the model as it was loaded, (batch, channels, height, width), float32, without gradients."""
        with self.method.disabled():
            return self.family.predict(noised, self.encode(captions) if self.trained_text else text, conditions)


def in_place_of(trigger: str, word: str, caption: str) -> str | None:
    """`caption` with `word` wherever `trigger` stands as a word of its own, in upper or lower case; None where it does not."""
    changed, count = re.subn(rf"(?<!\w){re.escape(trigger.strip())}(?!\w)", lambda _: word.strip(), caption, flags=re.IGNORECASE)
    return changed if count else None


def make_preservation(
    config: Config, family: Family, method: Method, encode: Encode, *, trained_text: bool, blueprint: Blueprint
) -> Preservation | None:
    """What the options and the folders of `blueprint` ask to preserve; None where they ask for nothing."""
    if OutputPreservation not in config or not isinstance(method, Removable):
        return None
    options = config[OutputPreservation]
    chosen = any(subset.diff_output_preservation for dataset in blueprint.datasets for subset in dataset.subsets)
    if not (options.preservation_class or options.reg_output_preservation or options.masked_prior_weight or chosen):
        return None
    return Preservation(options, config[Loss], family, method, encode, trained_text)
