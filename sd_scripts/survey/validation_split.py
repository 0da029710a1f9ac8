"""Which pictures are kept aside to measure the loss on: a share of every folder, regularisation folders left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from sd_scripts.survey.datasets import Blueprint, CaptionRules
from sd_scripts.survey.picture_folder import Item

DEFAULT_SEED = 0
"""Where no seed is given: the same pictures in every run, or a resumed one would train on what it had kept aside."""


def kept_aside(count: int, share: float, seed: int | None) -> frozenset[int]:
    """Places of the pictures of a folder of `count` that are kept aside: the last round(count · share) of a shuffled list, as kohya's are."""
    order = list(range(count))
    Random(DEFAULT_SEED if seed is None else seed).shuffle(order)
    return frozenset(order[count - round(count * share) :])


def split(items: Sequence[Item], blueprint: Blueprint) -> tuple[list[Item], list[Item]]:
    """What is trained on, and what is kept aside, with one repeat each; both in the order of `items`. No picture is in both."""
    folders: dict[tuple[int, int], list[int]] = {}
    for place, item in enumerate(items):
        if not item.is_reg:
            folders.setdefault((item.dataset, item.subset), []).append(place)
    aside: set[int] = set()
    for (number, _), places in folders.items():
        dataset = blueprint.datasets[number]
        aside |= {places[index] for index in kept_aside(len(places), dataset.validation_split, dataset.validation_seed)}
    train = [item for place, item in enumerate(items) if place not in aside]
    return train, [replace(items[place], repeats=1) for place in sorted(aside)]


def steady(blueprint: Blueprint) -> Blueprint:
    """The same without anything that changes a picture or its caption from step to step."""
    datasets = []
    for dataset in blueprint.datasets:
        subsets = tuple(
            replace(subset, flip_aug=False, color_aug=False, random_crop=False, captions=_steady_rules(subset.captions)) for subset in dataset.subsets
        )
        datasets.append(replace(dataset, subsets=subsets))
    return replace(blueprint, datasets=tuple(datasets))


def _steady_rules(rules: CaptionRules) -> CaptionRules:
    return replace(
        rules,
        shuffle_caption=False,
        caption_dropout_rate=0.0,
        caption_dropout_every_n_epochs=0,
        caption_tag_dropout_rate=0.0,
        token_warmup_min=1,
        token_warmup_step=0.0,
    )
