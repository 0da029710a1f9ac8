"""What every cache file has in common: arrays in numpy's npz, written whole or not at all, and the identity of the weights that made them."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sd_scripts.errors import RunError

FINGERPRINT, SOURCE = "studio_fingerprint", "studio_source"
"""Our keys beside kohya's: a hash of all that the arrays were made from, and what is remembered of their source, as JSON."""


def weights_identity(*modules: torch.nn.Module) -> str:
    """Hash of modules' weights as they are loaded, so that the same ones out of another file find their caches."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy() if tensor.ndim else bytes(str(tensor.item()), "utf-8"))
    return digest.hexdigest()


def stat_of(path: Path) -> dict[str, int]:
    """Size in bytes and time of change of a file: as long as both are the same, so is its content."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a cache file; None where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        return None


@dataclass(slots=True)
class FolderNames:
    """Files of folders by their names without the last `endings` endings. Each folder is read once: it may hold a hundred thousand files."""

    endings: int = 1
    _folders: dict[Path, dict[str, list[Path]]] = field(default_factory=dict)

    def beginning(self, folder: Path, stem: str) -> list[Path]:
        """The files of `folder` that are called `stem` but for their endings; none where there is no such folder."""
        if folder not in self._folders:
            found: dict[str, list[Path]] = {}
            with suppress(OSError):
                for path in folder.iterdir():
                    found.setdefault(path.name.rsplit(".", self.endings)[0], []).append(path)
            self._folders[folder] = found
        return self._folders[folder].get(stem, [])


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of a cache file by their names, without reading what is in them; none where there is no file that can be read."""
    try:
        with zipfile.ZipFile(path) as stored:
            return {name.removesuffix(".npy"): _shape_of(stored, name) for name in stored.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        return {}


def _shape_of(stored: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with stored.open(name) as array:
        version = np.lib.format.read_magic(array)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return tuple(read(array)[0])


def save_arrays(path: Path, arrays: Mapping[str, Any], *, what: str, option: str) -> None:
    """Write a cache file whole; its folder is made.

    Args:
        what: is in it, for people ("latents").
        option: the option that keeps them in memory instead.

    Raises:
        RunError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, **dict(arrays))
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        fix = f"Free space, make the folder writable, or use {option} without {option}_to_disk."
        raise RunError(f"The {what} cannot be cached in {path.parent}: {error.strerror}.", fix=fix) from error
