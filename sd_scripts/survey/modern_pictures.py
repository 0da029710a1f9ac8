"""AVIF and JPEG XL: what their first bytes say, and opening them. Pillow reads AVIF itself; JPEG XL comes with a package that is optional.

Sources: ISO/IEC 14496-12 (boxes), ISO/IEC 18181-1 sections D.2 and D.3 (size and metadata of a codestream), 18181-2 (its container).
"""

from __future__ import annotations

import importlib
import importlib.util
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from sd_scripts.errors import DataError
from sd_scripts.survey.datasets import Size

JXL_PACKAGE = "pillow_jxl"
CODESTREAM, CONTAINER = b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n"
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
"""Width to height, by the three bits of a codestream that stand for a common shape."""
HEADER_BYTES = 64
UNREADABLE = (OSError, RuntimeError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow and its packages raise for a file that they cannot decode."""
REMEDY = "Replace it or take it out of the folder."


def open_picture(path: Path) -> Image.Image:
    """Open a picture of any kind that is known here.

    Raises:
        DataError: it is JPEG XL, and the package for that is missing.
        OSError, SyntaxError, ValueError: as Pillow does.
    """
    if path.suffix.lower() == ".jxl":
        need_jxl(path)
        importlib.import_module(JXL_PACKAGE)  # registers itself with Pillow
    return Image.open(path)


def unreadable(error: BaseException, path: Path) -> DataError:
    """What users are told of a picture that could not be decoded: the decoder's own words, unless they speak to programmers."""
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"The file cannot be read ({error.strerror}).", fix="Check that it exists and may be read.", path=path)
    if isinstance(error, Image.DecompressionBombError):
        return DataError(f"The picture has more than {most_pixels():,} pixels.", fix="Make it smaller.", path=path)
    words = "" if isinstance(error, RuntimeError) else f" ({str(error).rstrip('. ')})"
    return DataError(f"The picture is damaged or breaks off after {path.stat().st_size:,} bytes{words}.", fix=REMEDY, path=path)


def most_pixels() -> int:
    """Pixels of the largest picture that Pillow decodes; it takes larger ones for attacks."""
    return 2 * (Image.MAX_IMAGE_PIXELS or sys.maxsize)


def need_jxl(path: Path) -> None:
    """Raises DataError if the package that decodes JPEG XL is missing."""
    if importlib.util.find_spec(JXL_PACKAGE) is None:
        raise DataError("JPEG XL needs a package that is not installed.", fix="Install it with: python setup.py extras pictures", path=path)


def is_upright(image: Image.Image) -> bool:
    """Whether the picture is turned already, whatever EXIF data beside it says: a JPEG XL decoder turns it as its codestream says, which counts."""
    return image.format == "JXL"


def boxes_are_whole(file: BinaryIO) -> bool:
    """Whether the boxes of a file end where it ends."""
    end = file.seek(0, 2)
    last = max((after for _, _, after in _boxes(file)), default=0)
    return last == end


def jxl_facts(file: BinaryIO) -> tuple[Size, bool, bool]:
    """Of a JPEG XL file: (width, height) as people see it, whether it has several frames, and whether its end is there as far as one can tell.

    Raises:
        ValueError: it is none.
        struct.error, IndexError: it breaks off.
    """
    file.seek(0)
    if file.read(2) == CODESTREAM:
        return (*_codestream(file.read(HEADER_BYTES)), True)
    for name, start, _ in _boxes(file):
        if name in (b"jxlc", b"jxlp"):
            file.seek(start + (4 if name == b"jxlp" else 0))
            if file.read(2) != CODESTREAM:
                break
            return (*_codestream(file.read(HEADER_BYTES)), boxes_are_whole(file))
    raise ValueError("no codestream")


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the content and end of each outer box."""
    end, position = file.seek(0, 2), 0
    while position + 8 <= end:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        start = position + 8
        if length == 1:
            length, start = struct.unpack(">Q", file.read(8))[0], position + 16
        after = end if length == 0 else position + length
        if after <= position:
            return
        yield name, start, after
        position = after


class _Bits:
    """Reads numbers from the lowest bit of the first byte on."""

    def __init__(self, content: bytes) -> None:
        self._number, self._left = int.from_bytes(content, "little"), 8 * len(content)

    def take(self, count: int) -> int:
        """The next `count` bits. Raises IndexError if they are not there."""
        if count > self._left:
            raise IndexError("the header breaks off")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value


def _codestream(content: bytes) -> tuple[Size, bool]:
    """Size as people see it, and whether there are several frames, from what follows the codestream's mark."""
    bits = _Bits(content)
    width, height = _size(bits)
    orientation, animated = 1, False
    if not bits.take(1) and bits.take(1):  # not everything is at its default, and there are extra fields
        orientation = bits.take(3) + 1
        if bits.take(1):  # a size to be shown at
            _size(bits)
        if not bits.take(1):  # without a preview the next bit is that of animation
            animated = bool(bits.take(1))
    return ((height, width) if orientation > 4 else (width, height)), animated


def _size(bits: _Bits) -> Size:
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if not ratio:
        return _side(bits, small), height
    numerator, divisor = RATIOS[ratio]
    return height * numerator // divisor, height


def _side(bits: _Bits, small: int) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1
