"""A picture from disk to numbers: decode, resize, crop, flip, colour change. Which bucket it belongs to is decided in survey/buckets.py."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sd_scripts.errors import ConfigError, DataError
from sd_scripts.survey.modern_pictures import REMEDY, UNREADABLE, is_upright, open_picture, unreadable

COLOR_CHANGE_RATE = 0.33
"""Share of pictures whose colours change under `color_aug`; half of these by hue, half by gamma (docs/compatibility.md, "Pictures")."""

_CV2 = {
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST_EXACT,
    "bilinear": cv2.INTER_LINEAR,
    "linear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "cubic": cv2.INTER_CUBIC,
}
_PIL = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}


def load_image(path: Path) -> np.ndarray:
    """Decode a picture as it is meant to be seen: EXIF rotation applied, alpha dropped, CMYK, palette and 16-bit converted.

    Returns:
        (height, width, 3), uint8, RGB.

    Raises:
        DataError: the file is gone, cut off, or no picture; it names the file.
    """
    try:
        with open_picture(path) as image:
            return np.array(_to_rgb(_upright(image)), dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise DataError("This is not a picture that can be read.", fix=REMEDY, path=path) from error
    except UNREADABLE as error:
        raise unreadable(error, path) from error


def load_mask(path: Path) -> np.ndarray:
    """A mask: white is 255. (height, width), uint8: the red channel, as kohya reads it. Raises DataError as `load_image`."""
    return np.ascontiguousarray(load_image(path)[..., 0])


def load_alpha(path: Path) -> np.ndarray | None:
    """How opaque each pixel of a picture is, (height, width), uint8, after EXIF rotation; None for one without transparency. Raises DataError."""
    try:
        with open_picture(path) as image:
            if not image.has_transparency_data:
                return None
            return np.array(_upright(image).convert("RGBA").getchannel("A"), dtype=np.uint8)
    except UNREADABLE as error:
        raise unreadable(error, path) from error


def _upright(image: Image.Image) -> Image.Image:
    return image if is_upright(image) else ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow clips 16-bit grey at 255 instead of scaling it, which turns such pictures white.
        values = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns of the direct way
    return image.convert("RGB")


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str | None) -> np.ndarray:
    """Scale to `size` (width, height). No `interpolation` means area averaging if neither side grows, else Lanczos, as kohya does.

    Args:
        image: (height, width, 3), uint8.
        size: both above 0.
        interpolation: lanczos, nearest, bilinear, linear, bicubic, cubic, area, box, or None.

    Raises:
        ConfigError: `interpolation` is none of these.
    """
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    name = interpolation or ("area" if size[0] <= width and size[1] <= height else "lanczos")
    if name in _PIL:
        return np.array(Image.fromarray(image).resize(size, _PIL[name]))
    if name in _CV2:
        return cv2.resize(image, size, interpolation=_CV2[name])
    raise ConfigError("resize_interpolation", f"{name!r} is no interpolation.", fix=f"Choose one of {', '.join(sorted({*_PIL, *_CV2}))}.")


def crop(image: np.ndarray, size: tuple[int, int], random: Random | None = None) -> np.ndarray:
    """Cut `size` (width, height) out of `image`: from the middle, or where `random` says. A side that is not larger stays whole."""
    height, width = image.shape[:2]
    left, top = (_start(have, want, random) for have, want in ((width, size[0]), (height, size[1])))
    return image[top : top + size[1], left : left + size[0]]


def _start(have: int, want: int, random: Random | None) -> int:
    trim = have - want
    if trim <= 0:
        return 0
    return trim // 2 if random is None else random.randint(0, trim)


def change_color(image: np.ndarray, random: Random) -> np.ndarray:
    """`color_aug`: of a third of the pictures turn the hue by up to 8 of 180 steps or bend the gamma by up to 5 %; leave the rest alone."""
    if random.random() >= COLOR_CHANGE_RATE:
        return image
    if random.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16)
        hsv[..., 0] = (hsv[..., 0] + round(random.uniform(-8, 8))) % 180
        return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    gamma = random.uniform(0.95, 1.05)
    table = np.array([math.pow(value / 255, gamma) * 255 for value in range(256)])
    return np.rint(table).astype(np.uint8)[image]


def to_pixels(image: np.ndarray) -> Tensor:
    """(height, width, 3) uint8 to (3, height, width) uint8: a quarter of the size of floats on the way between processes and to an accelerator."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def normalise(pixels: Tensor) -> Tensor:
    """uint8 0 … 255 to float32 in [-1, 1], any shape, on the same device."""
    return pixels.float().div_(255).sub_(0.5).div_(0.5)
