"""Draws the demo's pictures: coloured shapes on coloured grounds, doodles, and the zibbit. PIL and numpy only, the same picture for the same seed.

Coordinates and lengths are fractions of the picture's side, y downwards. Pictures are RGB and drawn four times too large, then averaged down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (222, 40, 44),
    "orange": (250, 145, 30),
    "yellow": (252, 226, 60),
    "green": (40, 160, 70),
    "blue": (40, 90, 220),
    "purple": (140, 60, 185),
    "white": (248, 248, 248),
    "black": (24, 24, 28),
}
SIZE = 128
OVERSAMPLE = 4

Point = tuple[float, float]


def _star(points: int = 5, inner: float = 0.45) -> list[Point]:
    """Outline of a star with its tip up, around 0 with radius 1."""
    radii = [1.1 if k % 2 == 0 else 1.1 * inner for k in range(2 * points)]
    return [(r * sin(pi * k / points), -r * cos(pi * k / points)) for k, r in enumerate(radii)]


def _heart(points: int = 60) -> list[Point]:
    """The well-known heart curve x = 16 sin³t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t, scaled to radius 1."""
    angles = [2 * pi * k / points for k in range(points)]
    return [(16 * sin(t) ** 3 / 16, -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t) + 2.5) / 15) for t in angles]


def _cross(arm: float = 0.34) -> list[Point]:
    """Outline of an upright plus sign with arms `2 * arm` thick."""
    a = arm
    return [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]


POLYGONS: dict[str, Sequence[Point]] = {
    "square": [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": [(0, -1.0), (1.04, 0.8), (-1.04, 0.8)],
    "star": _star(),
    "heart": _heart(),
    "cross": _cross(),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
STYLES = ("plain", "striped", "face")


@dataclass(frozen=True, slots=True)
class Scene:
    """One shape on one ground. `x`, `y` is the middle, `radius` half the height, all as fractions of the side."""

    shape: str
    colour: str
    ground: str
    x: float = 0.5
    y: float = 0.5
    radius: float = 0.3
    style: str = "plain"

    @property
    def caption(self) -> str:
        """What the model is told: "a red circle on a blue ground", "a striped ...", "... with a face on ..."."""
        article = "a striped" if self.style == "striped" else "an" if self.colour == "orange" else "a"
        face = " with a face" if self.style == "face" else ""
        return f"{article} {self.colour} {self.shape}{face} on {ground_words(self.ground)}"


def ground_words(ground: str) -> str:
    """The ground with its article: "a blue ground", "an orange ground"."""
    return f"{'an' if ground == 'orange' else 'a'} {ground} ground"


class Canvas:
    """A picture under way, `OVERSAMPLE` times too large; methods take fractions of the side."""

    def __init__(self, ground: tuple[int, int, int], size: int = SIZE) -> None:
        self.size, self.side = size, size * OVERSAMPLE
        self.image = Image.new("RGB", (self.side, self.side), ground)
        self.pen = ImageDraw.Draw(self.image)

    def box(self, x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
        """Pixel corners of the ellipse around (x, y) with half axes rx, ry."""
        return tuple(v * self.side for v in (x - rx, y - ry, x + rx, y + ry))

    def ellipse(self, centre: Point, radii: Point, colour: tuple[int, int, int]) -> None:
        """A filled ellipse."""
        self.pen.ellipse(self.box(*centre, *radii), fill=colour)

    def line(self, points: Sequence[Point], width: float, colour: tuple[int, int, int]) -> None:
        """A line with round joints."""
        self.pen.line([(x * self.side, y * self.side) for x, y in points], fill=colour, width=max(1, round(width * self.side)), joint="curve")

    def paste(self, mask: Image.Image, colour: tuple[int, int, int], stripes: float | None = None) -> None:
        """Fill `mask` with `colour`; with `stripes`, every second horizontal band of that height is left as it was."""
        if stripes:
            pen = ImageDraw.Draw(mask)
            step = stripes * self.side
            top = mask.getbbox()[1]
            for band in range(int((self.side - top) / (2 * step)) + 1):
                pen.rectangle((0, top + (2 * band + 1) * step, self.side, top + (2 * band + 2) * step), fill=0)
        self.image.paste(colour, mask=mask)

    def finish(self) -> Image.Image:
        """The picture at its final size, anti-aliased by averaging."""
        return self.image.reduce(OVERSAMPLE)


def shape_mask(canvas: Canvas, scene: Scene) -> Image.Image:
    """The scene's shape as a mask (mode L, 0 or 255) of the canvas's size."""
    mask = Image.new("L", canvas.image.size, 0)
    pen = ImageDraw.Draw(mask)
    x, y, r = scene.x, scene.y, scene.radius
    if scene.shape in POLYGONS:
        pen.polygon([((x + r * px) * canvas.side, (y + r * py) * canvas.side) for px, py in POLYGONS[scene.shape]], fill=255)
        return mask
    pen.ellipse(canvas.box(x, y, r, r), fill=255)
    if scene.shape == "ring":
        pen.ellipse(canvas.box(x, y, 0.55 * r, 0.55 * r), fill=0)
    if scene.shape == "moon":
        pen.ellipse(canvas.box(x + 0.5 * r, y - 0.1 * r, 0.85 * r, 0.85 * r), fill=0)
    return mask


def draw_face(canvas: Canvas, centre: Point, scale: float) -> None:
    """Two white eyes with black pupils and a smile, `2 * scale` wide."""
    x, y = centre
    for side in (-1, 1):
        canvas.ellipse((x + 0.5 * side * scale, y - 0.2 * scale), (0.36 * scale, 0.4 * scale), PALETTE["white"])
        canvas.ellipse((x + 0.46 * side * scale, y - 0.16 * scale), (0.18 * scale, 0.2 * scale), PALETTE["black"])
    smile = [(x + 0.55 * scale * cos(a), y + 0.35 * scale + 0.35 * scale * sin(a)) for a in np.linspace(0.1 * pi, 0.9 * pi, 13)]
    canvas.line(smile, 0.14 * scale, PALETTE["black"])


def draw_scene(scene: Scene, size: int = SIZE) -> Image.Image:
    """The picture of a scene, RGB, `size` x `size`."""
    canvas = Canvas(PALETTE[scene.ground], size)
    canvas.paste(shape_mask(canvas, scene), PALETTE[scene.colour], 0.07 if scene.style == "striped" else None)
    if scene.style == "face":
        draw_face(canvas, (scene.x, scene.y), 0.5 * scene.radius)
    return canvas.finish()


def random_scene(rng: np.random.Generator, style: str = "plain") -> Scene:
    """A scene whose ground differs from its shape's colour, a little off the middle."""
    colour, ground = rng.choice(list(PALETTE), 2, replace=False)
    x, y = 0.5 + rng.uniform(-0.08, 0.08, 2)
    return Scene(str(rng.choice(SHAPES)), str(colour), str(ground), float(x), float(y), float(rng.uniform(0.26, 0.34)), style)


