"""Small versions of pictures: what they show, where they are kept, and who gets them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from starlette.testclient import TestClient

from kohya_gui.app import build_app
from kohya_gui.picture_routes import thumb_address
from kohya_gui.settings import ServerOptions, Settings
from kohya_gui.thumbs import EDGES, Thumbs
from sd_scripts.errors import DataError

HERE = "http://127.0.0.1:7860"


@pytest.fixture
def thumbs(tmp_path: Path) -> Thumbs:
    return Thumbs(tmp_path / "thumbs")


def test_a_small_version_is_turned_as_the_camera_was(thumbs: Thumbs, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (800, 400), "red").save(picture, exif=exif)
    with Image.open(thumbs.get(picture)) as small:
        assert small.size == (EDGES["small"] // 2, EDGES["small"])


def test_it_is_made_once_and_anew_when_the_picture_changes(thumbs: Thumbs, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    first = thumbs.get(picture)
    made = first.stat().st_mtime_ns
    assert thumbs.get(picture) == first and first.stat().st_mtime_ns == made
    Image.new("RGB", (8, 8), "blue").save(picture)
    os.utime(picture, ns=(1, 1))
    second = thumbs.get(picture)
    with Image.open(second) as small:
        assert second != first and small.getpixel((4, 4))[2] > 200


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16", "LA"])
def test_every_kind_of_pixels_is_shown(thumbs: Thumbs, tmp_path: Path, mode: str) -> None:
    picture = tmp_path / f"a{'.jpg' if mode == 'CMYK' else '.png'}"
    Image.new(mode, (640, 320)).save(picture)
    with Image.open(thumbs.get(picture)) as small:
        assert (small.mode, small.size) == ("RGB", (288, 144))


def test_sixteen_bits_of_grey_stay_grey(thumbs: Thumbs, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("I;16", (16, 16), 32768).save(picture)
    with Image.open(thumbs.get(picture)) as small:
        assert 120 < small.getpixel((8, 8))[0] < 136


def test_a_broken_picture_is_said_to_be_one(thumbs: Thumbs, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    with pytest.raises(DataError, match=r"a\.png"):
        thumbs.get(tmp_path / "a.png")
    assert not list(thumbs.folder.rglob("*.jpg"))


def test_the_oldest_go_when_the_folder_is_full(thumbs: Thumbs, tmp_path: Path) -> None:
    kept = []
    for number in range(4):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
        kept.append(thumbs.get(tmp_path / f"{number}.png"))
        os.utime(kept[-1], (number, number))
    size = kept[0].stat().st_size
    thumbs.shrink(2 * size + size // 2)
    assert [path.exists() for path in kept] == [False, False, True, True]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(runs_dir=tmp_path / "runs", output_dir=tmp_path / "out", models_dir=tmp_path / "models", allowed_roots=(tmp_path / "mine",))
    with TestClient(build_app(settings, ServerOptions()), base_url=HERE) as client:
        yield client


def test_the_address_gives_pictures_under_the_roots_alone(page: TestClient, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    picture = tmp_path / "mine" / "猫 ü&.png"
    Image.new("RGB", (8, 8)).save(picture)
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png")
    (tmp_path / "mine" / "link.png").symlink_to(tmp_path / "foreign.png")
    (tmp_path / "mine" / "text.txt").write_text("no picture")
    answer = page.get(thumb_address(picture, version="1"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert "immutable" in answer.headers["cache-control"]
    assert "no-cache" in page.get(thumb_address(picture)).headers["cache-control"]
    foreign = (tmp_path / "foreign.png", tmp_path / "mine" / "link.png", tmp_path / "mine" / "text.txt", "/etc/passwd", "../foreign.png")
    assert [page.get(f"/thumb?path={quote(str(path))}").status_code for path in foreign] == [403] * 5
    assert page.get(f"/thumb?path={quote(str(picture))}&size=huge").status_code == 400


def test_a_damaged_picture_is_no_missing_one(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    folders = {name: tmp_path / name for name in ("runs_dir", "output_dir", "models_dir", "datasets_dir")}
    with TestClient(build_app(Settings(allowed_roots=(tmp_path,), **folders), ServerOptions()), base_url="http://127.0.0.1") as page:
        assert [page.get(f"/thumb?path={quote(str(tmp_path / name))}").status_code for name in ("broken.png", "gone.png")] == [204, 404]
