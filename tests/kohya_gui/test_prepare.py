"""Copying pictures into kohya's folder layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_gui.prepare import Preparation, prepare
from sd_scripts.errors import ConfigError, DataError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two pictures, one of them captioned, and a file that is neither."""
    folder = tmp_path / "meine Bilder 猫"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    (folder / "b.JPG").write_bytes(b"b")
    (folder / "a.txt").write_text("a cat")
    (folder / "notes.txt").write_text("no caption")
    return folder


def test_pictures_and_captions_land_in_a_folder_named_by_repeats_and_words(source: Path, tmp_path: Path) -> None:
    made = prepare(Preparation(source, tmp_path / "out", "sks", "cat", 10))
    folder = tmp_path / "out" / "img" / "10_sks cat"
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "a.txt", "b.JPG"]
    assert (made.pictures, made.captions, made.train_data_dir, made.reg_data_dir) == (2, 1, tmp_path / "out" / "img", None)
    assert (source / "a.png").exists()


def test_regularisation_pictures_get_their_own_folder(source: Path, tmp_path: Path) -> None:
    made = prepare(Preparation(source, tmp_path / "out", "sks", "cat", 10, source, 2))
    assert (tmp_path / "out" / "reg" / "2_cat" / "a.png").exists()
    assert made.reg_pictures == 2


def test_a_second_copy_of_the_same_changes_nothing(source: Path, tmp_path: Path) -> None:
    wanted = Preparation(source, tmp_path / "out", "sks", "cat", 10)
    assert prepare(wanted) == prepare(wanted)


def test_a_different_file_is_never_overwritten(source: Path, tmp_path: Path) -> None:
    wanted = Preparation(source, tmp_path / "out", "sks", "cat", 10)
    wanted.image_folder.mkdir(parents=True)
    (wanted.image_folder / "b.JPG").write_bytes(b"other")
    with pytest.raises(DataError, match="different file"):
        prepare(wanted)
    assert not (wanted.image_folder / "a.png").exists()


@pytest.mark.parametrize(("instance", "class_", "repeats"), [("", "cat", 1), ("a/b", "cat", 1), ("sks", "c:t", 1), ("sks", "cat", 0)])
def test_names_that_make_no_folder_are_refused(source: Path, tmp_path: Path, instance: str, class_: str, repeats: int) -> None:
    with pytest.raises(ConfigError):
        prepare(Preparation(source, tmp_path / "out", instance, class_, repeats))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        prepare(Preparation(tmp_path / "empty", tmp_path / "out", "sks", "cat"))


def test_a_destination_inside_the_source_is_refused(source: Path) -> None:
    with pytest.raises(DataError, match="in one another"):
        prepare(Preparation(source, source, "sks", "cat"))
