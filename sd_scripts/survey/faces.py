"""Cuts around faces: where a face is stands in the picture's name, and a drawn scale makes it larger or smaller in the cut.

Source of the names and of the rule: kohya's `face_crop_aug_range`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from sd_scripts.survey.datasets import Size

LARGEST_SHIFT = 20
"""A face is moved by up to this part of its size, so that it is not always in the very middle."""
LEAST_FACE = 40
"""Pixels below which a face is not moved."""


@dataclass(frozen=True, slots=True)
class Face:
    """Centre and size of a face, in pixels of the picture."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The size that a picture is scaled to, and the left upper corner of the cut in it."""

    resized: Size
    left: int
    top: int


def face_of(path: Path) -> Face | None:
    """The face that a picture's name ends with, as `name_x_y_width_height.png`; None where it does not."""
    words = path.stem.split("_")
    if len(words) < 5 or not all(word.isascii() and word.isdigit() for word in words[-4:]):
        return None
    x, y, width, height = map(int, words[-4:])
    return Face(x, y, width, height) if width and height else None


def range_of(text: str) -> tuple[float, float]:
    """(smallest, largest) from "2.0,4.0". Raises ValueError if that is no range."""
    words = [float(word) for word in text.split(",")]
    if len(words) != 2 or not 0 < words[0] <= words[1]:
        raise ValueError(text)
    return words[0], words[1]


def cut_around(face: Face, size: Size, target: Size, factors: tuple[float, float], *, random: Random, anywhere: bool) -> Cut:
    """Where a cut of `target` lies in a picture of `size` that is scaled so that the cut's shorter side is `factors` times the face's longer one.

    The picture is never enlarged beyond its size, nor made smaller than the cut needs. `anywhere` (`random_crop`): the face may come to lie anywhere.
    """
    longest = max(face.width, face.height)
    needed = max(target[0] / size[0], target[1] / size[1])
    least = min(1.0, max(needed, min(target) / (longest * factors[1])))
    most = min(1.0, max(least, min(target) / (longest * factors[0])))
    scale = max(needed, least if least >= most else random.uniform(least, most))
    resized = (max(target[0], round(size[0] * scale)), max(target[1], round(size[1] * scale)))
    left, top = (
        _start(center * scale, have, want, face=longest * scale, random=random, anywhere=anywhere, shifts=factors[0] != factors[1])
        for center, have, want in ((face.x, resized[0], target[0]), (face.y, resized[1], target[1]))
    )
    return Cut(resized, left, top)


def _start(center: float, have: int, want: int, *, face: float, random: Random, anywhere: bool, shifts: bool) -> int:
    start = round(center) - want // 2
    if anywhere:
        reach = max(have - round(center), round(center), 0)
        start += random.randint(0, reach) + random.randint(0, reach) - reach
    elif shifts and face > want / 10 and face >= LEAST_FACE:
        shift = int(face) // LARGEST_SHIFT
        start += random.randint(-shift, shift)
    return max(0, min(start, have - want))
