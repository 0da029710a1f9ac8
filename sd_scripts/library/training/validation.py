"""The loss on pictures that are kept aside, always with the same noise and timesteps: what changes between two measurements is the model alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sd_scripts.library.data.batches import GlobalBatch, Group, group_items
from sd_scripts.library.data.dataset import Batch, Dealer, Listing, Order
from sd_scripts.library.data.images import normalise
from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.diffusion.loss import per_sample_loss
from sd_scripts.library.families.base import Conditions, Family, TextEmbeddings
from sd_scripts.library.training.pictures import mask_of
from sd_scripts.library.training.request import Request
from sd_scripts.library.training.runtime import Runtime, borrowed
from sd_scripts.params.loss import Loss
from sd_scripts.params.noise import Timesteps
from sd_scripts.params.validation import Validation as Options
from sd_scripts.survey.masks import mask_source
from sd_scripts.survey.timestep_curves import timestep_range
from sd_scripts.survey.validation_split import steady

TIMESTEPS = 4
"""Noise levels per picture, as many as kohya measures."""


@dataclass(frozen=True, slots=True)
class Held:
    """A batch as it is measured each time: without pixels, with its latents times `vae_scale` on the CPU, and its text where that never changes."""

    batch: Batch
    latents: Tensor
    text: TextEmbeddings | None


@dataclass(slots=True)
class Validation:
    """Measures the loss: `measure()`. Nothing is drawn that training draws from, and processes share the pictures out.

    `seed` is that of the noise. `trained_text` says whether captions have to be encoded anew each time.
    """

    options: Options
    seed: int
    timesteps: Sequence[int]
    dealer: Dealer
    plans: Sequence[GlobalBatch]
    family: Family
    runtime: Runtime
    loss: Loss
    trained_text: bool
    _held: list[Held] = field(default_factory=list)

    def step_is_due(self, step: int) -> bool:
        """Whether to measure after optimizer step `step`."""
        return bool(self.options.validate_every_n_steps) and step % (self.options.validate_every_n_steps or 1) == 0

    def epoch_is_due(self, epoch: int) -> bool:
        """Whether to measure after `epoch`."""
        if self.options.validate_every_n_epochs:
            return epoch % self.options.validate_every_n_epochs == 0
        return not self.options.validate_every_n_steps

    @torch.no_grad()
    def measure(self, on_batch: Callable[[int, int], None] = lambda done, total: None) -> float:
        """Mean loss over pictures and timesteps of all processes, weighted by timestep as in training. The model must be in eval mode.

        Args:
            on_batch: told (done, total).

        Raises:
            DataError: a picture cannot be read.
        """
        if not self._held:
            self._held = list(self._encoded())
        sums = torch.zeros(2, device=self.runtime.device)
        for done, held in enumerate(self._held, start=1):
            sums += self._measured(held)
            on_batch(done, len(self._held))
        loss, count = self.runtime.summed(sums).tolist()
        return loss / count

    def _measured(self, held: Held) -> Tensor:
        """Sum of the losses of a batch at all timesteps, and how many they are, (2,), float32."""
        batch, family, device = held.batch, self.family, self.runtime.device
        latents, counted = held.latents.to(device), batch.loss_weights.to(device)
        conditions = Conditions(batch.sizes.to(device))
        total = torch.zeros((), device=device)
        with self.runtime.autocast():
            text = held.text or family.encode_text(batch.captions)
        for place, timestep in enumerate(self.timesteps, start=1):
            timesteps = torch.full((len(batch.items),), timestep, dtype=torch.int64)
            noised = family.add_noise(latents, Draws(self.seed, 0, place, batch.indices), timesteps=timesteps)
            with self.runtime.autocast():
                model_pred = family.predict(noised, text, conditions)
            losses = per_sample_loss(
                model_pred, noised.target, self.loss, timesteps=noised.timesteps, schedule=family.schedule, mask=mask_of(batch, device)
            )
            total += (losses * noised.weights * counted).sum()
        return torch.stack([total, counted.sum() * len(self.timesteps)])

    def _encoded(self) -> Iterator[Held]:
        """This process's share of all batches, decoded and encoded once. Parts that wait in main memory come to the accelerator for it."""
        family, device = self.family, self.runtime.device
        with borrowed((family.vae, *family.text_encoders), device):
            for plan in self.plans:
                batch = self.dealer.deal(Order(plan, pixels=True))
                if batch.pixels is None:
                    raise ValueError("a batch has no pixels, though they were ordered")
                mean, logvar = family.image_moments(normalise(batch.pixels.to(device)))
                latents = family.sample_latents(mean, logvar, Draws(self.seed, 0, 0, batch.indices)).cpu()
                with self.runtime.autocast():
                    text = None if self.trained_text else family.encode_text(batch.captions)
                yield Held(replace(batch, pixels=None), latents, text)


def make_validation(request: Request, family: Family, runtime: Runtime, *, seed: int, trained_text: bool) -> Validation | None:
    """What measures the pictures that the survey kept aside; None where there are none."""
    config, aside = request.config, request.scan.validation
    if not aside:
        return None
    options = config[Options]
    listing = Listing(aside, steady(request.blueprint))
    chosen = seed if options.validation_seed is None else options.validation_seed
    dealer = Dealer(listing, chosen, runtime.rank, runtime.processes, request.plan.total_steps, masks=mask_source(config, request.blueprint))
    plans = list(_in_order(group_items(listing.items, listing.blueprint), runtime.processes))[: options.max_validation_steps]
    return Validation(options, chosen, _levels(config[Timesteps]), dealer, plans, family, runtime, config[Loss], trained_text)


def _levels(config: Timesteps) -> list[int]:
    """Evenly spaced timesteps inside the range that is trained: 200, 400, 600, 800 for all of it."""
    low, high = timestep_range(config)
    return [min(high - 1, low + (high - low) * part // (TIMESTEPS + 1)) for part in range(1, TIMESTEPS + 1)]


def _in_order(groups: Sequence[Group], processes: int) -> Iterator[GlobalBatch]:
    """All pictures once, bucket by bucket. A picture's place, which its noise follows from, does not depend on how batches are cut."""
    first, total = 0, sum(len(group.entries) for group in groups)
    for group in groups:
        size = group.batch_size * processes
        for start in range(0, len(group.entries), size):
            entries = group.entries[start : start + size]
            yield GlobalBatch(1, 1, 0, group.bucket, entries, first, total, closes_window=False, closes_epoch=False)
            first += len(entries)
