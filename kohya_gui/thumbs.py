"""Small versions of pictures for the page: made once, kept in a folder of ours by path, size and time of the file."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from kohya_gui.jobs.states import replace_file
from sd_scripts.errors import DataError, RunError
from sd_scripts.survey.modern_pictures import is_upright, open_picture

EDGES = {"small": 288, "large": 1280}
"""Longest side in pixels: in a grid, and by itself."""
FOLDER = ".thumbs"
MOST_BYTES = 500_000_000
"""How much the folder may hold; the oldest go first."""
LOOK_EVERY = 500
QUALITY = 82
SCALED_LAST = ("1", "P", "PA", "F")
GROUND = (236, 238, 242)
"""What shows through transparent places."""


@dataclass
class Thumbs:
    """Thumbnails in `folder`. At most two pictures are decoded at a time, so that a page full of large ones does not stall the machine."""

    folder: Path
    _gate: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(2))
    _made: int = 0

    def get(self, path: Path, edge: str = "small") -> Path:
        """The file of a picture's small version, as it is meant to be seen: turned as its EXIF data say, in plain colours.

        Raises:
            DataError: it is no picture that can be read.
            RunError: the small version cannot be kept.
        """
        kept = self._place(path, edge)
        if kept.is_file():
            return kept
        with self._gate:
            if not kept.is_file():
                self._make(path, kept, EDGES[edge])
        return kept

    def _place(self, path: Path, edge: str) -> Path:
        try:
            stat = path.stat()
        except OSError as failed:
            raise DataError(f"The file cannot be read ({failed.strerror}).", path=path) from failed
        text = f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0{EDGES[edge]}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:40]}.jpg"

    def _make(self, path: Path, kept: Path, edge: int) -> None:
        small = _small(path, edge)
        part = kept.with_name(f".{kept.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            small.save(part, "JPEG", quality=QUALITY)
            replace_file(part, kept)
        except OSError as failed:
            part.unlink(missing_ok=True)
            raise RunError(f"Small pictures cannot be kept in {self.folder}: {failed.strerror}.", fix="Free space on that disk.") from failed
        self._made += 1
        if self._made % LOOK_EVERY == 0:
            self.shrink()

    def shrink(self, most: int = MOST_BYTES) -> None:
        """Remove the oldest files until at most `most` bytes are left."""
        known = sorted(_files(self.folder), reverse=True)
        held = 0
        for _, size, path in known:
            held += size
            if held > most:
                Path(path).unlink(missing_ok=True)


def _small(path: Path, edge: int) -> Image.Image:
    """The picture at no more than `edge` pixels a side, in RGB on a light ground."""
    try:
        with open_picture(path) as image:
            image.draft("RGB", (edge, edge))
            # Palettes and wide greys do not scale well; all others are scaled first, since that is the quicker order.
            shown = _plain(image) if image.mode in SCALED_LAST or image.mode.startswith("I") else image
            shown.thumbnail((edge, edge))
            return _plain(shown if is_upright(image) else ImageOps.exif_transpose(shown))
    except UnidentifiedImageError as reason:
        raise DataError("The file is no picture that can be read.", path=path) from reason
    except (OSError, RuntimeError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as reason:
        raise DataError(f"The picture cannot be read: {reason}.", path=path) from reason


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow clips 16-bit grey at 255, which turns such pictures white.
        top = image.getextrema()[1]
        scale = 255 / 65535 if isinstance(top, (int, float)) and top > 255 else 1
        return image.convert("F").point(lambda value: value * scale).convert("RGB")
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        ground = Image.new("RGB", shown.size, GROUND)
        ground.paste(shown, mask=shown.getchannel("A"))
        return ground
    return image.convert("RGB")


def _files(folder: Path) -> Iterator[tuple[float, int, str]]:
    """Time, size and path of each file below `folder`."""
    for path in folder.glob("*/*"):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        yield stat.st_mtime, stat.st_size, str(path)
