"""What every cache file has in common: arrays in numpy's npz, written whole or not at all, and the identity of the weights that made them."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
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
