"""Weight files opened without reading them whole: tensors come one at a time, so that a model can be built within the memory of its own weights."""

from __future__ import annotations

import json
import pickle
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sd_scripts.errors import DataError

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class WeightSource(Protocol):
    """A file's tensors by key. `metadata` is empty where the format has none."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    def tensor(self, key: str) -> Tensor:
        """The tensor under `key`, on the CPU, possibly still mapped to the file: copy before keeping it."""
        ...


class _Safetensors:
    def __init__(self, path: Path, handle: Any) -> None:
        self.path, self._handle = path, handle
        self.metadata: Mapping[str, str] = handle.metadata() or {}
        keys: list[str] = handle.keys()
        self.shapes: Mapping[str, tuple[int, ...]] = {key: tuple(handle.get_slice(key).get_shape()) for key in keys}

    def tensor(self, key: str) -> Tensor:
        """See `WeightSource`; mapped to the file."""
        return self._handle.get_tensor(key)


class _Read:
    """A safetensors file that is read, not mapped: each tensor by one read of its bytes."""

    def __init__(self, mapped: _Safetensors, file: BinaryIO) -> None:
        self.path, self.metadata, self.shapes, self._file = mapped.path, mapped.metadata, mapped.shapes, file
        length = int.from_bytes(file.read(8), "little")
        self._entries: dict[str, Any] = json.loads(file.read(length))
        self._start = 8 + length

    def tensor(self, key: str) -> Tensor:
        """See `WeightSource`."""
        entry = self._entries[key]
        begin, end = entry["data_offsets"]
        self._file.seek(self._start + begin)
        values = bytearray(self._file.read(end - begin))
        dtype = _DTYPES[entry["dtype"]]
        return torch.frombuffer(values, dtype=dtype).view(entry["shape"]) if values else torch.empty(entry["shape"], dtype=dtype)


class _Loaded:
    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self.path, self._tensors = path, tensors
        self.metadata: Mapping[str, str] = {}
        self.shapes: Mapping[str, tuple[int, ...]] = {key: tuple(tensor.shape) for key, tensor in tensors.items()}

    def tensor(self, key: str) -> Tensor:
        """See `WeightSource`."""
        return self._tensors[key]


class _Inert:
    """Stands in for every class that a pickle names besides tensors (trainer callbacks in old checkpoints): it runs nothing and is thrown away."""

    def __init__(self, *_: object, **__: object) -> None:
        """Take any arguments and keep none."""

    def __setstate__(self, state: object) -> None:
        """Take any state and keep none."""


@contextmanager
def open_source(path: Path, *, mapped: bool = True) -> Generator[WeightSource]:
    """Open a .safetensors file, or a pickle (any other suffix) of which only tensors are read.

    Args:
        path: the file.
        mapped: False reads a safetensors file's tensors one by one instead of mapping it into memory.

    Raises:
        DataError: the file is truncated, no weights file, or a pickle that cannot be read without running code.
    """
    if path.suffix.lower() == ".safetensors":
        try:
            with safe_open(path, framework="pt", device="cpu") as handle, path.open("rb") as file:
                found = _Safetensors(path, handle)
                yield found if mapped else _Read(found, file)
        except SafetensorError as error:
            raise DataError(f"This is no whole safetensors file: {error}.", fix="Download or copy it again.", path=path) from error
    else:
        yield _Loaded(path, _read_pickle(path))


def _read_pickle(path: Path) -> dict[str, Tensor]:
    fix = "Convert it to .safetensors with a program that you trust, or download it again."
    try:
        content = _load_pickle(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise DataError("This file is damaged, or cannot be read without running code that it contains.", fix=fix, path=path) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise DataError(f"This file holds a {type(content).__name__}, not a set of weights.", fix=fix, path=path)
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _load_pickle(path: Path) -> object:
    if not _is_zip(path):
        return torch.load(path, map_location="cpu", weights_only=True)
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    with torch.serialization.safe_globals([(_Inert, name) for name in names]):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
