"""What a picture file says about itself in its first and last bytes: size, orientation, kind of pixels, whether it ends. Nothing is decoded.

PNG, JPEG, WebP and BMP are read here, JPEG XL in `modern_pictures`. AVIF's head is Pillow's matter, and so is, whole, every other format and every
file whose end looks wrong. A folder of 100,000 pictures is read in seconds this way.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import UnidentifiedImageError

from sd_scripts.errors import DataError
from sd_scripts.survey.datasets import Size
from sd_scripts.survey.modern_pictures import (
    CODESTREAM,
    CONTAINER,
    REMEDY,
    UNREADABLE,
    boxes_are_whole,
    is_upright,
    jxl_facts,
    most_pixels,
    need_jxl,
    open_picture,
    unreadable,
)

ODD_KINDS = {
    "animated": "has several frames; only the first is used",
    "CMYK": "is CMYK; it is converted to RGB, colours may shift",
    "16 bit": "has 16 bits per channel; it is reduced to 8",
    "palette": "has a colour palette; it is converted to RGB",
}
_EXIF_ORIENTATION = 0x0112
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_TURNED = (5, 6, 7, 8)
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """`size` is (width, height) as people see the picture, after its EXIF orientation. `oddities` are keys of `ODD_KINDS`."""

    size: Size
    oddities: tuple[str, ...] = ()


@dataclass(slots=True)
class _Seen:
    """What a format's reader found: stored size, EXIF or XMP orientation, oddities, and whether the file ends as the format wants."""

    size: Size = (0, 0)
    orientation: int = 0
    oddities: tuple[str, ...] = ()
    complete: bool = True


def read_picture(path: Path) -> PictureHeader:
    """Size and oddities of a picture file.

    Raises:
        DataError: the file is missing, empty, no picture, or breaks off.
    """
    try:
        with path.open("rb") as file:
            seen = _read(file, path)
    except OSError as reason:
        raise DataError(f"The file cannot be read ({reason.strerror or reason}).", fix="Check that it exists and may be read.", path=path) from reason
    except (struct.error, IndexError, *UNREADABLE):
        seen = None
    if seen is None or not seen.complete or min(seen.size) < 1:
        seen = _decoded(path)
    width, height = seen.size
    if width * height > most_pixels():
        message = f"The picture has {width:,} × {height:,} pixels; more than {most_pixels():,} in all are not read."
        raise DataError(message, fix="Make it smaller.", path=path)
    return PictureHeader((height, width) if seen.orientation in _TURNED else (width, height), seen.oddities)


def _read(file: BinaryIO, path: Path) -> _Seen | None:
    start = file.read(32)
    if not start:
        raise ValueError("empty")
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(file)
    if start.startswith(b"\xff\xd8\xff"):
        return _jpeg(file)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return _webp(file, start)
    if start.startswith(b"BM"):
        return _bmp(file, start)
    if start.startswith((CODESTREAM, CONTAINER)):
        return _jxl(file, path)
    if start[4:8] == b"ftyp" and boxes_are_whole(file):
        return _head(path)
    return None


def _jxl(file: BinaryIO, path: Path) -> _Seen:
    size, animated, complete = jxl_facts(file)
    need_jxl(path)
    return _Seen(size, 0, ("animated",) if animated else (), complete)


def _head(path: Path) -> _Seen:
    """What Pillow finds without decoding."""
    with open_picture(path) as image:
        oddities = ("animated",) if getattr(image, "n_frames", 1) > 1 else ()
        return _Seen(image.size, image.getexif().get(_EXIF_ORIENTATION, 1), oddities)


def _decoded(path: Path) -> _Seen:
    """What Pillow finds by decoding the whole picture: slow, and for rare files alone."""
    if path.stat().st_size == 0:
        raise DataError("The file is empty (0 bytes).", fix=REMEDY, path=path)
    try:
        with open_picture(path) as image:
            oddities = ("animated",) if getattr(image, "n_frames", 1) > 1 else ()
            kind = {"CMYK": "CMYK", "I;16": "16 bit", "I": "16 bit", "P": "palette"}.get(image.mode)
            orientation = 1 if is_upright(image) else image.getexif().get(_EXIF_ORIENTATION, 1)
            seen = _Seen(image.size, orientation, oddities + ((kind,) if kind else ()))
            image.load()
    except UnidentifiedImageError:
        raise DataError("The file is no picture that can be read.", fix=REMEDY, path=path) from None
    except UNREADABLE as reason:
        raise unreadable(reason, path) from reason
    return seen


def _end(file: BinaryIO, count: int) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - count))
    return file.read(count)


