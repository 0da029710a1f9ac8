"""A state folder: all that resuming needs, written whole or not at all. File names are those of accelerate, so that kohya's programs know the folder.

`studio_state.json` is ours: the exact position, from which the order of pictures and all draws follow. Without it (a folder of another program) the
run goes on at the step that `train_state.json` names, with the same weights and optimizer, but pictures in another order.

Format: docs/compatibility.md, "States".
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from sd_scripts.errors import DataError, RunError
from sd_scripts.library.weights_file import SavedFile, read_weights, save_weights

WEIGHTS, OPTIMIZER, SCHEDULER, SCALER = "model.safetensors", "optimizer.bin", "scheduler.bin", "scaler.pt"
AVERAGE = "studio_average.pt"
KOHYA_POSITION, POSITION = "train_state.json", "studio_state.json"


class Stateful(Protocol):
    """Anything whose state can be taken and given back."""

    def state_dict(self) -> Any:
        """All that it needs to go on."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from there."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands: `step` optimizer steps are done, the last of them in `epoch` (1-based).

    The rest is what must be the same for the run to go on exactly: seed, processes, accumulation, steps per epoch. `losses` are those that the
    average is made of, `best` the lowest validation loss so far and its step.
    """

    step: int
    epoch: int
    seed: int | None = None
    processes: int | None = None
    accumulation: int | None = None
    steps_per_epoch: int | None = None
    losses: tuple[float, ...] = ()
    best: tuple[float, int] | None = None

    @property
    def exact(self) -> bool:
        """Whether the folder was written by this program."""
        return self.seed is not None


@dataclass(frozen=True, slots=True)
class Parts:
    """What has a state: the method's weights, the optimizer, the schedule, the loss scaler of fp16, the average of the weights."""

    method: Stateful
    optimizer: Stateful
    scheduler: Stateful
    scaler: Stateful | None = None
    average: Stateful | None = None


def save_state(folder: Path, parts: Parts, position: Position) -> SavedFile:
    """Write a state folder under its name only when it is complete; an older one of that name is replaced.

    Returns:
        The folder with the size of all its files; tensors, sha256 and finiteness are those of the weights in it.

    Raises:
        RunError: it cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        weights = save_weights(part / WEIGHTS, parts.method.state_dict(), {})
        torch.save(parts.optimizer.state_dict(), part / OPTIMIZER)
        torch.save(parts.scheduler.state_dict(), part / SCHEDULER)
        if parts.scaler is not None:
            torch.save(parts.scaler.state_dict(), part / SCALER)
        if parts.average is not None:
            torch.save(parts.average.state_dict(), part / AVERAGE)
        torch.save(_random_states(position.step), part / "random_states_0.pkl")
        _write_json(part / KOHYA_POSITION, {"current_epoch": position.epoch, "current_step": position.step})
        _write_json(part / POSITION, asdict(position))
        _sync(part)
        size = sum(path.stat().st_size for path in part.iterdir())
        _replace(part, folder)
    except (OSError, RuntimeError) as error:  # torch wraps a full disk in a RuntimeError
        shutil.rmtree(part, ignore_errors=True)
        raise RunError(f"The state cannot be written to {folder}: {error}.", fix="Free space or choose another output_dir.") from error
    return SavedFile(folder, size, weights.tensors, weights.sha256, weights.finite)


def read_position(folder: Path) -> Position:
    """Where the run in a state folder stands.

    Raises:
        DataError: the folder is missing or is no state folder.
    """
    if not folder.is_dir():
        raise DataError("There is no such state folder.", fix="Give resume the folder whose name ends in -state.", path=folder)
    try:
        if (folder / POSITION).is_file():
            exact: dict[str, Any] = json.loads((folder / POSITION).read_text("utf-8"))
            losses = tuple(exact.pop("losses"))
            best = exact.pop("best", None)
            return Position(**exact, losses=losses, best=None if best is None else (best[0], best[1]))
        stored = json.loads((folder / KOHYA_POSITION).read_text("utf-8"))
        return Position(int(stored["current_step"]), int(stored["current_epoch"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"This is no whole state folder: {error}.", fix="Resume from another one.", path=folder) from error


def load_state(folder: Path, parts: Parts) -> None:
    """Give every part back what it was.

    Raises:
        DataError: a file is missing, damaged, or was saved with other options.
    """
    tensors, _ = read_weights(folder / WEIGHTS)
    parts.method.load_state_dict(tensors)
    for name, part in ((OPTIMIZER, parts.optimizer), (SCHEDULER, parts.scheduler), (SCALER, parts.scaler), (AVERAGE, parts.average)):
        if part is None:
            continue
        if name in (SCALER, AVERAGE) and not (folder / name).is_file():
            continue  # the state was saved without fp16, or without an average: they start anew
        _load_part(folder / name, part)


def _load_part(path: Path, part: Stateful) -> None:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        part.load_state_dict(stored)
        if isinstance(part, torch.optim.Optimizer):
            _restore_types(part, stored)
    except FileNotFoundError as error:
        raise DataError("The file is missing from the state.", fix="Resume from another state folder.", path=path) from error
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        fix = "Resume with the network and optimizer options that it was saved with."
        raise DataError(f"The saved state does not fit this run ({reason}).", fix=fix, path=path) from error


def _restore_types(optimizer: torch.optim.Optimizer, stored: Mapping[str, Any]) -> None:
    """Give the optimizer's numbers back the types that they were saved in: torch turns them into those of the weights, which may be half."""
    numbers = [number for group in stored["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        own = optimizer.state.get(parameter, {})
        for key, value in stored["state"].get(number, {}).items():
            if isinstance(value, torch.Tensor) and isinstance(own.get(key), torch.Tensor) and own[key].dtype != value.dtype:
                own[key] = value.to(own[key].device)


def _random_states(step: int) -> Mapping[str, Any]:
    """For programs that go on with the generators where they stood. Ours draw by position and need none of it."""
    return {
        "step": step,
        "random_state": random.getstate(),
        "numpy_random_seed": np.random.get_state(),
        "torch_manual_seed": torch.get_rng_state(),
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _replace(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`; at every moment one of the two is there."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
