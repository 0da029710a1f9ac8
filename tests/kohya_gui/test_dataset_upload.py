"""What a browser sends as pictures: names are kept, nothing is overwritten, and no zip gets out of its folder."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.dataset_upload import Limits, new_folder, receive, subsets_in
from sd_scripts.errors import DataError, RunError


def picture(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def zipped(files: dict[str, bytes], *, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_folder(tmp_path / "datasets", "cats")


def test_a_folder_is_new_every_time(tmp_path: Path) -> None:
    names = [new_folder(tmp_path / "datasets", wanted).name for wanted in ("cats", "cats", "../a/b", "..", 'x:"y', "猫")]
    assert names == ["cats", "cats-2", "_a_b", "pictures", "x__y", "猫"]
    assert {path.name for path in tmp_path.iterdir()} == {"datasets"}


def test_a_file_keeps_its_name_and_its_folder(folder: Path) -> None:
    assert receive(folder, "10_sks cat/猫 1.PNG", [picture()[:9], picture()[9:]]).kept == ["10_sks cat/猫 1.PNG"]
    assert receive(folder, "10_sks cat/猫 1.txt", [b"a cat"]).kept == ["10_sks cat/猫 1.txt"]
    assert (folder / "10_sks cat" / "猫 1.PNG").read_bytes() == picture()
    assert everything(folder) == ["10_sks cat/猫 1.PNG", "10_sks cat/猫 1.txt"]


def test_nothing_is_overwritten(folder: Path) -> None:
    receive(folder, "a.png", [picture()])
    again = receive(folder, "a.png", [picture("blue")])
    assert again.kept == [] and again.left[0][0] == "a.png"
    packed = receive(folder, "more.zip", [zipped({"a.png": picture("blue"), "b.png": picture("blue")})])
    assert (packed.kept, [name for name, _ in packed.left]) == (["b.png"], ["a.png"])
    assert (folder / "a.png").read_bytes() == picture()


def test_a_zip_is_unpacked_with_its_folders_and_the_rest_is_named(folder: Path) -> None:
    files = {"10_cat/a.png": picture(), "10_cat/a.txt": b"a cat", "reg/1_cat/b.jpg": picture(), "10_cat/.DS_Store": b"", "__MACOSX/._a.png": b""}
    received = receive(folder, "cats.zip", [zipped({**files, "run.exe": b"MZ", "page.html": b"<script>"})])
    assert received.kept == ["10_cat/a.png", "10_cat/a.txt", "reg/1_cat/b.jpg"]
    assert {name for name, _ in received.left} == {"10_cat/.DS_Store", "__MACOSX/._a.png", "run.exe", "page.html"}
    assert everything(folder) == ["10_cat/a.png", "10_cat/a.txt", "reg/1_cat/b.jpg"]
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/out.png", "C:/out.png", "..\\out.png", "\\out.png", "a/..", "x/\0.png"])
def test_no_name_leads_out(folder: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out"):
        receive(folder, name, [picture()])
    if "\0" not in name:  # zipfile cuts names at a zero byte
        with pytest.raises(DataError, match="leads out"):
            receive(folder, "evil.zip", [zipped({"first.png": picture(), name: picture()})])
    assert everything(folder.parent) == []


def test_a_link_in_a_zip_is_not_made(folder: Path, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(tmp_path / "secret.png"))
        archive.writestr("a.png", picture())
    received = receive(folder, "links.zip", [packed.getvalue()])
    assert (received.kept, [name for name, _ in received.left]) == (["a.png"], ["link.png"])
    assert not (folder / "link.png").is_symlink() and everything(folder) == ["a.png"]


def test_names_in_utf8_without_its_mark_are_read_as_meant(folder: Path) -> None:
    packed = bytearray(zipped({"猫.png": picture()}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = packed.index(mark) + at
        packed[place : place + 2] = b"\x00\x00"
    assert receive(folder, "a.zip", [bytes(packed)]).kept == ["猫.png"]


def test_a_zip_that_says_too_little_is_stopped(folder: Path) -> None:
    packed = bytearray(zipped({"a.png": b"\0" * 100_000}))
    place = packed.index(b"PK\x01\x02") + 24
    packed[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(DataError):
        receive(folder, "bomb.zip", [bytes(packed)], limits=Limits(bytes=5_000))
    assert everything(folder) == [] and not list(folder.glob(".*"))


@pytest.mark.parametrize("limits", [Limits(bytes=999), Limits(files=1)])
def test_more_than_the_limit_is_refused_with_it(folder: Path, limits: Limits) -> None:
    with pytest.raises(DataError, match="At most"):
        receive(folder, "a.zip", [zipped({"a.png": b"\0" * 600, "b.png": b"\0" * 600})], limits=limits)
    with pytest.raises(DataError, match="larger than"):
        receive(folder, "a.png", [b"\0" * 600, b"\0" * 600], limits=Limits(bytes=999))
    assert everything(folder) == [] and not list(folder.glob(".*"))


def test_a_damaged_zip_leaves_nothing(folder: Path) -> None:
    whole = zipped({"a.png": picture(), "b.png": bytes(range(256)) * 40}, kind=zipfile.ZIP_STORED)
    broken = whole.replace(bytes(range(256)), bytes(range(255, -1, -1)), 1)
    for content in (broken, whole[:-30], b"no zip"):
        with pytest.raises(DataError, match="damaged"):
            receive(folder, "a.zip", [content])
    assert everything(folder) == []


def test_a_locked_zip_is_refused(folder: Path) -> None:
    packed = bytearray(zipped({"a.png": picture()}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(mark) + at] |= 1
    with pytest.raises(DataError, match="password"):
        receive(folder, "a.zip", [bytes(packed)])


def test_a_full_disk_is_said_before_anything_is_unpacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kohya_gui.dataset_upload.SPARE_BYTES", 10**18)
    with pytest.raises(RunError, match="do not fit"):
        receive(folder, "a.zip", [zipped({"a.png": picture()})])
    assert everything(folder) == []


def test_subsets_are_found_with_what_their_names_say(folder: Path) -> None:
    files = {"img/10_sks cat/a.png": picture(), "img/10_sks cat/a.txt": b"x", "reg/1_cat/b.png": picture(), "2024_summer/c.png": picture()}
    receive(folder, "a.zip", [zipped({**files, "empty/readme.txt": b""})])
    found = {Path(str(row["image_dir"])).name: {key: value for key, value in row.items() if key != "image_dir"} for row in subsets_in(folder)}
    assert found == {
        "10_sks cat": {"num_repeats": 10, "class_tokens": "sks cat", "caption_extension": ".txt"},
        "1_cat": {"num_repeats": 1, "class_tokens": "cat", "is_reg": True},
        "2024_summer": {"num_repeats": 1},
    }