def _png(file: BinaryIO) -> _Seen:
    seen = _Seen()
    for name, length in _png_chunks(file):
        if name == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", file.read(10))
            seen.size = (width, height)
            seen.oddities = ("palette",) if colour == 3 else ("16 bit",) if depth == 16 else ()
        elif name == b"acTL" and struct.unpack(">I", file.read(4))[0] > 1:
            seen.oddities += ("animated",)
        elif name == b"eXIf":
            seen.orientation = _tiff_orientation(file.read(length))
        elif name == b"iTXt" and not seen.orientation:
            seen.orientation = _xmp_orientation(file.read(length))
    seen.complete = b"IEND" in _end(file, 4096)
    return seen


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and length of each chunk before the pixels, with the file standing at its content."""
    position = 8
    while True:
        file.seek(position)
        head = file.read(8)
        length, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            return
        yield name, length
        position += 12 + length


def _jpeg(file: BinaryIO) -> _Seen:
    seen = _Seen()
    position = 2
    while True:
        file.seek(position)
        head = file.read(4)
        while head[1] == 0xFF:  # any number of fill bytes may stand before a marker
            position += 1
            file.seek(position)
            head = file.read(4)
        mark, code, length = struct.unpack(">BBH", head)
        if mark != 0xFF:
            raise ValueError("no marker")
        if code in _JPEG_SIZE_MARKERS:
            _depth, height, width, channels = struct.unpack(">BHHB", file.read(6))
            seen.size, seen.oddities = (width, height), ("CMYK",) if channels == 4 else ()
        elif code == 0xE1 and not seen.orientation:
            seen.orientation = _app1_orientation(file.read(length - 2))
        elif code == 0xDA:
            break
        position += 2 + length
    seen.complete = b"\xff\xd9" in _end(file, min(65536, max(0, file.seek(0, 2) - position)))
    return seen


def _app1_orientation(content: bytes) -> int:
    if content.startswith(b"Exif\0\0"):
        return _tiff_orientation(content[6:])
    return _xmp_orientation(content) if content.startswith(b"http://ns.adobe.com/xap/") else 0


def _webp(file: BinaryIO, start: bytes) -> _Seen:
    seen = _Seen()
    promised = struct.unpack("<I", start[4:8])[0] + 8
    seen.complete = file.seek(0, 2) >= promised - 1  # writers disagree on whether the padding byte counts
    position = 12
    while position + 8 <= promised:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"VP8X":
            flags, width, height = struct.unpack("<B3x3s3s", file.read(10))
            seen.size = (int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1)
            seen.oddities = ("animated",) if flags & 0x02 else ()
            if not flags & 0x0C:  # neither EXIF nor XMP follows
                break
        elif name in (b"VP8 ", b"VP8L") and seen.size == (0, 0):
            seen.size = _webp_frame_size(name, file.read(10))
            break
        elif name == b"EXIF":
            seen.orientation = _tiff_orientation(file.read(length).removeprefix(b"Exif\0\0"))
        elif name == b"XMP " and not seen.orientation:
            seen.orientation = _xmp_orientation(file.read(length))
        position += 8 + length + length % 2
    return seen


def _webp_frame_size(name: bytes, content: bytes) -> Size:
    if name == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", content[6:10])
    return width & 0x3FFF, height & 0x3FFF


def _bmp(file: BinaryIO, start: bytes) -> _Seen | None:
    size, offset, header = struct.unpack("<I4xII", start[2:18])
    if header < 40:
        return None
    width, height, _planes, depth, compression = struct.unpack("<iiHHI", start[18:34] if len(start) >= 34 else start[18:] + file.read(2))
    pixels = (abs(width) * depth + 31) // 32 * 4 * abs(height) if compression in (0, 3) else size - offset
    complete = file.seek(0, 2) >= offset + pixels
    return _Seen((abs(width), abs(height)), 0, ("palette",) if depth <= 8 else (), complete)


def _tiff_orientation(content: bytes) -> int:
    """Orientation (1...8) from the first directory of EXIF data; 0 if it says none."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None or len(content) < 10:
        return 0
    offset = struct.unpack(f"{order}I", content[4:8])[0]
    entries = content[offset + 2 : offset + 2 + 12 * struct.unpack(f"{order}H", content[offset : offset + 2])[0]]
    for entry in (entries[at : at + 12] for at in range(0, len(entries) - 11, 12)):
        if struct.unpack(f"{order}H", entry[:2])[0] == _EXIF_ORIENTATION:
            return int(struct.unpack(f"{order}H", entry[8:10])[0])
    return 0


def _xmp_orientation(content: bytes) -> int:
    found = _XMP_ORIENTATION.search(content)
    return int(found.group(1)) if found else 0
