"""Writing checkpoints and states when they are due, and taking away those that they replace. When that is, checkpoint.py knows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from sd_scripts.errors import Diverged, RunError
from sd_scripts.library.methods.base import EMBEDDING, FileKind, Method, WithWord
from sd_scripts.library.training.checkpoint import SaveRules, set_aside
from sd_scripts.library.training.report import Report
from sd_scripts.library.training.state import Position, save_state
from sd_scripts.library.training.update import Updater
from sd_scripts.library.training.uploads import Uploads
from sd_scripts.library.weights_file import SavedFile, is_finite, save_weights
from sd_scripts.survey.outputs import epoch_stem, last_stem, step_stem


class Metadata(Protocol):
    """Makes the header of a weight file."""

    def __call__(self, tensors: Mapping[str, Tensor], step: int, epoch: int, kind: FileKind = ...) -> Mapping[str, str]:
        """The header of a file with `tensors` after `step` steps; without `kind`, of the method's own kind."""
        ...


"""Tensors as saved, step and epoch to the header of the weight file."""


@dataclass(slots=True)
class Saver:
    """Saves for one run. Only the main process has one that writes.

    Args:
        rules: which checkpoints, under which names.
        save_dtype: of weight files; None for the dtype of training.
        metadata: makes the header of a weight file.
        uploads: sends what was saved to a repository.
    """

    rules: SaveRules
    method: Method
    updater: Updater
    report: Report
    save_dtype: torch.dtype | None
    metadata: Metadata
    uploads: Uploads | None = None
    _written: set[Path] = field(default_factory=set)

    def after_step(self, position: Position) -> None:
        """The checkpoint of a step that is due: weights, state, then the old ones go."""
        stem = step_stem(self.rules.name, position.step)
        self._weights(stem, position.step, position.epoch - 1)
        if self.rules.states:
            self._state(stem, position)
        old_weights, old_state = self.rules.after_step(position.step)
        self._remove(old_weights)
        self._remove(old_state if self.rules.states else None)

    def after_epoch(self, position: Position) -> None:
        """The checkpoint of an epoch that is due: weights, the old ones go, then state."""
        stem = epoch_stem(self.rules.name, position.epoch)
        self._weights(stem, position.step, position.epoch)
        old_weights, old_state = self.rules.after_epoch(position.epoch)
        self._remove(old_weights)
        if self.rules.states:
            self._state(stem, position)
            self._remove(old_state)

    def on_request(self, position: Position) -> None:
        """Weights and state at this step, whether or not they are due: for somebody who stops, or asks."""
        stem = step_stem(self.rules.name, position.step)
        self._weights(stem, position.step, position.epoch - 1)
        self._state(stem, position)

    def at_end(self, position: Position) -> None:
        """The finished run's files."""
        stem = last_stem(self.rules.name)
        self._weights(stem, position.step, position.epoch, final=True)
        if self.rules.last_state:
            self._state(stem, position, final=True)

    def close(self) -> None:
        """Wait for what is still being uploaded."""
        if self.uploads is not None:
            self.uploads.finish()

    def _weights(self, stem: str, step: int, epoch: int, *, final: bool = False) -> None:
        path = self.rules.weights_path(stem)
        if path in self._written:
            return
        self.report.phase("saving")
        self.report.say(f"saving checkpoint: {path}")
        self._make_folder()
        self.updater.eval()
        tensors = self.method.tensors(self.save_dtype)
        self.updater.train()
        broken = next((key for key, tensor in tensors.items() if not is_finite(tensor)), None)
        if broken is not None:
            fix = "Use a lower learning_rate, or save_precision float or bf16."
            raise Diverged(f"The weights hold NaN or Inf at step {step}, first of all {broken}; {path} was not written.", fix=fix)
        self._set_aside(path)
        saved = self.method.write(path, tensors, self.metadata(tensors, step, epoch), counts=(step, epoch))
        self._tell(saved, "weights", step, epoch, final=final)
        beside = self.rules.beside(path)
        if beside is not None and isinstance(self.method, WithWord):
            vectors = self.method.word_tensors(self.save_dtype)
            self._set_aside(beside)
            saved = save_weights(beside, vectors, self.metadata(vectors, step, epoch, EMBEDDING))
            self._tell(saved, "embedding", step, epoch, final=final)

    def _set_aside(self, path: Path) -> None:
        aside = set_aside(path)
        if aside is not None:
            self.report.warn("set_aside", f"{path} was there already and is now called {aside.name}.")

    def _state(self, stem: str, position: Position, *, final: bool = False) -> None:
        path = self.rules.state_path(stem)
        if path in self._written:
            return
        self.report.phase("saving")
        self.report.say(f"saving state: {path}")
        self._make_folder()
        self._tell(save_state(path, self.updater.parts(), position), "state", position.step, position.epoch, final=final)

    def _tell(self, saved: SavedFile, what: str, step: int, epoch: int, *, final: bool) -> None:
        self._written.add(saved.path)
        self.report.event(
            "save",
            path=str(saved.path.absolute()),
            what=what,
            step=step,
            epoch=epoch,
            bytes=saved.bytes,
            tensors=saved.tensors,
            sha256=saved.sha256,
            finite=saved.finite,
            final=final,
        )
        if self.uploads is not None:
            self.uploads.send(saved.path, state=what == "state")

    def _remove(self, path: Path | None) -> None:
        """Take away a checkpoint that a newer one replaces, unless somebody chose it to be kept.

        One that cannot be removed is left with a warning: no reason to end a training.
        """
        if path is None or not path.exists():
            return
        if str(path.absolute()) == self.report.kept():
            self.report.say(f"keeping the chosen checkpoint: {path}")
            return
        self._remove(self.rules.beside(path))
        if self.uploads is not None:
            self.uploads.wait_for(path)
        self.report.say(f"removing old checkpoint: {path}")
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            self.report.warn("not_removed", f"{path} could not be removed: {error.strerror}.")
            return
        self.report.event("removed", path=str(path.absolute()))

    def _make_folder(self) -> None:
        try:
            self.rules.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"The folder {self.rules.folder} cannot be made: {error.strerror}.", fix="Choose another output_dir.") from error
