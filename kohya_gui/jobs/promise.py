"""The files that a run will leave behind, named before it starts. Whether they came true is checked in `evidence`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders
from sd_scripts.params.saving import Saving, State
from sd_scripts.survey.outputs import STATE_SUFFIX, embedding_beside, epoch_stem, last_stem, step_stem, weights_ending

Kind = Literal["weights", "state"]


@dataclass(frozen=True, slots=True)
class Promised:
    """One file or folder that will exist at the end, unless pruning takes it away; `path` is absolute."""

    path: str
    kind: Kind


class SavePoints(Protocol):
    """The part of a step plan that says when checkpoints are written: after which epochs (from 1) and steps."""

    @property
    def save_epochs(self) -> Sequence[int]:
        """Epochs, from 1."""

    @property
    def save_steps(self) -> Sequence[int]:
        """Steps, from 1."""


def promise(config: Config, plan: SavePoints | None) -> tuple[Promised, ...]:
    """What `config` will leave in its output folder.

    A run that only shows its dataset promises nothing. Without a plan (the step count is not known) only the final files are named.
    Names: docs/compatibility.md, "Names of files".
    """
    if config[Folders].debug_dataset:
        return ()
    saving, state = config[Saving], config[State]
    folder = output_folder(config)
    extension = weights_ending(config)
    stems: list[str] = []
    if plan is not None:
        stems += [epoch_stem(saving.output_name, epoch) for epoch in plan.save_epochs]
        stems += [step_stem(saving.output_name, step) for step in plan.save_steps]
    last = last_stem(saving.output_name)
    promised = [Promised(str(folder / f"{stem}{extension}"), "weights") for stem in [*stems, last]]
    promised += [Promised(str(beside), "weights") for file in tuple(promised) if (beside := embedding_beside(config, Path(file.path)))]
    if state.save_state:
        promised += [Promised(str(folder / f"{stem}{STATE_SUFFIX}"), "state") for stem in stems]
    if state.save_state or state.save_state_on_train_end:
        promised.append(Promised(str(folder / f"{last}{STATE_SUFFIX}"), "state"))
    return tuple(dict.fromkeys(promised))


def output_folder(config: Config) -> Path:
    """The absolute output folder; the current one where none was given."""
    return Path(config[Saving].output_dir or ".").absolute()


def as_records(promised: Iterable[Promised]) -> list[dict[str, str]]:
    """Plain values for run.json."""
    return [asdict(file) for file in promised]
