"""What the Captions page's script asks: answers, and refusals as a sentence with what the script needs to go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from kohya_gui.app import build_app
from kohya_gui.settings import ServerOptions, Settings


@pytest.fixture
def page(tmp_path: Path) -> Iterator[TestClient]:
    """A server with one captioned picture in its only folder."""
    folders = {name: tmp_path / name for name in ("runs_dir", "output_dir", "models_dir", "datasets_dir")}
    (tmp_path / "img").mkdir()
    Image.new("RGB", (16, 16), "teal").save(tmp_path / "img" / "a.png")
    (tmp_path / "img" / "a.txt").write_text("a cat", "utf-8")
    with TestClient(build_app(Settings(allowed_roots=(tmp_path,), **folders), ServerOptions()), base_url="http://127.0.0.1") as client:
        yield client


def ask(page: TestClient, verb: str, /, **request: Any) -> dict[str, Any]:
    """A verb's answer."""
    return page.post(f"/captions/{verb}", json=request).json()


def test_a_refusal_is_a_sentence(page: TestClient) -> None:
    refused = ask(page, "open", folder="/etc")
    assert refused["failed"] and "may not open this place" in refused["told"]
    assert page.post("/captions/sing", json={}).status_code == 404
    assert page.post("/captions/open", content=b"[1]").status_code == 400


def test_a_place_that_is_another_one_now_is_to_be_opened_again(page: TestClient, tmp_path: Path) -> None:
    moved = ask(page, "list", token="gone", folder=str(tmp_path / "img"))
    assert (moved["failed"], moved["moved"]) == (True, True)


def test_a_caption_that_changed_meanwhile_is_not_overwritten(page: TestClient, tmp_path: Path) -> None:
    token = ask(page, "open", folder=str(tmp_path / "img"))["token"]
    (shown,) = ask(page, "entries", token=token, names=["a.png"])["entries"]
    (tmp_path / "img" / "a.txt").write_text("a dog <b>", "utf-8")
    kept = ask(page, "save", token=token, name="a.png", text="a bird", version=shown["version"])
    assert kept["failed"] and "Another program changed this caption" in kept["told"]
    assert kept["conflict"]["text"] == "a dog <b>"
    assert (tmp_path / "img" / "a.txt").read_text("utf-8") == "a dog <b>"


def test_names_of_a_large_place_fit_into_a_request(page: TestClient, tmp_path: Path) -> None:
    token = ask(page, "open", folder=str(tmp_path / "img"))["token"]
    names = ["a.png", *(f"{number:060}.png" for number in range(10_000))]
    assert [row["name"] for row in ask(page, "entries", token=token, names=names)["entries"]] == ["a.png"]
