"""Masks for training inpainting models, where none are given: boxes and strokes of random size, and now and then the whole picture."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np

WHOLE_RATE = 0.25
"""Share of pictures that are hidden wholly, so that the model still makes pictures from nothing. Stable Diffusion's own inpainting models were
trained with as many (the model cards of runwayml/stable-diffusion-inpainting and stabilityai/stable-diffusion-2-inpainting)."""
_MOST_BOXES, _MOST_STROKES, _MOST_TURNS = 3, 3, 6


def draw_hole(size: tuple[int, int], random: Random) -> np.ndarray:
    """A mask of `size` (width, height): (height, width), uint8, 255 where the model is to fill in, 0 where it sees the picture.

    A quarter are white throughout. Of the rest, half are one to three boxes with sides of an eighth to three quarters of the picture's,
    half are one to three bent strokes, a twentieth to a fifth of the shorter side wide. So every mask has a hole.

    Source: boxes and strokes as in Suvorov et al. 2021, "LaMa", arXiv:2109.07161, section 2.4.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=np.uint8)
    if random.random() < WHOLE_RATE:
        mask[:] = 255
    elif random.random() < 0.5:
        for _ in range(random.randint(1, _MOST_BOXES)):
            _draw_box(mask, random)
    else:
        for _ in range(random.randint(1, _MOST_STROKES)):
            _draw_stroke(mask, random)
    return mask


def _draw_box(mask: np.ndarray, random: Random) -> None:
    height, width = mask.shape
    wide, high = (max(1, round(side * random.uniform(0.125, 0.75))) for side in (width, height))
    left, top = random.randint(0, width - wide), random.randint(0, height - high)
    mask[top : top + high, left : left + wide] = 255


def _draw_stroke(mask: np.ndarray, random: Random) -> None:
    height, width = mask.shape
    thick = max(1, round(min(width, height) * random.uniform(0.05, 0.2)))
    points = [(random.randrange(width), random.randrange(height)) for _ in range(random.randint(2, _MOST_TURNS))]
    cv2.polylines(mask, [np.array(points, dtype=np.int32)], isClosed=False, color=255, thickness=thick)
