"""Names, types and shapes in a .ckpt or .pt file. Its pickle is walked by an unpickler that builds only descriptions, so nothing in it runs."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sd_scripts.errors import DataError
from sd_scripts.survey.weights_header import Header, Tensor

_MAX_PICKLE_BYTES = 256 * 1024 * 1024
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_AGAIN = "Download or copy the file again, or use a .safetensors version of it."
_TYPES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8", "Byte": "U8",
    "Bool": "BOOL", "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint8": "U8", "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip


class _Inert:
    """Stands for any object that is no tensor: takes every argument and state, and does nothing."""

    def __new__(cls, *_args: object, **_named: object) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_args: object, **_named: object) -> None:
        """Nothing is kept."""

    def __setstate__(self, _state: object) -> None:
        """Nothing is kept."""

    def __setitem__(self, _key: object, _value: object) -> None:
        """Nothing is kept."""

    def append(self, _value: object) -> None:
        """Nothing is kept."""

    def extend(self, _values: object) -> None:
        """Nothing is kept."""


class _Shape(tuple):  # type: ignore[type-arg]
    """A tensor's type and shape while the pickle is walked; torch's state setting does nothing to it."""

    __slots__ = ()

    def __setstate__(self, _state: object) -> None:
        """Nothing is kept."""


def _tensor(storage: object, _offset: object, shape: object, *_rest: object) -> _Shape:
    return _Shape((storage if isinstance(storage, str) else "F32", tuple(shape) if isinstance(shape, (tuple, list)) else ()))


def _untyped_tensor(_storage: object, _offset: object, shape: object, *rest: object) -> _Shape:
    return _tensor(next((entry for entry in rest if isinstance(entry, str)), "F32"), 0, shape)


def _parameter(data: object, *_rest: object) -> object:
    return data


class _Reader(pickle.Unpickler):
    """Knows torch's tensors, storages and types; everything else becomes inert, and its name is noted."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.foreign: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """What a global of the pickle stands for here. Nothing is imported."""
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if module == "torch" and name.removesuffix("Storage") in _TYPES:
            return _TYPES[name.removesuffix("Storage")]
        self.foreign.add(f"{module}.{name}")
        return _Inert

    def persistent_load(self, pid: Any) -> Any:
        """The type of a storage: what a tensor description takes from it."""
        return pid[1] if isinstance(pid, tuple) and len(pid) > 1 and isinstance(pid[1], str) else "F32"


_KNOWN: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _untyped_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
    ("collections", "OrderedDict"): OrderedDict,
}


def read_pickle(path: Path) -> Header:
    """The tensors of a file that `torch.save` wrote, zip or older.

    Raises:
        DataError: the file cannot be read, breaks off, or is no such file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            found, foreign = _zipped(path) if file.read(2) == b"PK" else _legacy(file)
    except OSError as reason:
        raise DataError(f"The file cannot be read ({reason.strerror or reason}).", fix="Check the path and its permissions.", path=path) from reason
    except (
        zipfile.BadZipFile,
        KeyError,
        pickle.UnpicklingError,
        OverflowError,  # a frame that says to be longer than any file
        MemoryError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
        NotImplementedError,
    ) as reason:
        raise DataError(f"The file ({path.stat().st_size:,} bytes) is damaged, breaks off or holds no model.", fix=_AGAIN, path=path) from reason
    return Header(dict(_flat(found)), {}, size, tuple(sorted(foreign)))


def _zipped(path: Path) -> tuple[object, set[str]]:
    with zipfile.ZipFile(path) as archive:
        entry = next((info for info in archive.infolist() if info.filename.endswith("/data.pkl") or info.filename == "data.pkl"), None)
        if entry is None or entry.file_size > _MAX_PICKLE_BYTES:
            raise ValueError("no pickle of a model")
        reader = _Reader(io.BytesIO(archive.read(entry)))
    return reader.load(), reader.foreign


def _legacy(file: BinaryIO) -> tuple[object, set[str]]:
    """Four pickles in a row: a magic number, a version, the machine, the object."""
    file.seek(0)
    if _Reader(file).load() != _LEGACY_MAGIC:
        raise ValueError("no torch file")
    _Reader(file).load()
    _Reader(file).load()
    reader = _Reader(file)
    return reader.load(), reader.foreign


def _flat(found: object) -> list[tuple[str, Tensor]]:
    """The tensors of nested dictionaries; those of a training checkpoint's `state_dict` without that prefix."""
    if not isinstance(found, dict):
        return []
    inner = found.get("state_dict")
    if isinstance(inner, dict):
        return _flat(inner)
    flat: list[tuple[str, Tensor]] = []
    for name, value in found.items():
        if isinstance(value, _Shape):
            flat.append((str(name), (value[0], value[1])))
        elif isinstance(value, dict):
            flat += [(f"{name}.{key}", tensor) for key, tensor in _flat(value)]
    return flat
