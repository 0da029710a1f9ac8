"""The Captions page in a browser: a folder opened, one caption edited, many changed at once, taken back; the files on the disk say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import Server
from tests.e2e.test_accessibility import found

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CAPTIONS = {"a": "cat, red, sitting", "b": "cat, blue", "c": "dog, red"}


@pytest.fixture
def folder(server: Server, request: pytest.FixtureRequest) -> Path:
    """Four pictures, three with captions."""
    made = server.folder / f"captions {abs(hash(request.node.name))} ü"
    made.mkdir()
    for name in (*CAPTIONS, "d"):
        Image.new("RGB", (64, 64), "teal").save(made / f"{name}.png")
    for name, text in CAPTIONS.items():
        (made / f"{name}.txt").write_text(text, "utf-8")
    return made


def texts(folder: Path) -> dict[str, str]:
    """What the caption files say."""
    return {path.stem: path.read_text("utf-8").strip() for path in sorted(folder.glob("*.txt"))}


def opened(server: Server, open_page: Callable[..., Page], folder: Path, **options: object) -> Page:
    """The page with the folder."""
    page = open_page(f"{server.url}/captions?folder={quote(str(folder))}", **options)
    expect(page.locator("#captions-grid [role=option]")).to_have_count(4)
    return page


def test_one_caption_is_edited_and_many_are_changed_and_taken_back(server: Server, open_page: Callable[..., Page], folder: Path) -> None:
    page = opened(server, open_page, folder)
    expect(page.locator("#captions-tags")).to_contain_text("red")
    page.locator("#captions-grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.locator("#editor-text").fill("cat, red, lying")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#editor-name")).to_contain_text("b")
    page.keyboard.press("Escape")
    assert texts(folder)["a"] == "cat, red, lying"
    page.locator("#captions-change").click()
    page.locator("#captions-bar [data-do=replace]").click()
    page.locator("#edit-find").fill("red")
    page.locator("#edit-put").fill("crimson")
    expect(page.locator("#edit-examples")).to_contain_text("crimson")
    page.locator("#edit-apply").click()
    expect(page.locator("#captions-told")).to_contain_text("2")
    assert texts(folder) == {"a": "cat, crimson, lying", "b": "cat, blue", "c": "dog, crimson"}
    page.locator("#captions [data-step=undo]").click()
    expect(page.locator("#captions-tags")).to_contain_text("red")
    expect(page.locator("#captions-tags")).not_to_contain_text("crimson")
    assert texts(folder) == {**CAPTIONS, "a": "cat, red, lying"}


def test_what_is_typed_before_the_caption_is_there_waits_for_it(server: Server, open_page: Callable[..., Page], folder: Path) -> None:
    page = open_page("about:blank")
    held: list[Route] | None = []
    page.route("**/captions/entries*", lambda route: route.continue_() if held is None else held.append(route))
    page.goto(f"{server.url}/captions?folder={quote(str(folder))}&picture=b.png")
    box = page.locator("#editor-text")
    expect(box).to_be_focused()
    expect(box).not_to_be_editable()
    expect(box).to_have_value("")
    arrived, held = held, None
    for route in arrived:
        route.continue_()
    expect(box).to_have_value("cat, blue")
    box.fill("cat, blue, lying")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#editor-name")).to_contain_text("c")
    assert texts(folder) == {**CAPTIONS, "b": "cat, blue, lying"}


def test_a_click_on_the_picture_that_is_edited_keeps_what_was_typed(server: Server, open_page: Callable[..., Page], folder: Path) -> None:
    page = opened(server, open_page, folder)
    page.locator("#captions-grid .caption-card").first.click()
    page.locator("#editor-text").fill("cat, red, lying")
    page.route("**/captions/save*", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.locator("#captions-grid .caption-card").first.click()
    expect(page.locator("#editor-told")).to_have_text("")
    expect(page.locator("#editor-text")).to_have_value("cat, red, lying")
    page.locator("#captions-grid .caption-card").nth(1).click()
    expect(page.locator("#editor-name")).to_contain_text("b")
    assert texts(folder) == {**CAPTIONS, "a": "cat, red, lying"}


def test_tags_are_added_to_chosen_pictures_and_the_trigger_word_to_all(server: Server, open_page: Callable[..., Page], folder: Path) -> None:
    page = opened(server, open_page, folder)
    page.locator("#captions-grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    page.keyboard.press("a")
    page.locator("#edit-words").fill("smiling")
    page.locator("#edit-apply").click()
    expect(page.locator("#captions-tags")).to_contain_text("smiling")
    assert [name for name, text in texts(folder).items() if "smiling" in text] == ["a"]
    page.locator("#captions-trigger").fill("ohwx")
    expect(page.locator("#captions-lacking")).to_contain_text("Pictures that lack them: 4")


def test_another_folder_is_opened_in_the_place_of_one(server: Server, open_page: Callable[..., Page], folder: Path) -> None:
    page = opened(server, open_page, folder)
    other = server.folder / "other captions"
    other.mkdir(exist_ok=True)
    for name in ("x", "y"):
        Image.new("RGB", (64, 64), "red").save(other / f"{name}.png")
    (other / "broken.png").write_bytes(b"no picture")
    for place, pictures in ((other, 3), (folder, 4)):
        page.locator("#captions-folder").fill(str(place))
        page.keyboard.press("Enter")
        expect(page.locator("#captions-grid [role=option]")).to_have_count(pictures)
        expect(page.locator("#captions-grid .name").first).to_have_text("broken.png" if place == other else "a.png")
    page.goto(f"{server.url}/captions?folder={quote(str(other))}&picture=broken.png")
    expect(page.locator("#editor-unread")).to_be_visible()
    expect(page.locator("#editor-picture")).to_be_hidden()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_has_no_grave_violation(server: Server, open_page: Callable[..., Page], folder: Path, scheme: str, width: int) -> None:
    page = opened(server, open_page, folder, viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong = {"grid": found(page)}
    page.locator("#captions-change").click()
    page.locator("#captions-bar [data-do=replace]").click()
    wrong["changes"] = found(page)
    assert {part: rows for part, rows in wrong.items() if rows} == {}
