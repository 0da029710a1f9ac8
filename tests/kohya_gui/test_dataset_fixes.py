"""What the Dataset page does to files: every step can be taken back, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.dataset_fixes import ASIDE, BEFORE, aside_in, bring_back, convert, readings, set_aside, unconvert
from sd_scripts.errors import DataError, RunError
from sd_scripts.survey.picture_names import holds_pictures


def fill(folder: Path, *names: str) -> None:
    for name in names:
        if name.endswith(".png"):
            Image.new("RGB", (8, 8)).save(folder / name)
        else:
            (folder / name).write_text(name, "utf-8")


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_picture_goes_aside_with_its_caption_and_comes_back(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "a.txt", "a.caption", "ab.txt", "b.png")
    before = everything(tmp_path)
    assert set_aside(tmp_path / "a.png") == tmp_path / ASIDE / "a.png"
    assert everything(tmp_path) == [f"{ASIDE}/a.caption", f"{ASIDE}/a.png", f"{ASIDE}/a.txt", "ab.txt", "b.png"]
    assert aside_in(tmp_path) == ["a.png"]
    bring_back(tmp_path, "a.png")
    assert everything(tmp_path) == before and not (tmp_path / ASIDE).exists()


def test_a_folder_whose_pictures_are_all_aside_holds_none(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    set_aside(tmp_path / "a.png")
    assert not holds_pictures(tmp_path)


def test_a_caption_of_two_pictures_stays(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "a.txt")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    set_aside(tmp_path / "a.jpg")
    assert everything(tmp_path) == [f"{ASIDE}/a.jpg", "a.png", "a.txt"]


def test_nothing_is_overwritten_on_either_way(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "a.txt")
    set_aside(tmp_path / "a.png")
    fill(tmp_path, "a.png")
    assert set_aside(tmp_path / "a.png").name == "a-2.png"
    fill(tmp_path, "a.txt")
    with pytest.raises(DataError, match="of that name"):
        bring_back(tmp_path, "a.png")
    assert everything(tmp_path) == [f"{ASIDE}/a-2.png", f"{ASIDE}/a.png", f"{ASIDE}/a.txt", "a.txt"]


def test_a_move_that_fails_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.png", "a.txt")
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.suffix == ".txt":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(RunError, match="No space left"):
        set_aside(tmp_path / "a.png")
    assert everything(tmp_path) == ["a.png", "a.txt"]


@pytest.mark.parametrize("name", ["../a.png", "b.png", "", "a.txt"])
def test_what_was_not_set_aside_does_not_come_back(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    fill(tmp_path, "a.png")
    with pytest.raises(DataError):
        bring_back(tmp_path / "in", name)


def test_a_caption_becomes_utf8_and_its_old_bytes_are_kept(tmp_path: Path) -> None:
    caption = tmp_path / "a.txt"
    old = "ein Kätzchen\r\n".encode("cp1252")
    caption.write_bytes(old)
    shown = {row.encoding: row.text for row in readings(caption)}
    assert shown["cp1252"] == "ein Kätzchen" and "euc_kr" not in shown
    kept = convert(caption, "cp1252")
    assert caption.read_bytes() == "ein Kätzchen\r\n".encode()
    assert (kept, kept.read_bytes()) == (tmp_path / ASIDE / BEFORE / "a.txt", old)
    caption.write_bytes(old)
    assert convert(caption, "cp1252").name == "a-2.txt" and kept.read_bytes() == old


def test_a_wrong_encoding_changes_nothing(tmp_path: Path) -> None:
    caption = tmp_path / "a.txt"
    caption.write_bytes("猫".encode("shift_jis") + b"\xff")
    before = caption.read_bytes()
    for encoding in ("shift_jis", "latin-9", ""):
        with pytest.raises(DataError):
            convert(caption, encoding)
    assert caption.read_bytes() == before and everything(tmp_path) == ["a.txt"]


def test_a_converted_caption_is_taken_back_byte_for_byte(tmp_path: Path) -> None:
    caption, before = tmp_path / "a.txt", "süße Grüße\r\n".encode("cp1252")
    caption.write_bytes(before)
    kept = convert(caption, "cp1252")
    unconvert(caption, kept.name, "cp1252")
    assert caption.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_caption_that_was_edited_since_is_not_taken_back(tmp_path: Path) -> None:
    caption = tmp_path / "a.txt"
    caption.write_bytes("süß".encode("cp1252"))
    kept = convert(caption, "cp1252")
    caption.write_text("mine", "utf-8")
    with pytest.raises(DataError, match="changed since"):
        unconvert(caption, kept.name, "cp1252")
    assert (caption.read_text("utf-8"), kept.read_bytes()) == ("mine", "süß".encode("cp1252"))
    for name, encoding in ((kept.name, "no such"), ("../a.txt", "cp1252"), ("gone", "cp1252")):
        with pytest.raises(DataError, match="not there any more"):
            unconvert(caption, name, encoding)
