"""When checkpoints are due, what they are called, and which older ones they replace: kohya's names and rules. What is in them is the method's.

Format: docs/compatibility.md, "Checkpoints"; names are those of kohya's trainers, so that other programs find them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sd_scripts.errors import ConfigError
from sd_scripts.params.config import Config
from sd_scripts.params.saving import Saving, State
from sd_scripts.survey.outputs import FOLDER, STATE_SUFFIX, embedding_beside, epoch_stem, last_stem, step_stem, weights_ending


def superseded_epoch(epoch: int, every: int, keep: int) -> int | None:
    """The epoch whose checkpoint goes when that of `epoch` is written and the last `keep` are kept."""
    old = epoch - every * keep
    return old if old >= 0 else None


def superseded_step(step: int, every: int, keep_steps: int) -> int | None:
    """The step whose checkpoint goes when that of `step` is written; `keep_steps` counts steps, not files."""
    old = step - keep_steps - 1
    old -= old % every
    return old if old >= 0 else None


@dataclass(frozen=True, slots=True)
class SaveRules:
    """The saving options of a run, resolved. 0 for "never"; None for "keep all". `beside` names the file that goes with a weight file, if any."""

    folder: Path
    name: str | None
    extension: str
    epochs: int
    every_epochs: int
    every_steps: int
    keep_epochs: int | None
    keep_steps: int | None
    keep_epoch_states: int | None
    keep_step_states: int | None
    states: bool
    last_state: bool
    beside: Callable[[Path], Path | None] = lambda path: None

    def epoch_is_due(self, epoch: int) -> bool:
        """Whether a checkpoint follows the end of `epoch`; the last epoch has the finished run's file instead."""
        return self.every_epochs > 0 and epoch % self.every_epochs == 0 and epoch < self.epochs

    def step_is_due(self, step: int) -> bool:
        """Whether a checkpoint follows optimizer step `step`."""
        return self.every_steps > 0 and step % self.every_steps == 0

    def weights_path(self, stem: str) -> Path:
        """The weight file for a stem."""
        return self.folder / f"{stem}{self.extension}"

    def state_path(self, stem: str) -> Path:
        """The state folder for a stem."""
        return self.folder / f"{stem}{STATE_SUFFIX}"

    def after_epoch(self, epoch: int) -> tuple[Path | None, Path | None]:
        """The weight file and the state folder that the checkpoint of `epoch` replaces."""
        keep, keep_states = self.keep_epochs, self.keep_epoch_states if self.keep_epoch_states is not None else self.keep_epochs
        weights = superseded_epoch(epoch, self.every_epochs, keep) if keep else None
        state = superseded_epoch(epoch, self.every_epochs, keep_states) if keep_states else None
        return (
            None if weights is None else self.weights_path(epoch_stem(self.name, weights)),
            None if state is None else self.state_path(epoch_stem(self.name, state)),
        )

    def after_step(self, step: int) -> tuple[Path | None, Path | None]:
        """The weight file and the state folder that the checkpoint of `step` replaces."""
        keep, keep_states = self.keep_steps, self.keep_step_states if self.keep_step_states is not None else self.keep_steps
        weights = superseded_step(step, self.every_steps, keep) if keep else None
        state = superseded_step(step, self.every_steps, keep_states) if keep_states else None
        return (
            None if weights is None else self.weights_path(step_stem(self.name, weights)),
            None if not state else self.state_path(step_stem(self.name, state)),
        )


def save_rules(config: Config, *, epochs: int) -> SaveRules:
    """Resolve the saving options for a run of `epochs` epochs.

    Raises:
        ConfigError: there is no output_dir.
    """
    saving, state = config[Saving], config[State]
    if not saving.output_dir:
        raise ConfigError("output_dir", "It is not set.", fix="Name the folder that the trained file goes to.")
    every_epochs = saving.save_every_n_epochs or 0
    if saving.save_n_epoch_ratio:
        every_epochs = epochs // saving.save_n_epoch_ratio or 1
    return SaveRules(
        folder=Path(saving.output_dir),
        name=saving.output_name or None,
        extension=weights_ending(config),
        epochs=epochs,
        every_epochs=every_epochs,
        every_steps=saving.save_every_n_steps or 0,
        keep_epochs=saving.save_last_n_epochs or None,
        keep_steps=saving.save_last_n_steps or None,
        keep_epoch_states=state.save_last_n_epochs_state or None,
        keep_step_states=state.save_last_n_steps_state or None,
        states=state.save_state,
        last_state=state.save_state or state.save_state_on_train_end,
        beside=partial(embedding_beside, config),
    )


def existing_outputs(rules: SaveRules) -> list[Path]:
    """What lies in the output folder under names that this run would write."""
    if not rules.folder.is_dir():
        return []
    stems = (last_stem(rules.name), epoch_stem(rules.name, 0)[:-6], step_stem(rules.name, 0)[:-8])
    found = [path for path in rules.folder.iterdir() if _is_ours(path.name, stems, rules.extension)]
    beside = rules.beside(rules.weights_path(last_stem(rules.name)))
    return sorted([*found, beside] if beside is not None and beside.exists() else found)


def _is_ours(name: str, stems: tuple[str, str, str], extension: str) -> bool:
    last, *numbered = stems
    stem = name.removesuffix(STATE_SUFFIX) if name.endswith(STATE_SUFFIX) else name.removesuffix(extension)
    if stem == name and extension != FOLDER:
        return False
    return stem == last or any(stem.startswith(start) and stem[len(start) :].isdecimal() for start in numbered)


def set_aside(path: Path) -> Path | None:
    """Rename a file that a save would replace, so that nothing is lost: `name.old-20250131235959.ending`. None if there is none."""
    if not path.exists():
        return None
    aside = path.with_name(f"{path.stem}.old-{time.strftime('%Y%m%d%H%M%S')}{path.suffix}")
    return path.rename(aside)
