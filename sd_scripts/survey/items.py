"""Every picture of a run, with its size and caption, and what is wrong with any of them. Files are looked at, none is decoded.

Which bucket a picture falls into is `buckets`' matter, how many steps there are `plan`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from sd_scripts.errors import TrainingError
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.survey.datasets import Blueprint
from sd_scripts.survey.findings import findings
from sd_scripts.survey.info_file import write_info
from sd_scripts.survey.measured_twice import measured_twice
from sd_scripts.survey.picture_folder import Item, Listing, Look, info_of, list_folder, look
from sd_scripts.survey.validation_split import split

__all__ = ["Item", "Progress", "Scan", "SubsetCount", "remember", "scan"]

_CHUNK = 64
_THREADS = 8

Progress = Callable[[int, int], None]
"""Called with (pictures looked at, pictures in all)."""
Looked = Callable[[Listing, Sequence[Look]], None]
"""Called with each subset's folder and what looking at each of its pictures gave."""


@dataclass(frozen=True, slots=True)
class SubsetCount:
    """What one subset holds: pictures that can be used, how many of them have a caption file with text, and how many cannot be used."""

    dataset: int
    subset: int
    images: int
    captions: int
    unusable: int


@dataclass(frozen=True, slots=True)
class Scan:
    """All usable pictures in order (datasets, subsets, file names), what is wrong, and counts per subset.

    `validation` are those that are kept aside to measure the loss on; they are not among `items`.
    """

    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()
    counts: tuple[SubsetCount, ...] = ()
    validation: tuple[Item, ...] = ()


def scan(blueprint: Blueprint, *, on_progress: Progress | None = None, on_looks: Looked | None = None) -> Scan:
    """Look at every picture and caption of `blueprint`. Never raises for a bad file: each one is named in `problems`."""
    listings = [list_folder(d, s, subset) for d, dataset in enumerate(blueprint.datasets) for s, subset in enumerate(dataset.subsets)]
    total = sum(len(listing.pictures) for listing in listings)
    done = 0
    items: list[Item] = []
    counts: list[SubsetCount] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for listing in listings:
            looks: list[Look] = []
            for part in pool.map(partial(_look_at_some, listing), _chunks(listing.pictures)):
                looks += part
                done += len(part)
                if on_progress is not None:
                    on_progress(done, total)
            if on_looks is not None:
                on_looks(listing, looks)
            found = [entry.item for entry in looks if entry.item is not None]
            items += found
            captions = sum(entry.caption == "text" for entry in looks)
            counts.append(SubsetCount(listing.dataset, listing.index, len(found), captions, len(looks) - len(found)))
            problems += findings(listing, looks, blueprint.datasets[listing.dataset], field=blueprint.field_of(listing.subset))
    train, aside = split(items, blueprint)
    problems += _split_problems(train, aside, blueprint)
    balanced, unbalanced = _balance(train, blueprint)
    problems += [*unbalanced, *measured_twice(balanced, aside, blueprint)]
    return Scan(tuple(balanced), tuple(problems), tuple(counts), tuple(aside))


def remember(blueprint: Blueprint, found: Scan) -> list[Problem]:
    """Write what `cache_info` asks for; what could not be written comes back as warnings. Folders with a metadata file have theirs already."""
    problems = []
    for d, dataset in enumerate(blueprint.datasets):
        for s, subset in enumerate(dataset.subsets):
            if not subset.cache_info or subset.metadata_file is not None:
                continue
            items = [item for item in (*found.items, *found.validation) if (item.dataset, item.subset) == (d, s)]
            try:
                listing = list_folder(d, s, subset)
                write_info(subset.image_dir, [(item.path, info_of(item, listing)) for item in items])
            except TrainingError as reason:
                problems.append(warning("cache_info", reason.message, reason.fix))
    return problems


def _split_problems(train: Sequence[Item], aside: Sequence[Item], blueprint: Blueprint) -> list[Problem]:
    wanted = max((dataset.validation_split for dataset in blueprint.datasets), default=0.0)
    if wanted and not aside:
        return [warning("validation_split", f"{wanted:g} of the pictures is none: nothing is measured.", "Keep a larger share aside.")]
    if aside and all(item.is_reg for item in train):
        return [error("validation_split", f"{wanted:g} of the pictures is all of them: nothing would be trained.", "Keep a smaller share aside.")]
    return []


def _chunks(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[at : at + _CHUNK] for at in range(0, len(names), _CHUNK)]


def _look_at_some(listing: Listing, names: Sequence[str]) -> list[Look]:
    return [look(listing, name) for name in names]


def _balance(items: Sequence[Item], blueprint: Blueprint) -> tuple[list[Item], list[Problem]]:
    """kohya's balance: regularisation pictures come in order until they are as many as the training pictures of their dataset.

    The first time round each counts with its subset's repeats, then with one more each round; those that are not reached have 0 repeats.
    """
    made = list(items)
    problems = []
    for index in range(len(blueprint.datasets)):
        reg = [at for at, item in enumerate(made) if item.dataset == index and item.is_reg]
        wanted = sum(item.repeats for item in made if item.dataset == index and not item.is_reg)
        repeats, reached = dict.fromkeys(reg, 0), 0
        while reg and reached < wanted:
            for at in reg:
                more = 1 if repeats[at] else made[at].repeats
                repeats[at] += more
                reached += more
                if reached >= wanted:
                    break
        unused = sum(count == 0 for count in repeats.values())
        if unused and wanted:
            problems.append(
                warning(
                    "reg_data_dir" if blueprint.source == "folders" else "dataset_config",
                    f"{unused:,} of {len(reg):,} regularisation pictures are not used: there are only {wanted:,} training pictures with repeats.",
                )
            )
        for at, count in repeats.items():
            made[at] = replace(made[at], repeats=count)
    return made, problems