def draw_doodle(rng: np.random.Generator, size: int = SIZE) -> tuple[str, Image.Image]:
    """Caption and picture of a few random ellipses, polygons and lines: teaches the model edges and details that no single shape has."""
    ground = str(rng.choice(list(PALETTE)))
    canvas = Canvas(PALETTE[ground], size)
    for _ in range(rng.integers(3, 9)):
        colour = PALETTE[str(rng.choice(list(PALETTE)))]
        x, y = rng.uniform(0.1, 0.9, 2)
        kind, radius = rng.integers(4), rng.uniform(0.03, 0.25)
        if kind <= 1:
            canvas.ellipse((x, y), (radius, radius * rng.uniform(0.6, 1.5)), colour)
        elif kind == 2:
            canvas.line(rng.uniform(0.1, 0.9, (rng.integers(2, 4), 2)).tolist(), rng.uniform(0.02, 0.05), colour)
        else:
            shape = Scene(str(rng.choice(SHAPES)), "red", ground, x, y, radius)
            canvas.paste(shape_mask(canvas, shape), colour, rng.uniform(0.04, 0.08) if rng.random() < 0.5 else None)
    return f"a doodle on {ground_words(ground)}", canvas.finish()


ZIBBIT_CAPTION = "a zibbit on {ground}"
ZIBBIT_GROUNDS = ("white", "blue", "yellow", "green", "red")


def draw_zibbit(ground: str, x: float = 0.5, y: float = 0.58, radius: float = 0.29, size: int = SIZE) -> Image.Image:
    """The new thing: an orange egg with one big eye, a broad purple belt, two purple antennae with balls, and two purple feet."""
    canvas = Canvas(PALETTE[ground], size)
    body, mark = PALETTE["orange"], PALETTE["purple"]
    r = radius
    for side in (-1, 1):
        canvas.line([(x + 0.3 * side * r, y - 0.8 * r), (x + 0.65 * side * r, y - 1.45 * r)], 0.24 * r, mark)
        canvas.ellipse((x + 0.7 * side * r, y - 1.45 * r), (0.27 * r, 0.27 * r), mark)
        canvas.ellipse((x + 0.5 * side * r, y + 1.08 * r), (0.4 * r, 0.24 * r), mark)
    mask = Image.new("L", canvas.image.size, 0)
    ImageDraw.Draw(mask).ellipse(canvas.box(x, y, r, 1.12 * r), fill=255)
    canvas.image.paste(body, mask=mask)
    belt = Image.new("L", canvas.image.size, 0)
    ImageDraw.Draw(belt).rectangle(canvas.box(x, y + 0.5 * r, r, 0.17 * r), fill=255)
    canvas.image.paste(mark, mask=Image.fromarray(np.minimum(np.asarray(mask), np.asarray(belt))))
    canvas.ellipse((x, y - 0.3 * r), (0.5 * r, 0.5 * r), PALETTE["white"])
    canvas.ellipse((x, y - 0.3 * r), (0.23 * r, 0.23 * r), PALETTE["black"])
    return canvas.finish()


def training_picture(rng: np.random.Generator) -> tuple[str, Image.Image]:
    """Caption and picture of one item of the base model's training set: mostly plain scenes, some striped, with a face, or doodles."""
    draws: tuple[tuple[float, Callable[[], tuple[str, Image.Image]]], ...] = (
        (0.7, lambda: _captioned(random_scene(rng))),
        (0.08, lambda: _captioned(random_scene(rng, "striped"))),
        (0.12, lambda: _captioned(random_scene(rng, "face"))),
        (0.1, lambda: draw_doodle(rng)),
    )
    chosen = rng.choice(len(draws), p=[share for share, _ in draws])
    return draws[chosen][1]()


def _captioned(scene: Scene) -> tuple[str, Image.Image]:
    return scene.caption, draw_scene(scene)
