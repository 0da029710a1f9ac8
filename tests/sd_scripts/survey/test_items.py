"""Scanning: which pictures and captions are found, and that every odd file is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.survey.datasets import Blueprint, CaptionRules, Dataset, Subset
from sd_scripts.survey.items import Scan, SubsetCount, scan


def _picture(path: Path, size: tuple[int, int] = (64, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", size).save(path)


def _scan(*subsets: Subset, **dataset: object) -> Scan:
    return scan(Blueprint((Dataset((64, 64), subsets=subsets, **dataset),)))  # type: ignore[arg-type]


def _messages(found: Scan) -> str:
    return "\n".join(map(str, found.problems))


def test_pictures_come_sorted_with_extensions_in_any_case_and_hidden_files_are_skipped(tmp_path):
    for name in ("b.PNG", "a.Jpg", "c.webp", ".hidden.png", "d.txt.png"):
        _picture(tmp_path / name)
    (tmp_path / "note.md").write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert [item.path.name for item in _scan(Subset(tmp_path, class_tokens="x")).items] == ["a.Jpg", "b.PNG", "c.webp", "d.txt.png"]


def test_a_link_to_a_picture_counts(tmp_path):
    _picture(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert len(_scan(Subset(tmp_path / "set", class_tokens="x")).items) == 1


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    assert "gone.png" in _messages(_scan(Subset(tmp_path)))


def test_captions_keep_their_lines_and_class_tokens_stand_in(tmp_path):
    for name in ("a.png", "b.png"):
        _picture(tmp_path / name)
    (tmp_path / "a.txt").write_text("\n first \n\nsecond\n", "utf-8")
    found = _scan(Subset(tmp_path, class_tokens="sks cat", caption_extension=".txt", captions=CaptionRules(enable_wildcard=True)))
    assert [item.caption for item in found.items] == ["first\nsecond", "sks cat"]
    assert found.counts == (SubsetCount(0, 0, 2, 1, 0),)
    assert "no .txt file for b.png" in _messages(found)


def test_a_caption_is_found_with_its_extension_in_another_case_and_for_face_crops(tmp_path):
    _picture(tmp_path / "a.png")
    _picture(tmp_path / "b_10_20_30_40.png")
    (tmp_path / "a.TXT").write_text("upper", "utf-8")
    (tmp_path / "b.txt").write_text("face", "utf-8")
    assert [item.caption for item in _scan(Subset(tmp_path, caption_extension=".txt")).items] == ["upper", "face"]


@pytest.mark.parametrize(("content", "caption"), [("﻿cät".encode(), "cät"), ("cät".encode("utf-16"), "cät"), (b"cat\r\ndog", "cat\ndog")])
def test_byte_order_marks_and_line_ends_are_understood(tmp_path, content, caption):
    _picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(content)
    assert _scan(Subset(tmp_path, caption_extension=".txt")).items[0].caption == caption


def test_a_caption_in_another_encoding_is_an_error_that_names_file_and_byte(tmp_path):
    _picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes("k\xe4tzchen".encode("latin-1"))
    problem = _scan(Subset(tmp_path, caption_extension=".txt")).problems[0]
    assert problem.severity == "error"
    assert "a.txt" in problem.message and "0xe4 at position 1" in problem.message and "UTF-8" in problem.fix


def test_txt_files_beside_the_default_extension_are_pointed_at(tmp_path):
    _picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat", "utf-8")
    problem = next(p for p in _scan(Subset(tmp_path)).problems if p.field == "caption_extension")
    assert "1 .txt files are not read" in problem.message
    assert ".txt" in problem.fix


def test_an_empty_caption_file_is_named_and_replaced(tmp_path):
    _picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(" \n", "utf-8")
    found = _scan(Subset(tmp_path, caption_extension=".txt", class_tokens="sks"))
    assert found.items[0].caption == "sks"
    assert 'a.png is empty; the class tokens "sks" are used' in _messages(found)


def test_several_lines_without_wildcards_are_pointed_at(tmp_path):
    _picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("one\ntwo", "utf-8")
    assert "only the first is used" in _messages(_scan(Subset(tmp_path, caption_extension=".txt")))


def test_an_unreadable_picture_is_an_error_and_the_rest_is_used(tmp_path):
    _picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    (tmp_path / "c.png").write_bytes(b"")
    found = _scan(Subset(tmp_path, class_tokens="x"))
    assert [item.path.name for item in found.items] == ["a.png"]
    assert [Path(p.message.partition(":")[0]).name for p in found.problems if p.severity == "error"] == ["b.png", "c.png"]
    assert found.counts[0].unusable == 2


def test_twins_sub_folders_and_tiny_pictures_are_pointed_at(tmp_path):
    _picture(tmp_path / "a.png")
    _picture(tmp_path / "a.webp")
    _picture(tmp_path / "inner" / "b.png")
    _picture(tmp_path / "tiny.png", (20, 90))
    text = _messages(_scan(Subset(tmp_path, class_tokens="x"), enable_bucket=True, bucket_no_upscale=True))
    assert "a.png, a.webp share a name" in text
    assert "sub-folders are not used: inner" in text
    assert "tiny.png is smaller than one bucket step (64 px)" in text


def test_pictures_of_kinds_that_are_not_read_are_counted(tmp_path):
    for name in ("a.png", "b.gif", "c.GIF", "d.tiff"):
        _picture(tmp_path / name)
    found = _scan(Subset(tmp_path, class_tokens="x"))
    assert len(found.items) == 1
    assert "2 .gif and 1 .tiff files are not used" in _messages(found)


def test_regularisation_pictures_are_balanced_in_order(tmp_path):
    for name in ("a", "b", "c"):
        _picture(tmp_path / "train" / f"{name}.png")
    for name in ("r", "s"):
        _picture(tmp_path / "reg" / f"{name}.png")
    found = _scan(Subset(tmp_path / "train", num_repeats=3, class_tokens="x"), Subset(tmp_path / "reg", num_repeats=2, is_reg=True, class_tokens="x"))
    assert [item.repeats for item in found.items] == [3, 3, 3, 5, 4]


def test_regularisation_pictures_that_are_not_reached_are_told(tmp_path):
    _picture(tmp_path / "train" / "a.png")
    for name in "rst":
        _picture(tmp_path / "reg" / f"{name}.png")
    found = _scan(Subset(tmp_path / "train", class_tokens="x"), Subset(tmp_path / "reg", is_reg=True, class_tokens="x"))
    assert [item.repeats for item in found.items] == [1, 1, 0, 0]
    assert "2 of 3 regularisation pictures are not used" in _messages(found)


def test_a_second_look_sees_what_changed_meanwhile(tmp_path):
    _picture(tmp_path / "a.png", (64, 48))
    (tmp_path / "a.txt").write_text("a cat", "utf-8")
    subset = Subset(tmp_path, caption_extension=".txt")
    assert [(item.size, item.caption) for item in _scan(subset).items] == [((64, 48), "a cat")]
    _picture(tmp_path / "a.png", (32, 480))
    (tmp_path / "a.txt").write_text("a dog!", "utf-8")
    assert [(item.size, item.caption) for item in _scan(subset).items] == [((32, 480), "a dog!")]


def test_progress_counts_up_to_all_pictures(tmp_path):
    for at in range(70):
        _picture(tmp_path / f"{at:02d}.png", (1, 1))
    seen: list[tuple[int, int]] = []
    scan(Blueprint((Dataset((64, 64), subsets=(Subset(tmp_path),)),)), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(64, 70), (70, 70)]
