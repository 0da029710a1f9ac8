"""Weight files: written whole or not at all, read back before they count as saved. What their keys mean is said where they are made."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sd_scripts.errors import DataError, RunError

PICKLED = (".ckpt", ".pt", ".pth", ".bin")
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that was written and read back: its size, number of tensors, sha256 of all its bytes, and whether every value is finite."""

    path: Path
    bytes: int
    tensors: int
    sha256: str
    finite: bool


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, around: Mapping[str, object] | None = None) -> SavedFile:
    """Write one weight file, compare what stands on the disk with what was to be written, and only then put it under its name.

    The file is written beside its target as `.<name>.part`, flushed and renamed, so that a crash, a full disk or a killed process leaves the
    previous file untouched. An existing file at `path` is replaced: whoever must not overwrite asks first.

    Args:
        path: target ending in .safetensors, .ckpt, .pt or .bin; its folder must exist. All but the first are pickles and hold no metadata.
        tensors: by key, any device, already in the dtype to be saved, no two sharing storage.
        metadata: text to text, for the safetensors header.
        around: makes a pickle hold the tensors under `state_dict`, beside these numbers.

    Raises:
        RunError: the folder is missing, not writable or full, or the disk gave back something else than was written.

    Format: safetensors, 8 bytes header length (little endian), JSON header, tensor bytes; or torch's zip of a pickle.
    """
    ready = {key: tensor.detach().to("cpu").contiguous() for key, tensor in tensors.items()}
    part = path.with_name(f".{path.name}.part")
    try:
        _write(part, ready, metadata, around)
        finite = _compare(part, ready, path.suffix)
        saved = SavedFile(path, part.stat().st_size, len(ready), sha256_of(part), finite)
        part.replace(path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError, RuntimeError) as error:  # torch and safetensors wrap a full disk in classes of their own
        part.unlink(missing_ok=True)
        wanted = sum(tensor.nbytes for tensor in ready.values())
        raise RunError(f"Could not write {path} ({wanted:,} bytes): {error}.", fix="Free space or choose another output_dir.") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return saved


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by key, on the CPU in the dtype of the file, and the header's metadata (empty for pickles, which are read with weights only).

    Raises:
        DataError: there is no such file, it is cut off or damaged, or it holds something else than tensors; `path` names it.
    """
    with readable(path):
        if path.suffix.lower() in PICKLED:
            return _read_pickle(path), {}
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def each_tensor(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Keys and tensors one after the other: of a safetensors file, only one is in memory at a time. Raises what `read_weights` raises."""
    with readable(path):
        yield from _stored(path, path.suffix.lower())


@contextmanager
def readable(path: Path) -> Generator[None, None, None]:
    """Turn the many ways in which a file turns out to be no weights into one. Raises DataError."""
    if not path.is_file():
        raise DataError("There is no such file.", fix="Check the path.", path=path)
    try:
        yield
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"This is no whole weight file ({reason[:200]}).", fix="Download or save it again.", path=path) from error


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite. Whole numbers always are."""
    if not tensor.is_floating_point():
        return True
    return bool(torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float()).all())


def _write(part: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], around: Mapping[str, object] | None) -> None:
    if part.suffixes[-2] == ".safetensors":
        save_file(dict(tensors), part, metadata=dict(metadata))
    else:
        torch.save(dict(tensors) if around is None else {"state_dict": dict(tensors), **around}, part)
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def _compare(part: Path, wanted: Mapping[str, Tensor], suffix: str) -> bool:
    """Raise OSError if the file on disk differs from `wanted`; else tell whether all of it is finite."""
    finite, seen = True, 0
    for key, tensor in _stored(part, suffix):
        seen += 1
        if key not in wanted or tensor.dtype != wanted[key].dtype or not _same_bytes(tensor, wanted[key]):
            raise OSError(f"{key} reads back differently from what was written")
        finite = finite and is_finite(tensor)
    if seen != len(wanted):
        raise OSError(f"{seen} of {len(wanted)} tensors read back")
    return finite


def _stored(part: Path, suffix: str) -> Iterator[tuple[str, Tensor]]:
    if suffix in PICKLED:
        yield from _read_pickle(part).items()
        return
    with safe_open(part, framework="pt", device="cpu") as file:
        for key in file.keys():  # noqa: SIM118
            yield key, file.get_tensor(key)


def _same_bytes(a: Tensor, b: Tensor) -> bool:
    """Equality of the bits, so that NaN equals itself."""
    return a.shape == b.shape and torch.equal(a.contiguous().flatten().view(torch.uint8), b.contiguous().flatten().view(torch.uint8))


def _read_pickle(path: Path) -> dict[str, Tensor]:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError("it holds something else than tensors by name")
    return {str(key): value for key, value in loaded.items()}


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can flush folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
