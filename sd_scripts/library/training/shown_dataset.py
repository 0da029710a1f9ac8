"""`debug_dataset`: the first batches of a run as the model would get them, drawn into files instead of being trained on."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from sd_scripts.errors import RunError
from sd_scripts.library.data.batches import batches_from, group_items
from sd_scripts.library.data.dataset import Batch, Dealer, Listing, Order
from sd_scripts.library.training.report import Report
from sd_scripts.library.training.request import Outcome, Request
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Regularisation
from sd_scripts.params.saving import Saving
from sd_scripts.params.training import Training
from sd_scripts.survey.learnt_word import template_captions
from sd_scripts.survey.masks import mask_source

MOST_BATCHES = 32
GAP = 8
DIMMED = 0.25
"""What a masked part keeps of its brightness, so that one sees what is not learned."""


def show_dataset(request: Request, report: Report) -> Outcome:
    """Draw the first epoch's batches, at most `MOST_BATCHES`: a picture each, and all that is said of them in captions.txt.

    Raises:
        DataError: a picture cannot be read.
        RunError: something cannot be written.
    """
    config, plan, ended = request.config, request.plan, Outcome(0, "the dataset is shown, nothing was trained", 0)
    if not report.main:
        return ended
    seed = config[Training].seed
    if seed is None:
        report.warn("seed", "No seed is given: a training would draw other captions, cuts and orders.", "Set seed to see what it will draw.")
    listing = Listing(request.scan.items, request.blueprint)
    weight = config[Regularisation].prior_loss_weight if Regularisation in config else 1.0
    dealer = Dealer(
        listing, seed or 0, 0, 1, plan.total_steps, prior_loss_weight=weight, templates=template_captions(config),
        masks=mask_source(config, request.blueprint),
    )  # fmt: skip
    groups = group_items(listing.items, listing.blueprint)
    batches = batches_from(groups, seed=seed or 0, processes=1, accumulation=plan.accumulation)
    first = itertools.takewhile(lambda batch: batch.epoch == 1, itertools.islice(batches, MOST_BATCHES))
    folder = _new_folder(config)
    lines: list[str] = []
    for number, batch in enumerate((dealer.deal(Order(each, pixels=True)) for each in first), start=1):
        path = folder / f"batch-{number:04d}.png"
        _save(_sheet(batch), path)
        lines += _lines(batch, path)
        report.event("sample", path=str(path.absolute()), prompt=" | ".join(batch.captions), step=batch.plan.step, seed=seed, index=number)
    try:
        (folder / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise _unwritable(folder, error) from error
    report.say("\n".join([*lines, f"drawn into {folder}"]))
    return ended


def _new_folder(config: Config) -> Path:
    """A folder that was not there before."""
    saving = config[Saving]
    wanted = Path(saving.output_dir or ".") / f"{saving.output_name or 'last'}-dataset"
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise _unwritable(folder, error) from error
        return folder
    raise AssertionError("unreachable")


def _sheet(batch: Batch) -> Image.Image:
    """A batch's pictures side by side; what masks leave out is dark."""
    if batch.pixels is None:
        raise RuntimeError("pixels were ordered and did not come")
    pictures = [_shown(picture, None if batch.masks is None else batch.masks[place]) for place, picture in enumerate(batch.pixels)]
    height, width = pictures[0].shape[:2]
    sheet = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (place * (width + GAP), 0))
    return sheet


def _shown(picture: Tensor, mask: Tensor | None) -> np.ndarray:
    """(3, height, width), uint8, to (height, width, 3)."""
    pixels = picture.permute(1, 2, 0).float()
    if mask is not None:
        pixels = pixels * (DIMMED + (1 - DIMMED) * mask.permute(1, 2, 0).float() / 255)
    return np.ascontiguousarray(pixels.byte().numpy())


def _lines(batch: Batch, path: Path) -> list[str]:
    width, height = batch.plan.bucket
    found = zip(batch.items, batch.captions, batch.flipped, batch.loss_weights.tolist(), strict=True)
    return [
        f"{path.name}: step {batch.plan.step}, {item.path}, {item.size[0]}×{item.size[1]} in {width}×{height}"
        f"{', mirrored' if flipped else ''}{f', weight {weight:g}' if weight != 1 else ''}: {caption}"
        for item, caption, flipped, weight in found
    ]


def _save(sheet: Image.Image, path: Path) -> None:
    try:
        sheet.save(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(f"{path} cannot be written: {error.strerror or error}.", fix="Free space or choose another output_dir.")
