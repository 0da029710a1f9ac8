"""What the Dataset page's script asks: verbs, uploads and their refusals, the file as a download."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from kohya_gui.app import build_app
from kohya_gui.settings import ServerOptions, Settings

HERE = "http://127.0.0.1"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[TestClient]:
    """A server that may use the test's folder alone."""
    folders = {name: tmp_path / name for name in ("runs_dir", "output_dir", "models_dir", "datasets_dir")}
    with TestClient(build_app(Settings(allowed_roots=(tmp_path,), **folders), ServerOptions()), base_url=HERE) as client:
        yield client


def ask(page: TestClient, /, **request: Any) -> dict[str, Any]:
    """A verb's answer."""
    return page.post("/dataset/do", json=request).json()


def pictures(folder: Path, *names: str) -> Path:
    """A folder of small pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (64, 64), "teal").save(folder / name)
    return folder


def test_a_folder_is_added_and_the_file_can_be_downloaded(page: TestClient, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "img" / "3_cat", "a.png")
    answer = ask(page, do="add", path=str(tmp_path / "img"))
    assert "Added" in answer["told"]
    assert "3_cat" in answer["parts"]["ds-side"]
    file = page.get("/dataset/file")
    assert "attachment" in file.headers["content-disposition"]
    (subset,) = tomllib.loads(file.text)["datasets"][0]["subsets"]
    assert (subset["image_dir"], subset["num_repeats"]) == (str(folder), 3)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"do": "add", "path": "/etc"}, "may not open this place"),
        ({"do": "add", "path": ""}, "No folder is named"),
        ({"do": "open", "path": "/etc/passwd"}, "may not open this place"),
        ({"do": "no such verb"}, "no such request"),
        ({"do": "set", "spot": "7.7", "key": "num_repeats", "value": "1"}, "is gone"),
        ({"do": "save", "path": ""}, "nothing to save"),
        ({"do": "uploaded", "folder": "../runs_dir"}, "no folder of uploads"),
        ({"do": "page", "page": "one"}, "is no number"),
    ],
)
def test_what_cannot_be_done_is_told(page: TestClient, request_: dict[str, Any], words: str) -> None:
    answer = ask(page, **request_)
    assert answer["failed"]
    assert words in answer["told"]


def test_an_upload_keeps_its_folders_and_leaves_out_what_is_no_picture(page: TestClient, tmp_path: Path) -> None:
    folder = page.post("/dataset/folder", json={"name": "my/cats"}).json()["folder"]
    source = pictures(tmp_path / "source", "a.png") / "a.png"
    kept = page.post("/dataset/upload", params={"folder": folder, "name": "2_cat/a.png"}, content=source.read_bytes()).json()
    left = page.post("/dataset/upload", params={"folder": folder, "name": "run.exe"}, content=b"MZ").json()
    assert (kept["kept"], len(left["left"])) == (1, 1)
    assert (tmp_path / "datasets_dir" / folder / "2_cat" / "a.png").read_bytes() == source.read_bytes()
    assert "Added" in ask(page, do="uploaded", folder=folder)["told"]


@pytest.mark.parametrize(("folder", "name"), [("none", "a.png"), ("..", "a.png"), ("{made}", "../../a.png"), ("{made}", "C:\\a.png")])
def test_an_upload_never_leads_out_of_its_folder(page: TestClient, tmp_path: Path, folder: str, name: str) -> None:
    made = page.post("/dataset/folder", json={"name": "x"}).json()["folder"]
    before = sorted(tmp_path.rglob("*"))
    answer = page.post("/dataset/upload", params={"folder": folder.format(made=made), "name": name}, content=b"x").json()
    assert answer["failed"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_caption_is_shown_as_each_encoding_reads_it_and_converted(page: TestClient, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "img", "a.png")
    (folder / "a.txt").write_bytes("süße Katze".encode("cp1252"))
    ask(page, do="add", path=str(folder))
    offered = page.post("/dataset/readings", json={"spot": "0.0", "caption": "a.txt"}).json()["readings"]
    assert ["cp1252", "süße Katze"] in [[encoding, text] for encoding, _, text in offered]
    ask(page, do="convert", spot="0.0", caption="a.txt", encoding="cp1252")
    assert (folder / "a.txt").read_text("utf-8") == "süße Katze"
