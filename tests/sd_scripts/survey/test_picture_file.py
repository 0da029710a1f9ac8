"""Picture files: size and oddities from headers agree with Pillow, and every broken file is refused by name."""

from __future__ import annotations

import io
from pathlib import Path

import pillow_jxl  # noqa: F401  # registers itself with Pillow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sd_scripts.errors import DataError
from sd_scripts.library.data.images import load_image
from sd_scripts.survey.picture_file import PictureHeader, read_picture

ORIENTATION = 0x0112
FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "bmp": "BMP", "avif": "AVIF", "jxl": "JXL"}


def _noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.effect_noise(size, 90).convert(mode)


@pytest.mark.parametrize("extension", FORMATS)
def test_the_size_is_the_pictures(tmp_path, extension):
    _noise().save(tmp_path / f"a.{extension}")
    assert read_picture(tmp_path / f"a.{extension}") == PictureHeader((40, 30))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "avif"])
def test_the_size_is_that_of_the_turned_picture(tmp_path, extension, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a.{extension}"
    _noise().save(path, exif=exif)
    with Image.open(path) as image:
        assert read_picture(path).size == ImageOps.exif_transpose(image).size


def test_an_orientation_in_xmp_counts_like_one_in_exif(tmp_path):
    path = tmp_path / "a.jpg"
    _noise().save(path, xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>')
    with Image.open(path) as image:
        assert read_picture(path).size == ImageOps.exif_transpose(image).size == (30, 40)


@pytest.mark.parametrize(
    ("name", "mode", "kind"),
    [
        ("a.jpg", "CMYK", "CMYK"),
        ("a.png", "P", "palette"),
        ("a.png", "I;16", "16 bit"),
        ("a.bmp", "P", "palette"),
        ("a.png", "RGBA", None),
        ("a.png", "L", None),
        ("a.webp", "RGBA", None),
    ],
)
def test_pixels_that_must_be_converted_are_named(tmp_path, name, mode, kind):
    _noise("L").convert(mode).save(tmp_path / name)
    assert read_picture(tmp_path / name).oddities == ((kind,) if kind else ())


@pytest.mark.parametrize("extension", ["png", "webp"])
def test_several_frames_are_named(tmp_path, extension):
    _noise().save(tmp_path / f"a.{extension}", save_all=True, append_images=[_noise(size=(40, 30)).rotate(90)])
    assert read_picture(tmp_path / f"a.{extension}") == PictureHeader((40, 30), ("animated",))


def test_a_lossless_webp_has_its_size_read(tmp_path):
    _noise(size=(300, 17)).save(tmp_path / "a.webp", lossless=True)
    assert read_picture(tmp_path / "a.webp").size == (300, 17)


def test_content_counts_and_not_the_extension(tmp_path):
    _noise().save(tmp_path / "a.jpg", format="PNG")
    assert read_picture(tmp_path / "a.jpg").size == (40, 30)


@pytest.mark.parametrize("extension", [extension for extension in FORMATS if extension != "jxl"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_picture_that_breaks_off_is_refused_by_name(tmp_path, extension, share):
    path = tmp_path / f"broken.{extension}"
    _noise(size=(200, 160)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"broken\.\w+: .*(breaks off|no picture)"):
        read_picture(path)


def test_bytes_after_the_end_do_no_harm(tmp_path):
    for extension in ("jpg", "png", "webp"):
        path = tmp_path / f"a.{extension}"
        _noise().save(path)
        path.write_bytes(path.read_bytes() + b"\0" * 900)
        assert read_picture(path).size == (40, 30)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"<html>not found</html>", "no picture"), (b"\xff\xd8\xff", "no picture|damaged"), (b"\xff" * 99, "no picture")],
)
def test_a_file_that_is_no_picture_is_refused(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "bmp"])
def test_a_picture_that_is_too_large_to_decode_is_refused_at_the_first_look(tmp_path, extension, monkeypatch):
    """Pillow takes it for an attack, and would say so in the middle of the run."""
    path = tmp_path / f"a.{extension}"
    _noise(size=(200, 160)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200 * 160 // 2)
    assert read_picture(path).size == (200, 160)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200 * 160 // 2 - 1)
    with pytest.raises(DataError, match="200 × 160 pixels; more than 31,998"):
        read_picture(path)
    with pytest.raises(DataError, match="more than 31,998 pixels"):
        load_image(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_picture(tmp_path / "a.png")


def test_an_avif_whose_picture_is_not_where_it_says_is_refused(tmp_path):
    path = tmp_path / "a.avif"
    _noise(size=(24, 20)).save(path)
    path.write_bytes(path.read_bytes().replace(b"iloc", b"none"))
    with pytest.raises(DataError) as refused:
        read_picture(path)
    assert refused.value.path == path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4), st.integers(0, 400))
def test_damaged_bytes_give_a_size_or_a_refusal_and_nothing_else(tmp_path_factory, extension, changes, cut):
    buffer = io.BytesIO()
    _noise(size=(24, 20)).save(buffer, format=FORMATS[extension])
    content = bytearray(buffer.getvalue())
    for position, value in changes:
        content[position % len(content)] = value
    path: Path = tmp_path_factory.mktemp("fuzz") / f"a.{extension}"
    path.write_bytes(content[: max(0, len(content) - cut)])
    try:
        assert min(read_picture(path).size) > 0
    except DataError as refused:
        assert refused.path == path
