"""A batch's pictures and captions, read and changed as its place in the run says. Which pictures belong together is decided in batches.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

import numpy as np
import torch
from torch import Tensor

from sd_scripts.errors import DataError, TrainingError
from sd_scripts.library.data.batches import GlobalBatch, Share, share_of
from sd_scripts.library.data.holes import draw_hole
from sd_scripts.library.data.images import change_color, crop, load_alpha, load_image, load_mask, resize, to_pixels
from sd_scripts.survey.buckets import BucketChoice, choose, size_crop
from sd_scripts.survey.caption_variants import chosen_variant
from sd_scripts.survey.captions import process_caption
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.faces import cut_around, face_of
from sd_scripts.survey.items import Item
from sd_scripts.survey.masks import MaskSource
from sd_scripts.survey.randomness import seed_for

FLIP_RATE = 0.5
CachedLatents = Callable[[Sequence[int], Sequence[bool]], Tensor]
CachedTexts = Callable[[Sequence[str]], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Batch:
    """One process's share of a global batch.

    Args:
        plan: the global batch it is cut from.
        items: the pictures. One that only fills up has `loss_weights` 0.
        indices: their places in the step's global batch.
        captions: the text of each at this step.
        flipped: whether each is mirrored.
        loss_weights: (batch,), float32: 1, `prior_loss_weight` for regularisation pictures, 0 for what fills up.
        sizes: (batch, 6), float32: each picture's size and cut as `families.base.Conditions` holds them.
        pixels: (batch, 3, height, width), uint8; None where they were not ordered.
        latents: (batch, channels, height/8, width/8), float32, not scaled yet; None where there is no cache.
        text: the captions encoded, (batch, tokens, width), and pooled, (batch, width); None where there is no cache.
        masks: (batch, 1, height, width), uint8: 255 is learned, 0 is not; None where no picture of the run has one.
        inpaint_masks: (batch, 1, height, width), uint8: 255 is to be filled in, 0 is shown; None unless the dealer gives them.
        conditioning: (batch, 3, height, width), uint8, the pictures of `conditioning_data_dir`; None unless the dealer gives them.
        preserved: whether each teaches what the model predicted before training, by its subset's `diff_output_preservation`.
        multiplier: strength of the adapter for this batch.
    """

    plan: GlobalBatch
    numbers: tuple[int, ...]
    items: tuple[Item, ...]
    indices: tuple[int, ...]
    captions: tuple[str, ...]
    flipped: tuple[bool, ...]
    loss_weights: Tensor
    sizes: Tensor
    pixels: Tensor | None
    latents: Tensor | None
    text: tuple[Tensor, Tensor] | None = None
    masks: Tensor | None = None
    inpaint_masks: Tensor | None = None
    conditioning: Tensor | None = None
    preserved: tuple[bool, ...] = ()
    multiplier: float = 1.0

    def pin_memory(self) -> Batch:
        """The same with its tensors in page-locked memory, from which an accelerator copies without waiting."""
        parts = {name: getattr(self, name) for name in ("pixels", "latents", "masks", "inpaint_masks", "conditioning")}
        pinned = {name: None if value is None else value.pin_memory() for name, value in parts.items()}
        return replace(self, loss_weights=self.loss_weights.pin_memory(), sizes=self.sizes.pin_memory(), **pinned)


@dataclass(frozen=True, slots=True)
class Order:
    """A global batch to be dealt, and whether its pictures are needed: as pixels, or not, since their latents are known."""

    plan: GlobalBatch
    pixels: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """The pictures of a run with the rules that apply to each."""

    items: Sequence[Item]
    blueprint: Blueprint

    def dataset(self, item: Item) -> Dataset:
        """The dataset that `item` belongs to."""
        return self.blueprint.datasets[item.dataset]

    def subset(self, item: Item) -> Subset:
        """The folder that `item` belongs to, with its options."""
        return self.dataset(item).subsets[item.subset]

    def choice(self, item: Item) -> BucketChoice:
        """How `item` is scaled and cut."""
        return choose(item.size, self.dataset(item), random_crop=self.subset(item).random_crop)

    def interpolation(self, item: Item) -> str | None:
        """The name of the interpolation, or None for the default."""
        return self.subset(item).resize_interpolation or self.dataset(item).resize_interpolation

    def picture(self, item: Item, *, crop_random: Random | None = None, color_random: Random | None = None, flip: bool = False) -> Tensor:
        """Decode, scale, cut and change one picture: (3, height, width), uint8.

        Raises:
            DataError: the file cannot be read.
        """
        image = self._cut(item, load_image(item.path), self.interpolation(item), crop_random)
        if color_random is not None:
            image = change_color(image, color_random)
        return to_pixels(image[:, ::-1] if flip else image)

    def mask(self, item: Item, *, files: bool, crop_random: Random | None = None, flip: bool = False) -> Tensor:
        """What of a picture is learned, as the picture is scaled, cut and mirrored: (1, height, width), uint8. All of it where there is no mask.

        A mask of another size than its picture is stretched to it. Files of masks count only with `files`; they come before transparency.

        Raises:
            DataError: the file cannot be read.
        """
        subset = self.subset(item)
        mask = load_mask(item.mask) if files and item.mask is not None else load_alpha(item.path) if subset.alpha_mask else None
        if mask is None:
            width, height = self.choice(item).bucket
            return torch.full((1, height, width), 255, dtype=torch.uint8)
        return self._beside(item, mask, crop_random=crop_random, flip=flip)

    def hole(self, item: Item, random: Random, *, crop_random: Random | None = None, flip: bool = False) -> Tensor:
        """What an inpainting model has to fill in: (1, height, width), uint8, 255 in the hole. From the item's mask file, else a drawn one.

        Raises:
            DataError: the file cannot be read.
        """
        if item.mask is not None:
            return self._beside(item, load_mask(item.mask), crop_random=crop_random, flip=flip)
        return torch.from_numpy(draw_hole(self.choice(item).bucket, random)).unsqueeze(0)

    def conditioning(self, item: Item, *, crop_random: Random | None = None, flip: bool = False) -> Tensor:
        """The picture of `conditioning_data_dir` that goes with `item`, scaled, cut and mirrored like it: (3, height, width), uint8.

        Raises:
            DataError: there is none, or the file cannot be read.
        """
        if item.mask is None:
            fix = "Add one of the same name to the folder that conditioning_data_dir names."
            raise DataError("This picture has no conditioning picture.", fix=fix, path=item.path)
        return self._beside(item, load_image(item.mask), crop_random=crop_random, flip=flip)

    def _beside(self, item: Item, image: np.ndarray, *, crop_random: Random | None, flip: bool) -> Tensor:
        """What belongs to `item` pixel by pixel, (height, width) or (height, width, 3), as the picture itself is shown: (channels, height, width)."""
        image = self._cut(item, image, None, crop_random)
        return to_pixels(np.atleast_3d(image[:, ::-1] if flip else image))

    def _cut(self, item: Item, image: np.ndarray, interpolation: str | None, random: Random | None) -> np.ndarray:
        """Scaled and cut to the bucket: in the middle, anywhere, or around a face. `random` draws alike for all that belongs to one picture."""
        subset, choice = self.subset(item), self.choice(item)
        face = face_of(item.path) if subset.face_crop_aug_range else None
        if face is None or subset.face_crop_aug_range is None or random is None:
            return crop(resize(image, choice.resized, interpolation), choice.bucket, random if subset.random_crop else None)
        cut = cut_around(face, item.size, choice.bucket, subset.face_crop_aug_range, random=random, anywhere=subset.random_crop)
        width, height = choice.bucket
        return resize(image, cut.resized, interpolation)[cut.top : cut.top + height, cut.left : cut.left + width]


@dataclass(frozen=True, slots=True)
class Dealer:
    """Makes the batches of one process: `dealer[order]`. Safe to use from any number of worker processes, in any order.

    Args:
        cached_latents: gives the latents of item numbers, mirrored or not; None: pictures are decoded instead.
        cached_texts: gives captions encoded; None: that is done later.
        caption_variants: with `cached_texts`, how many versions of a caption there are.
        templates: sentences that take the place of all captions, one drawn for each picture.
        masks: where batches have masks from; "" for none.
        inpainting: give `inpaint_masks`: from files of masks, and for pictures without one drawn anew at each step.
        conditioning: give `conditioning`.
        prior_loss_weight: weight of regularisation pictures.
        max_train_steps: for a tag warm-up given as a share of the run.
    """

    listing: Listing
    seed: int
    rank: int
    processes: int
    max_train_steps: int
    prior_loss_weight: float = 1.0
    cached_latents: CachedLatents | None = None
    cached_texts: CachedTexts | None = None
    caption_variants: int = 1
    templates: tuple[str, ...] = ()
    masks: MaskSource = ""
    inpainting: bool = False
    conditioning: bool = False

    def __getitem__(self, order: Order) -> Batch | TrainingError:
        """The share of what is ordered. An error comes back as a value: a worker could not carry its parts (file, remedy) in an exception."""
        try:
            return self.deal(order)
        except TrainingError as error:
            return error

    def shown(self, plan: GlobalBatch) -> tuple[tuple[int, bool], ...]:
        """The pictures of this process's share of `plan`: item numbers, and whether each is mirrored."""
        share = self._share(plan)
        return tuple(zip(share.entries, self._flipped(plan, share), strict=True))

    def deal(self, order: Order) -> Batch:
        """Read the pictures of this process's share, where they are ordered, and process their captions.

        Raises:
            DataError: a picture cannot be read.
        """
        plan = order.plan
        share = self._share(plan)
        items = tuple(self.listing.items[number] for number in share.entries)
        indices = tuple(range(share.first_index, share.first_index + len(items)))
        flipped = self._flipped(plan, share)
        weights = [self._weight(item) if place < share.counted else 0.0 for place, item in enumerate(items)]
        latents = self.cached_latents(share.entries, flipped) if self.cached_latents is not None else None
        pixels = None
        if order.pixels:
            pixels = torch.stack([self._picture(item, plan, index, flip) for item, index, flip in zip(items, indices, flipped, strict=True)])
        captions = tuple(self._caption(item, plan, index) for item, index in zip(items, indices, strict=True))
        sizes = torch.tensor([self._sizes(item, flip) for item, flip in zip(items, flipped, strict=True)], dtype=torch.float32)
        text = self.cached_texts(captions) if self.cached_texts is not None else None
        loss_weights = torch.tensor(weights, dtype=torch.float32)
        batch = Batch(plan, share.entries, items, indices, captions, flipped, loss_weights, sizes, pixels, latents, text)
        preserved = tuple(self.listing.subset(item).diff_output_preservation for item in items)
        multiplier = self.listing.dataset(items[0]).network_multiplier
        return replace(batch, preserved=preserved, multiplier=multiplier, **self._beside_pictures(batch))

    def _share(self, plan: GlobalBatch) -> Share:
        return share_of(plan, rank=self.rank, processes=self.processes)

    def _flipped(self, plan: GlobalBatch, share: Share) -> tuple[bool, ...]:
        places = enumerate(share.entries, share.first_index)
        return tuple(self._flips(self.listing.items[number], plan, index) for index, number in places)

    def _random(self, stream: str, plan: GlobalBatch, index: int) -> Random:
        return Random(seed_for(self.seed, stream, epoch=plan.epoch, step=plan.step, index=index))

    def _flips(self, item: Item, plan: GlobalBatch, index: int) -> bool:
        return self.listing.subset(item).flip_aug and self._random("flip", plan, index).random() < FLIP_RATE

    def _sizes(self, item: Item, flip: bool) -> tuple[float, ...]:
        """Height and width of the file's picture, top and left of the cut, height and width of the bucket. A mirrored cut begins at its other end."""
        width, height = self.listing.choice(item).bucket
        left, top, right, _ = size_crop((width, height), item.size)
        return item.size[1], item.size[0], int(top), int(width - right if flip else left), height, width

    def _weight(self, item: Item) -> float:
        return self.prior_loss_weight if item.is_reg else 1.0

    def _picture(self, item: Item, plan: GlobalBatch, index: int, flip: bool) -> Tensor:
        subset = self.listing.subset(item)
        return self.listing.picture(
            item,
            crop_random=self._crop_random(item, plan, index),
            color_random=self._random("color", plan, index) if subset.color_aug else None,
            flip=flip,
        )

    def _beside_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """What goes with each picture pixel by pixel, as far as it is wanted. Each is cut by the draw that the picture is cut by."""
        files, plan, listing = self.masks == "files", batch.plan, self.listing
        made: dict[str, list[Tensor]] = {}
        for item, index, flip in zip(batch.items, batch.indices, batch.flipped, strict=True):
            cut = partial(self._crop_random, item, plan, index)
            if self.masks:
                made.setdefault("masks", []).append(listing.mask(item, files=files, crop_random=cut(), flip=flip))
            if self.inpainting:
                hole = listing.hole(item, self._random("inpaint", plan, index), crop_random=cut(), flip=flip)
                made.setdefault("inpaint_masks", []).append(hole)
            if self.conditioning:
                made.setdefault("conditioning", []).append(listing.conditioning(item, crop_random=cut(), flip=flip))
        return {name: torch.stack(rows) for name, rows in made.items()}

    def _crop_random(self, item: Item, plan: GlobalBatch, index: int) -> Random | None:
        """The generator of a picture's cut, new each time it is asked for; None for the middle."""
        subset = self.listing.subset(item)
        return self._random("crop", plan, index) if subset.random_crop or subset.face_crop_aug_range else None

    def _caption(self, item: Item, plan: GlobalBatch, index: int) -> str:
        subset = self.listing.subset(item)
        if self.cached_texts is not None:
            random = self._random("caption", plan, index)
            return chosen_variant(
                item.caption, subset.captions, self.caption_variants, random=random, epoch=plan.epoch, class_tokens=subset.class_tokens
            )
        return process_caption(
            item.caption,
            subset.captions,
            random=self._random("caption", plan, index),
            epoch=plan.epoch,
            step=plan.step - 1,
            max_train_steps=self.max_train_steps,
            class_tokens=subset.class_tokens,
            replacements={"": self.templates} if self.templates else None,
        )
