"""Looking at what a dataset config names, in a thread: the survey's datasets, scan and plan, and from them pictures, buckets and problems."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_gui.dataset_pictures import SubsetPictures, pictures_of, with_twins
from sd_scripts.errors import TrainingError
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.dataset import Masks
from sd_scripts.params.problem import Problem
from sd_scripts.survey.buckets import choose
from sd_scripts.survey.caption_files import OTHER_EXTENSIONS
from sd_scripts.survey.checks import data_problems
from sd_scripts.survey.dataset_config import REPLACED, Fault, Reading, Spot, read_document
from sd_scripts.survey.datasets import Size
from sd_scripts.survey.items import Scan, scan
from sd_scripts.survey.masks import mask_problems
from sd_scripts.survey.picture_folder import Listing, Look
from sd_scripts.survey.plan import BucketCount, Plan, make_plan

EXAMPLES = 4
"""Pictures that are shown of a bucket."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of the plan, the dataset that it belongs to, and a few of its pictures."""

    dataset: int
    count: BucketCount
    batch_size: int
    examples: tuple[Path, ...]


@dataclass(frozen=True)
class Found:
    """What a dataset config means and what lies at its paths. `plan` is None where a training would refuse the file, see `faults`."""

    reading: Reading
    scan: Scan
    plan: Plan | None
    subsets: Mapping[Spot, SubsetPictures]
    items: Mapping[Spot, int]
    buckets: tuple[Bucket, ...]
    problems: tuple[Problem, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Mistakes in the file."""
        return self.reading.faults

    def share(self, spot: Spot) -> float:
        """How much of an epoch a subset is, from 0 to 1."""
        return self.items.get(spot, 0) / (sum(self.items.values()) or 1)


class Superseded(Exception):
    """Nobody waits for this any more."""


@dataclass
class Job:
    """One look: how far it is, and what it found. `wrong` is a sentence where it could not be finished."""

    key: object
    done: int = 0
    total: int = 0
    comparing: bool = False
    found: Found | None = None
    wrong: str = ""
    superseded: bool = False
    ready: threading.Event = field(default_factory=threading.Event)

    def progress(self, done: int, total: int) -> None:
        """Note how far it is. Raises Superseded."""
        if self.superseded:
            raise Superseded
        self.done, self.total = done, total


Work = Callable[[Job], Found]


@dataclass
class Looker:
    """One look per user at a time, each in a thread; a newer one ends the one before."""

    _jobs: dict[str, Job] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, user: str, key: object, work: Work) -> Job:
        """The look for `key`, begun if it is another than the last one."""
        with self._lock:
            job = self._jobs.get(user)
            if job is not None and job.key == key:
                return job
            if job is not None:
                job.superseded = True
            made = self._jobs[user] = Job(key)
        threading.Thread(target=_run, args=(made, work), daemon=True).start()
        return made

    def forget(self, user: str) -> None:
        """Look anew the next time: files have changed."""
        with self._lock:
            job = self._jobs.pop(user, None)
            if job is not None:
                job.superseded = True


def _run(job: Job, work: Work) -> None:
    job.wrong = "Looking at the pictures ended early; the server's log says more."
    try:
        job.found = work(job)
        job.wrong = ""
    except Superseded:
        job.wrong = ""
    except (TrainingError, OSError) as failed:
        job.wrong = str(failed)
    finally:
        job.ready.set()


def config_for(config: Config, name: str) -> Config:
    """The form's config with a dataset file called `name` in the place of its folders. Raises ConfigError."""
    given = {option: value for option, value in config.given.items() if option not in REPLACED}
    return make_config(config.command, {**given, "dataset_config": name}, config.studio)


def look(data: Mapping[str, Any], config: Config, *, allows: Callable[[str], bool], processes: int, job: Job) -> Found:
    """Look at everything that a document names. `config` is that of `config_for`. Raises OSError, and Superseded as `job` says."""
    reading = read_document(data, config, allows=allows)
    looked: list[tuple[Listing, Sequence[Look]]] = []
    found = scan(reading.blueprint, on_progress=job.progress, on_looks=lambda listing, looks: looked.append((listing, tuple(looks))))
    masks = Masks in config and config[Masks].masked_loss
    spots = [spot for row in reading.spots for spot in row]
    seen = [
        pictures_of(listing, looks, reading.blueprint.datasets[listing.dataset], masks=masks, other_ending=_other_ending(listing, looks))
        for listing, looks in looked
    ]
    job.comparing = True
    seen = with_twins(seen, job.progress)
    items: dict[Spot, int] = defaultdict(int)
    for item in found.items:
        items[reading.spots[item.dataset][item.subset]] += item.repeats
    plan = make_plan(config, reading.blueprint, found, processes=processes)
    problems = [*reading.blueprint.problems, *found.problems, *data_problems(config, reading.blueprint, found)]
    problems += mask_problems(config, reading.blueprint, found)
    return Found(
        reading,
        found,
        plan if reading.blueprint.datasets and not reading.faults else None,
        dict(zip(spots, seen, strict=True)),
        dict(items),
        tuple(_buckets(reading, found, plan)),
        tuple(dict.fromkeys(problems)),
    )


def _buckets(reading: Reading, found: Scan, plan: Plan) -> list[Bucket]:
    examples: dict[tuple[int, Size], list[Path]] = defaultdict(list)
    for item in found.items:
        place = (item.dataset, choose(item.size, reading.blueprint.datasets[item.dataset]).bucket)
        if item.repeats and len(examples[place]) < EXAMPLES:
            examples[place].append(item.path)
    return [
        Bucket(
            reading.spots[row.dataset][0][0],
            row,
            reading.blueprint.datasets[row.dataset].batch_size,
            tuple(examples[row.dataset, row.bucket]),
        )
        for row in plan.buckets
    ]


def _other_ending(listing: Listing, looks: Sequence[Look]) -> str:
    """The ending of captions that are not read, where pictures lack theirs."""
    if not any(look.item is not None and look.caption == "missing" for look in looks):
        return ""
    return next((ending for ending in OTHER_EXTENSIONS if listing.others.get(ending)), "")
