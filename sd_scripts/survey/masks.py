"""Masks as far as they can be told from names: whether every picture has the one that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Masks
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.survey.blueprint import Blueprint
from sd_scripts.survey.findings import names_words
from sd_scripts.survey.items import Scan

MaskSource = Literal["", "alpha", "files"]


def mask_source(config: Config, blueprint: Blueprint) -> MaskSource:
    """Where masks come from: nowhere, transparency, or files, which count only with masked_loss, and transparency."""
    if Masks not in config:
        return ""
    subsets = [subset for dataset in blueprint.datasets for subset in dataset.subsets]
    if config[Masks].masked_loss and any(subset.conditioning_data_dir is not None for subset in subsets):
        return "files"
    return "alpha" if any(subset.alpha_mask for subset in subsets) else ""


def mask_problems(config: Config, blueprint: Blueprint, found: Scan, *, inpainting: bool = False) -> Iterator[Problem]:
    """A masked loss without masks, masks without a masked loss, and pictures whose mask is missing. Regularisation pictures may do without.

    With `inpainting` files of masks are also the holes that the model learns to fill, so they have an effect either way.
    """
    if Masks not in config:
        return
    subsets = [subset for dataset in blueprint.datasets for subset in dataset.subsets]
    folders = [subset for subset in subsets if subset.conditioning_data_dir is not None]
    field = "dataset_config" if blueprint.source == "dataset_config" else "conditioning_data_dir"
    if not config[Masks].masked_loss:
        if folders and not inpainting:
            yield warning(field, "The masks have no effect, because masked_loss is off.", "Set masked_loss, or leave the folder of masks out.")
        return
    if not folders and not any(subset.alpha_mask for subset in subsets):
        fix = "Name their folder with conditioning_data_dir, or use transparency with alpha_mask."
        yield error("masked_loss", "There are no masks.", fix)
        return
    items = [*found.items, *found.validation]
    needy = [item for item in items if not item.is_reg and blueprint.datasets[item.dataset].subsets[item.subset].conditioning_data_dir is not None]
    missing = [item.path.name for item in needy if item.mask is None]
    if missing:
        message = f"There is no mask for {names_words(missing)}."
        yield error(field, message, "Add a picture of the same name, white where it is to be learned.")
