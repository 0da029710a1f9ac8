"""AVIF and JPEG XL: sizes without decoding, pixels as they are meant to be seen, and what is missing or broken told by name."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pillow_jxl  # noqa: F401  # registers itself with Pillow
import pytest
from PIL import Image, ImageOps

from sd_scripts.errors import DataError
from sd_scripts.library.data.images import load_image
from sd_scripts.survey import modern_pictures
from sd_scripts.survey.modern_pictures import jxl_facts
from sd_scripts.survey.picture_file import read_picture

SIZES = [(1, 1), (8, 8), (40, 30), (256, 256), (120, 100), (128, 96), (96, 64), (160, 90), (100, 80), (200, 100), (513, 700), (1030, 8200), (257, 3)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("container", [False, True])
def test_sizes_of_jpeg_xl_are_those_that_its_decoder_finds(tmp_path, size, container):
    path = tmp_path / "a.jxl"
    Image.new("RGB", size, (200, 60, 20)).save(path, use_container=container, effort=1)
    with path.open("rb") as file:
        assert jxl_facts(file) == (size, False, True)
    assert read_picture(path).size == size


@pytest.mark.parametrize(("orientation", "size"), [(1, (16, 8)), (3, (16, 8)), (5, (8, 16)), (8, (8, 16))])
def test_a_codestream_is_turned_as_its_header_says(orientation, size):
    """Written bit by bit: small, height 8, no ratio, width 16, not all defaults, extra fields, orientation, no display size, no preview, animated."""
    fields = [(1, 1), (0, 5), (0, 3), (1, 5), (0, 1), (1, 1), (orientation - 1, 3), (0, 1), (0, 1), (1, 1)]
    number = shift = 0
    for value, bits in fields:
        number |= value << shift
        shift += bits
    content = modern_pictures.CODESTREAM + number.to_bytes(8, "little")
    assert jxl_facts(io.BytesIO(content)) == (size, True, True)


@pytest.mark.parametrize("extension", ["avif", "jxl"])
def test_pixels_come_as_they_are_seen(tmp_path, extension):
    """A red corner, and EXIF data that asks for a turn: AVIF obeys it, a JPEG XL decoder has turned the picture already."""
    picture = Image.new("RGB", (64, 48), (20, 30, 200))
    picture.paste((220, 20, 20), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"a.{extension}"
    picture.save(path, quality=95, **({"exif": exif} if extension == "avif" else {}))
    pixels, header = load_image(path), read_picture(path)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)) if extension == "avif" else picture)
    assert pixels.shape[:2] == header.size[::-1] == expected.shape[:2]
    assert np.abs(pixels.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("extension", ["avif", "jxl"])
def test_a_file_that_breaks_off_is_refused_by_name(tmp_path, extension):
    whole, path = tmp_path / f"whole.{extension}", tmp_path / f"a.{extension}"
    Image.effect_noise((200, 160), 90).convert("RGB").save(whole, **({"use_container": True} if extension == "jxl" else {}))
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError, match=r"damaged or breaks off|no picture") as refused:
        read_picture(path)
    assert refused.value.path == path


def test_a_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    path = tmp_path / "a.jxl"
    Image.new("RGB", (16, 16)).save(path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for look in (read_picture, load_image):
        with pytest.raises(DataError, match="JPEG XL needs a package") as refused:
            look(path)
        assert "setup.py extras pictures" in refused.value.fix


def test_a_bare_codestream_that_breaks_off_is_refused_when_it_is_decoded(tmp_path):
    """Its header says nothing of its length."""
    whole, path = tmp_path / "whole.jxl", tmp_path / "a.jxl"
    Image.effect_noise((200, 160), 90).convert("RGB").save(whole)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert read_picture(path).size == (200, 160)
    with pytest.raises(DataError, match="damaged or breaks off") as refused:
        load_image(path)
    assert refused.value.path == path and "libjxl" not in refused.value.message, "the decoder's words are for who builds it"
