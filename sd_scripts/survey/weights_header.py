"""Names, types and shapes of the tensors in a weights file or folder, read without their contents. What model it is, `header.detect` tells."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.errors import DataError

Tensor = tuple[str, tuple[int, ...]]
"""(type, shape); types are called as in safetensors: F32, F16, BF16, F8_E4M3, I64, ..."""

MAX_HEADER_BYTES = 100 * 1024 * 1024
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_AGAIN = "Download or copy the file again."


@dataclass(frozen=True, slots=True)
class Header:
    """A weights file without its weights. `size` is in bytes. Tensors of a diffusers folder carry their part's name: "unet/conv_in.weight".

    `foreign` names Python objects in a pickle that are no tensors: whoever loads the file carelessly runs them.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    size: int
    foreign: tuple[str, ...] = field(default=())


def read_safetensors(path: Path) -> Header:
    """The header of a .safetensors file.

    Raises:
        DataError: the file cannot be read, is no safetensors file, or is shorter than its header says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            text = file.read(length) if 2 <= length <= min(MAX_HEADER_BYTES, size - 8) else b""
    except OSError as reason:
        raise DataError(f"The file cannot be read ({reason.strerror or reason}).", fix="Check the path and its permissions.", path=path) from reason
    if length > MAX_HEADER_BYTES:
        raise DataError(f"Its header would be {length:,} bytes long: this is no .safetensors file.", fix=_AGAIN, path=path)
    if not text:
        raise DataError(f"The file has {size:,} bytes and ends inside its header.", fix=_AGAIN, path=path)
    tensors, metadata, end = _parsed(text, path)
    if size != 8 + length + end:
        whole = 8 + length + end
        short = f"The file breaks off: it has {size:,} bytes, its header promises {whole:,}."
        long = f"The file is longer than it should be: it has {size:,} bytes, its header promises {whole:,}."
        raise DataError(short if size < whole else long, fix=_AGAIN, path=path)
    return Header(tensors, metadata, size)


def _parsed(text: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str], int]:
    """Tensors, metadata, and where the last tensor ends."""
    try:
        document = json.loads(text)
        metadata = {str(key): str(value) for key, value in document.pop("__metadata__", {}).items()}
        tensors = {name: (str(entry["dtype"]), tuple(map(int, entry["shape"]))) for name, entry in document.items()}
        end = max((int(entry["data_offsets"][1]) for entry in document.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as reason:
        raise DataError("Its header is damaged: this is no .safetensors file.", fix=_AGAIN, path=path) from reason
    return tensors, metadata, end


def bytes_of(tensor: Tensor) -> int:
    """Size of a tensor's contents; unknown types count 4 bytes per value."""
    return math.prod(tensor[1]) * SIZES.get(tensor[0], 4)
