"""Pictures become the numbers that kohya's trainers make of them; odd files are read as they are meant or named."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from sd_scripts.errors import ConfigError, DataError
from sd_scripts.library.data.dataset import Listing
from sd_scripts.library.data.images import change_color, crop, load_alpha, load_image, normalise, resize, to_pixels
from sd_scripts.survey.buckets import size_crop
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.items import scan

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "images.json").read_text("utf-8"))
PIXELS = "pixels (row, column, values)"


def wave(height: int, width: int, channels: int = 3) -> np.ndarray:
    """The picture of golden/images.json's rule."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    return np.rint(127.5 + 127.5 * np.sin(0.1 * x + 0.17 * y + c)).astype(np.uint8)


def assert_matches(image: np.ndarray, case: dict, tolerance: float = 1.0) -> None:
    """`image` has the recorded shape, mean, deviation and pixels."""
    assert list(image.shape) == case["shape"]
    assert image.mean() == pytest.approx(case["mean"], abs=0.05 * tolerance)
    assert image.std() == pytest.approx(case["std"], abs=0.05 * tolerance)
    for row, column, values in case[PIXELS]:
        np.testing.assert_allclose(image[row, column].astype(float), values, atol=tolerance)


@pytest.mark.parametrize("case", GOLDEN["resize"], ids=lambda case: f"{case['from_hw']}-{case['to_hw']}-{case['interpolation']}")
def test_resizing_agrees_with_the_recorded_trainer(case):
    height, width = case["to_hw"]
    assert_matches(resize(wave(*case["from_hw"]), (width, height), case["interpolation"]), case)


@pytest.mark.parametrize("case", GOLDEN["crop"], ids=lambda case: f"{case['image_hw']}-{case['random_crop']}-{case['python_seed']}")
def test_cropping_to_a_bucket_agrees_with_the_recorded_trainer(case):
    resized = resize(wave(*case["image_hw"]), tuple(case["resized_wh"]), None)
    random = Random(case["python_seed"]) if case["random_crop"] else None
    assert_matches(crop(resized, tuple(case["bucket_wh"]), random), case)
    assert list(case["image_hw"])[::-1] == case["original_wh"]
    assert size_crop(tuple(case["bucket_wh"]), tuple(case["original_wh"])) == pytest.approx(case["crop_ltrb"], rel=1e-8)


def test_normalising_agrees_with_the_recorded_trainer():
    tensor = normalise(to_pixels(wave(8, 8)))
    np.testing.assert_allclose(tensor[0, 0], GOLDEN["normalise"]["row0_channel0"], atol=1e-6)
    np.testing.assert_allclose(tensor[2, -1], GOLDEN["normalise"]["channel2_last"], atol=1e-6)


@pytest.mark.parametrize("mode", GOLDEN["load_modes"])
def test_every_colour_mode_is_read_as_the_recorded_trainer_reads_it(mode, tmp_path):
    recorded, path = GOLDEN["load_modes"][mode], tmp_path / "a.png"
    channels = {"L": 1, "RGBA": 4}.get(mode, 3)
    picture = wave(8, 8, channels)
    Image.fromarray(picture[..., 0] if mode == "L" else picture).convert(mode).save(path)
    pixels, alpha = load_image(path), load_alpha(path)
    assert list(pixels.shape) == recorded["plain"]
    assert pixels[0, 0].tolist() == recorded["plain_pixel_0_0"]
    assert [*pixels[0, 0].tolist(), 255 if alpha is None else int(alpha[0, 0])] == recorded["alpha_pixel_0_0"]


@pytest.mark.parametrize("alpha_mask", [True, False])
def test_transparency_becomes_the_recorded_mask(alpha_mask, tmp_path):
    recorded = GOLDEN["alpha_mask"]
    Image.fromarray(wave(96, 128, 4)).save(tmp_path / "a.png")
    blueprint = Blueprint((Dataset((64, 64), subsets=(Subset(tmp_path, alpha_mask=alpha_mask),)),))
    found = Listing(scan(blueprint).items, blueprint)
    (item,) = found.items
    assert (found.choice(item).bucket, found.choice(item).resized) == ((64, 64), (85, 64))
    assert list(size_crop((64, 64), item.size)) == recorded["crop_ltrb"]
    picture = normalise(found.picture(item)).permute(1, 2, 0).numpy()
    assert_matches(picture, recorded["image_tensor"], tolerance=2 / 255 + 1e-6)
    mask = found.mask(item, files=False)[0].numpy() / 255
    if alpha_mask:
        assert_matches(mask, recorded["mask"], tolerance=1 / 255 + 1e-6)
    else:
        assert (mask == 1).all()


def test_a_sixteen_bit_grey_picture_keeps_its_shades(tmp_path):
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 128, 255]


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path):
    Image.fromarray(np.array([[0, 128, 255]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").max() <= 1


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path, recwarn):
    Image.fromarray(wave(8, 8)).convert("P").save(tmp_path / "a.png", transparency=bytes([0] + [255] * 9))
    assert load_image(tmp_path / "a.png").shape == (8, 8, 3)
    assert not list(recwarn)


def test_a_cmyk_picture_is_read_as_rgb(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = load_image(tmp_path / "a.jpg")[0, 0].tolist()
    assert red > 200 and green < 60 and blue < 60


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 10)).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").shape == (30, 10, 3)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n0000"])
def test_a_file_that_is_no_picture_is_named(content, tmp_path):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png"):
        load_image(tmp_path / "broken.png")


def test_a_picture_that_ends_in_the_middle_is_named(tmp_path):
    Image.fromarray(wave(64, 64)).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"half\.png"):
        load_image(tmp_path / "half.png")


def test_an_unknown_interpolation_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="lanczos"):
        resize(wave(8, 8), (4, 4), "best")


def test_colour_change_touches_a_third_of_the_pictures_and_only_a_little():
    image = wave(16, 16)
    changed = [change_color(image, Random(seed)) for seed in range(300)]
    touched = [np.abs(other.astype(int) - image).mean() for other in changed if not np.array_equal(other, image)]
    assert 60 < len(touched) < 140
    assert max(touched) < 40
