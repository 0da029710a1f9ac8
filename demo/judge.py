"""Names what a picture shows, and scores how near pictures are to a dataset: the demo's measure of quality, in numpy alone.

A scene is named by its nearest drawn picture: ground and colour by the palette, then every shape in that colour at the found place and size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from demo.draw import PALETTE, SHAPES, Scene, draw_scene

Pixels = np.ndarray
"""(side, side, 3), float32 in [0, 1]."""


def as_pixels(picture: Image.Image, side: int = 128) -> Pixels:
    """A picture as numbers, at `side` x `side`."""
    return np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BOX), dtype=np.float32) / 255


def nearest_colour(pixels: Pixels) -> np.ndarray:
    """Index into PALETTE of the nearest colour at each pixel, (side, side)."""
    palette = np.asarray(list(PALETTE.values()), dtype=np.float32) / 255
    return np.square(pixels[:, :, None] - palette).sum(-1).argmin(-1)


def border_colour(names: np.ndarray, width: int = 6) -> int:
    """The commonest colour in the outermost `width` pixels."""
    edge = np.ones(names.shape, bool)
    edge[width:-width, width:-width] = False
    return int(np.bincount(names[edge], minlength=len(PALETTE)).argmax())


def name_picture(picture: Image.Image) -> Scene:
    """The plain scene that explains a picture best. Its place and size are those of all that is not ground.

    A picture of nothing but ground is a scene of radius 0, with the ground as its colour.
    """
    pixels = as_pixels(picture)
    names, colours = nearest_colour(pixels), list(PALETTE)
    ground = border_colour(names)
    counts = np.bincount(names[names != ground], minlength=len(PALETTE))
    colour = int(counts.argmax())
    rows, columns = np.nonzero(names == colour)
    if counts[colour] < 40:
        return Scene("circle", colours[ground], colours[ground], radius=0)
    box = [np.percentile(axis, share) / 128 for axis in (columns, rows) for share in (0.5, 99.5)]
    width, height = box[1] - box[0], box[3] - box[2]
    candidates = [_fit(shape, colours[colour], colours[ground], ((box[0] + box[1]) / 2, (box[2] + box[3]) / 2, width, height)) for shape in SHAPES]
    return min(candidates, key=lambda scene: float(np.square(as_pixels(draw_scene(scene)) - pixels).mean()))


def _fit(shape: str, colour: str, ground: str, box: tuple[float, float, float, float]) -> Scene:
    """The scene whose shape fills `box` (middle x, middle y, width, height)."""
    unit = nearest_colour(as_pixels(draw_scene(Scene(shape, "black", "white")))) == list(PALETTE).index("black")
    rows, columns = np.nonzero(unit)
    left, right, top, bottom = columns.min() / 128, (columns.max() + 1) / 128, rows.min() / 128, (rows.max() + 1) / 128
    radius = 0.3 * ((box[2] / (right - left)) + (box[3] / (bottom - top))) / 2
    scale = radius / 0.3
    return Scene(shape, colour, ground, box[0] - ((left + right) / 2 - 0.5) * scale, box[1] - ((top + bottom) / 2 - 0.5) * scale, radius)


def crispness(picture: Image.Image) -> float:
    """Share of pixels within 0.12 of a palette colour; 1 for flat colours with sharp edges, low for blur, haze or off colours."""
    palette = np.asarray(list(PALETTE.values()), dtype=np.float32) / 255
    distance = np.abs(as_pixels(picture)[:, :, None] - palette).max(-1).min(-1)
    return float((distance < 0.12).mean())


def read_pictures(folder: Path) -> list[Image.Image]:
    """All PNG pictures of a dataset folder, by name."""
    return [Image.open(path).convert("RGB") for path in sorted(folder.glob("**/*.png"))]


def _features(picture: Image.Image) -> np.ndarray:
    """Palette colours per pixel with the ground taken out, cut to the figure and brought to 32 x 32: (32, 32, 8), 0 where ground is.

    So neither the ground's colour nor the figure's place counts.
    """
    names = nearest_colour(as_pixels(picture))
    figure = names != border_colour(names)
    one_hot = np.eye(len(PALETTE), dtype=np.float32)[names] * figure[:, :, None]
    if figure.sum() < 40:
        return np.zeros((32, 32, len(PALETTE)), np.float32)
    rows, columns = np.nonzero(figure)
    top, bottom = np.percentile(rows, (0.5, 99.5)).astype(int)
    left, right = np.percentile(columns, (0.5, 99.5)).astype(int)
    half = max(bottom - top, right - left) // 2 + 2
    middle_row, middle_column = (top + bottom) // 2, (left + right) // 2
    padded = np.pad(one_hot, ((half, half), (half, half), (0, 0)))
    cut = padded[middle_row : middle_row + 2 * half, middle_column : middle_column + 2 * half]
    index = (np.arange(32) + 0.5) * 2 * half / 32
    return cut[index.astype(int)][:, index.astype(int)]


def likeness(picture: Image.Image, dataset: Sequence[Image.Image]) -> float:
    """How like the nearest picture of the dataset a picture is: overlap of equally coloured figure over their union, 0 to 1.

    Place, size and ground do not count. The same creature scores about 0.6 or more, a plain shape below 0.3.
    """
    mine = _features(picture)
    scores = []
    for other in map(_features, dataset):
        shared = float((mine * other).sum())
        union = float((np.maximum(mine.max(-1), other.max(-1))).sum())
        scores.append(shared / union if union else 0.0)
    return max(scores, default=0.0)


def mean_likeness(pictures: Iterable[Image.Image], dataset: Sequence[Image.Image]) -> float:
    """Mean of `likeness` over several pictures: the one number for before and after training."""
    return float(np.mean([likeness(picture, dataset) for picture in pictures]))
