"""Caption files as bytes and text: encodings, line ends, and writing them without loss."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kohya_gui.caption_text import caption_of, put, read_bytes, recoded, version
from sd_scripts.errors import DataError

HERE = Path("a.txt")
TEXTS = st.lists(st.sampled_from(["a, b", "猫", " ", "\n", "\r\n", "\r", "\u2028", "x"]), max_size=9).map("".join)
MARKS = {"utf-8": b"", "utf-8-sig": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


def encoded(text: str, encoding: str) -> bytes:
    return MARKS[encoding] + text.encode(encoding.removesuffix("-sig"))


@given(TEXTS, st.sampled_from(list(MARKS)))
def test_a_text_that_is_not_changed_gives_the_same_bytes(text: str, encoding: str) -> None:
    content = encoded(text, encoding)
    caption = caption_of(content, HERE)
    assert caption.written(caption.body) == content
    assert "\r" not in caption.body


@given(TEXTS, TEXTS, st.sampled_from(list(MARKS)))
def test_what_is_typed_is_what_is_read_again(text: str, typed: str, encoding: str) -> None:
    body = caption_of(typed.encode(), HERE).body
    written = caption_of(encoded(text, encoding), HERE).written(body)
    assert written.startswith(MARKS[encoding])
    assert caption_of(written, HERE).body == body


@pytest.mark.parametrize(
    ("before", "typed", "after"),
    [
        (b"a\r\nb\r\n", "a\nx\ny", b"a\r\nx\r\ny\r\n"),
        (b"a\nb\r\nc\r\nd", "a\nb\nnew\nd", b"a\nb\r\nnew\r\nd"),
        (b"a\rb", "a\nb\nc", b"a\rb\rc"),
        (b"a\n", "b", b"b\n"),
        (b"a", "b\nc", b"b\nc"),
        (b"a\r\nb", "b", b"b"),
        (b"\n", "x", b"x\n"),
    ],
)
def test_lines_keep_their_ends(before: bytes, typed: str, after: bytes) -> None:
    assert caption_of(before, HERE).written(typed) == after


def test_a_new_caption_is_utf_8_without_a_last_line_end() -> None:
    assert caption_of(None, HERE).written("sks 猫\nx") == "sks 猫\nx".encode()


def test_half_a_character_is_refused() -> None:
    with pytest.raises(DataError, match="half a character"):
        caption_of(b"a", HERE).written("\ud800")


def test_other_encodings_are_named_and_can_be_read_when_told() -> None:
    content = "Käfer, 猫".encode("gb18030", "replace")
    with pytest.raises(DataError, match="is not UTF-8: byte 0x"):
        caption_of(content, HERE)
    assert recoded("Käfer".encode("cp1252"), "cp1252", HERE) == "Käfer".encode()
    with pytest.raises(DataError, match="not shift_jis either"):
        recoded(b"\xff\xff", "shift_jis", HERE)


def test_a_version_tells_contents_apart_and_a_missing_file_from_an_empty_one() -> None:
    assert len({version(content) for content in (None, b"", b"a", b"b")}) == 4


def test_a_file_is_replaced_as_a_whole_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    path.chmod(0o640)
    put(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o640)
    assert os.listdir(tmp_path) == ["a.txt"]
    put(path, None)
    assert read_bytes(path) is None


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_bytes(b"old")
    link = tmp_path / "a.txt"
    link.symlink_to("real.txt")
    put(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == b"new"


def test_a_folder_that_takes_no_file_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError):
        put(tmp_path / "a.txt", b"new")
    assert os.listdir(tmp_path) == ["a.txt"]
    with pytest.raises(DataError, match="cannot be read"):
        read_bytes(tmp_path / "a.txt")
