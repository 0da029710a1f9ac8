"""Which files the page may see."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_gui.files import Roots, content_type, list_folder
from sd_scripts.errors import DataError


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """One root with a folder, a picture and a hidden file; beside it a secret."""
    root = tmp_path / "root"
    (root / "Ünï code 猫").mkdir(parents=True)
    (root / "a.png").write_bytes(b"x" * 5)
    (root / ".hidden").write_text("x")
    (tmp_path / "secret.txt").write_text("secret")
    return Roots((root.resolve(),))


def test_a_path_outside_is_refused_whatever_its_spelling(roots: Roots) -> None:
    root = roots.folders[0]
    for text in ("/etc/passwd", f"{root}/../secret.txt", f"{root}/a/../../secret.txt", "\0"):
        assert not roots.allows(text), text


def test_a_link_out_of_the_root_is_refused_and_not_listed(roots: Roots, tmp_path: Path) -> None:
    (roots.folders[0] / "out").symlink_to(tmp_path)
    with pytest.raises(DataError, match="may not open"):
        roots.resolve(roots.folders[0] / "out" / "secret.txt")
    assert "out" not in [entry.name for entry in list_folder(roots, str(roots.folders[0])).entries]


def test_a_link_within_the_root_is_followed(roots: Roots) -> None:
    (roots.folders[0] / "in").symlink_to(roots.folders[0] / "a.png")
    assert roots.resolve(roots.folders[0] / "in") == roots.folders[0] / "a.png"


def test_a_folder_is_listed_folders_first_without_hidden_entries(roots: Roots) -> None:
    listing = list_folder(roots, str(roots.folders[0]))
    assert [(entry.name, entry.folder, entry.size) for entry in listing.entries] == [("Ünï code 猫", True, 0), ("a.png", False, 5)]
    assert listing.parent is None


def test_a_file_that_does_not_exist_yet_lists_the_nearest_folder(roots: Roots) -> None:
    assert list_folder(roots, str(roots.folders[0] / "Ünï code 猫" / "new" / "b.toml")).path.name == "Ünï code 猫"


def test_only_folders_are_listed_where_a_folder_is_wanted(roots: Roots) -> None:
    assert [entry.name for entry in list_folder(roots, "", want="folder").entries] == ["Ünï code 猫"]


def test_the_root_folder_of_the_disk_can_be_a_root(tmp_path: Path) -> None:
    assert Roots((Path("/"),)).allows(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind", "inline"),
    [("a.PNG", "image/png", True), ("log.txt", "text/plain; charset=utf-8", True), ("x.safetensors", "application/octet-stream", False)],
)
def test_content_types_are_fixed(name: str, kind: str, inline: bool) -> None:
    assert content_type(Path(name)) == (kind, inline)


@pytest.mark.parametrize("name", ["evil.html", "evil.svg", "evil.js", "noending", "a.py"])
def test_what_a_browser_could_run_is_never_handed_out(name: str) -> None:
    with pytest.raises(DataError):
        content_type(Path(name))
