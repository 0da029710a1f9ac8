"""The demo's drawings and dataset are the same every time, and the judge names what was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from demo.draw import PALETTE, SHAPES, ZIBBIT_GROUNDS, Scene, draw_scene, draw_zibbit, random_scene, training_picture
from demo.judge import likeness, name_picture, read_pictures
from demo.make_dataset import DATASET, write_dataset


def test_the_same_seed_draws_the_same_pictures():
    first, second = (np.random.default_rng(3) for _ in range(2))
    for _ in range(12):
        (caption, picture), (again, same) = training_picture(first), training_picture(second)
        assert caption == again
        assert picture.tobytes() == same.tobytes()


def test_a_scene_never_has_its_own_colour_as_ground():
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng) for _ in range(200)]
    assert all(scene.colour != scene.ground for scene in scenes)


@pytest.mark.parametrize(
    ("scene", "caption"),
    [
        (Scene("circle", "red", "blue"), "a red circle on a blue ground"),
        (Scene("star", "orange", "orange"), "an orange star on an orange ground"),
        (Scene("moon", "green", "white", style="striped"), "a striped green moon on a white ground"),
        (Scene("ring", "black", "red", style="face"), "a black ring with a face on a red ground"),
    ],
)
def test_captions_say_shape_colour_and_ground(scene, caption):
    assert scene.caption == caption


def test_pictures_are_anti_aliased():
    colours = draw_scene(Scene("circle", "black", "white")).getcolors(maxcolors=4096)
    assert len(colours) > 2


@pytest.mark.parametrize("shape", SHAPES)
def test_the_judge_names_a_blurred_drawing(shape):
    rng = np.random.default_rng(SHAPES.index(shape))
    drawn = random_scene(rng)
    scene = Scene(shape, drawn.colour, drawn.ground, drawn.x, drawn.y, drawn.radius)
    named = name_picture(draw_scene(scene).filter(ImageFilter.GaussianBlur(1.5)))
    assert (named.shape, named.colour, named.ground) == (scene.shape, scene.colour, scene.ground)


def test_the_judge_finds_no_figure_on_an_empty_ground():
    assert name_picture(Image.new("RGB", (128, 128), PALETTE["green"])).radius == 0


def test_the_dataset_has_fifteen_pictures_with_captions():
    pictures = sorted(DATASET.glob("*.png"))
    assert len(pictures) == 15
    assert all(Image.open(path).size == (128, 128) for path in pictures)
    assert all(path.with_suffix(".txt").read_text("utf-8").startswith("a zibbit on a ") for path in pictures)


def test_the_dataset_is_what_its_script_draws(tmp_path):
    for drawn in write_dataset(tmp_path):
        committed = DATASET / drawn.name
        assert np.array_equal(np.asarray(Image.open(drawn)), np.asarray(Image.open(committed)))
        assert drawn.with_suffix(".txt").read_bytes() == committed.with_suffix(".txt").read_bytes()


def test_a_zibbit_is_like_the_dataset_and_a_shape_is_not():
    dataset = read_pictures(DATASET)
    zibbits = [likeness(draw_zibbit(ground, 0.46, 0.58, 0.25), dataset) for ground in ZIBBIT_GROUNDS]
    shapes = [likeness(draw_scene(Scene(shape, "orange", "blue", style="face")), dataset) for shape in SHAPES]
    assert min(zibbits) > 0.85
    assert max(shapes) < 0.4
