"""Latents of pictures while training: from the cache, or through the VAE, once per picture where its pixels are the same every time."""

from __future__ import annotations

import torch
from torch import Tensor

from sd_scripts.errors import Diverged
from sd_scripts.library.data.batches import GlobalBatch
from sd_scripts.library.data.dataset import Batch, Dealer, Listing, Order
from sd_scripts.library.data.images import normalise
from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.families.base import Family
from sd_scripts.library.transfer import to_device
from sd_scripts.params.families.facts import FamilyFacts
from sd_scripts.survey.plan import Plan

MOST_BYTES = 1 << 30
"""Main memory for posteriors: 8,000 pictures of 512 × 512."""

Moments = tuple[Tensor, Tensor]
Shown = tuple[int, bool]
"""A picture as it is looked at: its item's number, and whether it is mirrored."""


def can_keep(listing: Listing, plan: Plan, facts: FamilyFacts) -> bool:
    """Whether each picture's posterior is worth keeping, and fits: it comes again, with the same pixels."""
    subsets = [subset for dataset in listing.blueprint.datasets for subset in dataset.subsets]
    once = plan.epochs < 2 and all(item.repeats < 2 for item in listing.items)
    if once or any(subset.random_crop or subset.color_aug for subset in subsets):
        return False
    free = MOST_BYTES
    for item in listing.items:
        width, height = listing.choice(item).bucket
        numbers = 2 * facts.latent_channels * (width // facts.latent_stride) * (height // facts.latent_stride)
        free -= numbers * torch.float32.itemsize * (2 if listing.subset(item).flip_aug else 1)
        if free < 0:
            return False
    return True


def mask_of(batch: Batch, device: torch.device) -> Tensor | None:
    """What of each picture is learned, (batch, 1, height, width) in pixels, float32 in [0, 1]; None for all of everything."""
    return None if batch.masks is None else batch.masks.to(device, non_blocking=True).float() / 255


class Pictures:
    """Batches to latents times `vae_scale`: `pictures(batch, draws)`, (batch, channels, height/8, width/8), float32, on `device`.

    With `keep`, each picture goes through the VAE once and alone, so that its posterior does not depend on the batch that it first came in: a resumed
    run gets the same bits. What is drawn from the posterior is new at every step either way.
    """

    def __init__(self, family: Family, dealer: Dealer, device: torch.device, *, keep: bool) -> None:
        self.family, self.dealer, self.device, self.keep = family, dealer, device, keep
        self._kept: dict[Shown, Moments] = {}
        self._ordered: set[Shown] = set()

    def order(self, plan: GlobalBatch) -> Order:
        """What the dealer has to bring for `plan`. To be asked in the order of training: pixels come only with what no order before brought."""
        if not self.keep or self.family.inpaints:
            return Order(plan, pixels=self.dealer.cached_latents is None)
        new = set(self.dealer.shown(plan)) - self._ordered
        self._ordered |= new
        return Order(plan, pixels=bool(new))

    def __call__(self, batch: Batch, draws: Draws) -> Tensor:
        """See the class. Raises Diverged where the VAE makes NaN or Inf of a kept picture."""
        if batch.latents is not None:
            return batch.latents.to(self.device, non_blocking=True) * self.family.vae_scale
        mean, logvar = self._remembered(batch) if self.keep else self._encoded(batch.pixels)
        return self.family.sample_latents(mean, logvar, draws)

    def seen(self, batch: Batch) -> Tensor | None:
        """What an inpainting model is told of each picture, (batch, 1 + channels, height/8, width/8), float32: its hole, and latents of the rest.

        Source: Rombach et al. 2022, arXiv:2112.10752, section 4.5; what is hidden is grey before it is encoded, as diffusers' pipelines have it.
        """
        if batch.inpaint_masks is None or batch.pixels is None:
            return None
        hole = batch.inpaint_masks.to(self.device, non_blocking=True) > 127
        pictures = normalise(batch.pixels.to(self.device, non_blocking=True)) * ~hole
        mean, _ = self.family.image_moments(pictures)
        small = torch.nn.functional.interpolate(hole.float(), size=mean.shape[-2:], mode="nearest")
        return torch.cat([small, mean * self.family.vae_scale], dim=1)

    def _encoded(self, pixels: Tensor | None) -> Moments:
        if pixels is None:
            raise ValueError("a batch has neither pixels nor latents")
        return self.family.image_moments(normalise(pixels.to(self.device, non_blocking=True)))

    def _remembered(self, batch: Batch) -> Moments:
        rows = []
        for row, shown in enumerate(zip(batch.numbers, batch.flipped, strict=True)):
            if shown not in self._kept:
                mean, logvar = (part.cpu() for part in self._encoded(None if batch.pixels is None else batch.pixels[row : row + 1]))
                if not torch.isfinite(mean).all():
                    raise Diverged(f"The VAE made NaN or Inf of {batch.items[row].path}.", fix="Set no_half_vae, or use another VAE.")
                self._kept[shown] = mean, logvar
            rows.append(self._kept[shown])
        means, logvars = zip(*rows, strict=True)
        return to_device(torch.cat(means), self.device), to_device(torch.cat(logvars), self.device)
