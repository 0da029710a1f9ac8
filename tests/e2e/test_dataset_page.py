"""The Dataset page in a browser: folders named and uploaded, options, fixes, undo, saving without losing a key, and the way to the Train page."""

from __future__ import annotations

import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Complaints, Server
from tests.e2e.pages import field
from tests.e2e.test_accessibility import found

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def draw(folder: Path, name: str, size: tuple[int, int] = (64, 64), caption: str = "") -> None:
    """A picture, and a caption if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(folder / name)
    if caption:
        (folder / name).with_suffix(".txt").write_text(caption, "utf-8")


@pytest.fixture
def page(server: Server, open_page: Callable[..., Page]) -> Page:
    """The page with an empty dataset."""
    page = open_page(f"{server.url}/dataset")
    page.locator("#ds-bar input").wait_for()
    page.locator(".ds-more > summary").click()
    page.get_by_role("button", name="Empty dataset").click()
    expect(page.locator("#ds-main")).to_contain_text("No dataset yet")
    return page


def add(page: Page, folder: Path) -> None:
    """Add a folder of this machine."""
    page.locator("#ds-folder").fill(str(folder))
    page.keyboard.press("Enter")
    expect(page.locator("#ds-told")).to_contain_text("Added")


def test_a_folder_is_added_edited_saved_and_used(server: Server, page: Page) -> None:
    folder = server.folder / "set 猫" / "4_cat"
    draw(folder, "a.png", (96, 64), "a cat")
    draw(folder, "b.png", (64, 64), "a dog")
    add(page, folder.parent)
    card = page.locator(".ds-card")
    expect(card).to_contain_text("2 pictures · 2 captions")
    expect(card.get_by_label("Repeats")).to_have_value("4")
    expect(page.locator(".ds-plan .formula")).to_contain_text("2 images × 4 repeats = 8")
    card.get_by_label("Repeats").fill("6")
    page.keyboard.press("Tab")
    expect(page.locator(".ds-plan .formula")).to_contain_text("2 images × 6 repeats = 12")
    expect(card.get_by_label("Class words")).to_be_focused()
    page.get_by_role("button", name="Undo").click()
    expect(card.get_by_label("Repeats")).to_have_value("4")
    page.get_by_role("button", name="Options", exact=True).click()
    page.locator("#ds-o-num_repeats").fill("many")
    page.keyboard.press("Tab")
    expect(page.locator("#ds-shown .message")).to_contain_text("many")
    page.locator("#ds-o-num_repeats").fill("3")
    page.keyboard.press("Tab")
    expect(page.locator("#ds-shown .message")).to_have_count(0)
    page.get_by_role("button", name="Use in Train").click()
    expect(page.locator("#ds-told .told.good")).to_contain_text("The Train page uses")
    file = Path(page.locator("#ds-path").input_value())
    (dataset,) = tomllib.loads(file.read_text("utf-8"))["datasets"]
    (subset,) = dataset["subsets"]
    assert (subset["image_dir"], subset["num_repeats"], subset["class_tokens"]) == (str(folder), 3, "cat")
    page.get_by_role("link", name="Open it").click()
    expect(field(page, "dataset_config")).to_have_value(str(file))


def test_what_is_typed_while_an_answer_is_on_its_way_stays(server: Server, page: Page) -> None:
    folder = server.folder / "slow" / "2_cat"
    draw(folder, "a.png", (64, 64), "a cat")
    add(page, folder.parent)
    card = page.locator(".ds-card")
    page.route("**/dataset/do", lambda route: (page.wait_for_timeout(400), route.continue_()))
    card.get_by_label("Repeats").fill("6")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("tabby")
    page.locator("#ds-folder").evaluate("entry => { entry.value = 'half a pa'; }")
    expect(page.locator(".ds-plan .formula")).to_contain_text("1 image × 6 repeats = 6")
    expect(card.get_by_label("Class words")).to_have_value("tabby")
    expect(page.locator("#ds-folder")).to_have_value("half a pa")
    page.keyboard.press("Tab")
    page.locator("#ds-save").click()
    expect(page.locator("#ds-told .told.good")).to_be_visible()
    (dataset,) = tomllib.loads(Path(page.locator("#ds-path").input_value()).read_text("utf-8"))["datasets"]
    assert (dataset["subsets"][0]["num_repeats"], dataset["subsets"][0]["class_tokens"]) == (6, "tabby")


def test_uploads_land_in_a_folder_of_their_own(server: Server, page: Page, tmp_path: Path) -> None:
    draw(tmp_path / "dogs", "one.png", caption="a dog")
    with zipfile.ZipFile(tmp_path / "dogs.zip", "w") as packed:
        packed.write(tmp_path / "dogs" / "one.png", "5_dog/one.png")
        packed.write(tmp_path / "dogs" / "one.txt", "5_dog/one.txt")
        packed.writestr("notes.exe", b"x")
    page.locator("#ds-files").set_input_files(tmp_path / "dogs.zip")
    expect(page.locator("#ds-told")).to_contain_text("One file was left out. notes.exe")
    expect(page.locator(".ds-card")).to_contain_text("1 picture · 1 caption")
    expect(page.locator(".ds-card").get_by_label("Repeats")).to_have_value("5")
    assert (server.folder / "datasets" / "dogs" / "5_dog" / "one.txt").read_text("utf-8") == "a dog"


def drop(page: Page, *paths: Path) -> None:
    """Drop files and folders onto the page, anywhere, as a hand does."""
    browser = page.context.new_cdp_session(page)
    box = page.locator("#ds-work").bounding_box() or {}
    place = {"x": box["x"] + 40, "y": box["y"] + 20, "data": {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1}}
    for kind in ("dragEnter", "dragOver"):
        browser.send("Input.dispatchDragEvent", {"type": kind, **place})
    expect(page.locator("#ds-hint")).to_be_visible()
    browser.send("Input.dispatchDragEvent", {"type": "drop", **place})
    expect(page.locator("#ds-hint")).to_be_hidden()


def test_a_dropped_folder_keeps_what_its_names_say(server: Server, page: Page, tmp_path: Path) -> None:
    for number in range(12):
        draw(tmp_path / "Projekt ä" / "img" / "3_süße Katze", f"Bild {number}.png", caption="x")
    draw(tmp_path / "Projekt ä" / "reg" / "1_katze", "r.png")
    (tmp_path / "Projekt ä" / "film.mp4").write_bytes(b"x")
    drop(page, tmp_path / "Projekt ä")
    expect(page.locator("#ds-told")).to_contain_text("Added 2 folders of Projekt ä.")
    expect(page.locator("#ds-told")).to_contain_text("One file was left out. film.mp4")
    first, second = page.locator(".ds-card").all()
    expect(first).to_contain_text("12 pictures · 12 captions")
    expect(first.get_by_label("Repeats")).to_have_value("3")
    expect(first.get_by_label("Class words")).to_have_value("süße Katze")
    expect(second.get_by_label("Regularisation")).to_be_checked()
    # A folder that is called 5_dog stays that: the number that a second one of its name gets is no word of the class.
    draw(tmp_path / "5_dog", "a.png")
    for count in (3, 4):
        drop(page, tmp_path / "5_dog")
        expect(page.locator(".ds-card")).to_have_count(count)
        expect(page.locator(".ds-card").last.get_by_label("Class words")).to_have_value("dog")


def test_an_upload_is_cancelled(server: Server, page: Page, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / "slow").mkdir(exist_ok=True)
        (tmp_path / "slow" / f"{number}.png").write_bytes(b"x" * 40_000)
    browser = page.context.new_cdp_session(page)
    browser.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 60_000}
    browser.send("Network.emulateNetworkConditions", slow)
    drop(page, tmp_path / "slow")
    expect(page.locator("#ds-upload")).to_contain_text("of 6 files")
    assert (server.folder / "datasets" / "slow").is_dir()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#ds-told")).to_contain_text("Cancelled.")
    expect(page.locator("#ds-upload")).to_be_hidden()
    assert not (server.folder / "datasets" / "slow").exists()
    expect(page.locator(".ds-card")).to_have_count(0)


def test_what_did_not_arrive_is_sent_again_or_left_out(server: Server, page: Page, complaints: Complaints, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / "torn", name)
    page.route("**/dataset/upload*b.png*", lambda route: route.abort())
    drop(page, tmp_path / "torn")
    card = page.locator("#ds-upload")
    expect(card).to_contain_text("One file did not arrive: b.png.")
    card.get_by_role("button", name="Send again").click()
    expect(card).to_contain_text("One file did not arrive: b.png.")
    page.unroute("**/dataset/upload*b.png*")
    card.get_by_role("button", name="Send again").click()
    expect(card).to_be_hidden()
    expect(page.locator(".ds-card")).to_contain_text("3 pictures")
    page.route("**/dataset/upload*b.png*", lambda route: route.abort())
    drop(page, tmp_path / "torn")
    card.get_by_role("button", name="Go on without").click()
    expect(page.locator("#ds-told")).to_contain_text("One file did not arrive and is left out.")
    expect(page.locator(".ds-card")).to_have_count(2)
    assert sorted(path.name for path in (server.folder / "datasets" / "torn-2").rglob("*.png")) == ["a.png", "c.png"]
    torn = [line for line in complaints.found if "ERR_FAILED" in line]
    assert len(torn) == 3
    complaints.found = [line for line in complaints.found if line not in torn]


def test_unknown_keys_stay_and_a_problem_is_mended(server: Server, page: Page) -> None:
    folder = server.folder / "mend"
    draw(folder, "a.png")
    draw(folder, "wide.png", (300, 64), "wide")
    (folder / "broken.png").write_bytes(b"nothing")
    file = server.folder / "mend.toml"
    text = f'# mine\nfuture_key = 1\n\n[[datasets]]\nresolution = 64\n\n[[datasets.subsets]]\nimage_dir = "{folder}"\nodd = "x"\n'
    file.write_text(text, "utf-8")
    page.locator("#ds-path").fill(str(file))
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.locator("#ds-told")).to_contain_text("Opened mend.toml.")
    broken = page.locator(".ds-grid > li", has_text="broken.png")
    broken.get_by_role("button", name="Set aside").click()
    expect(page.locator(".ds-aside")).to_contain_text("Set aside: 1 picture")
    assert not (folder / "broken.png").exists()
    page.locator(".ds-aside summary").click()
    page.locator(".ds-aside").get_by_role("button", name="Bring back").click()
    expect(broken).to_be_visible()
    expect(page.locator(".ds-grid .ds-cut")).to_have_count(1)
    page.locator(".ds-card").get_by_label("Class words").fill("a square")
    page.keyboard.press("Tab")
    expect(page.locator("#ds-saved")).to_contain_text("not saved")
    page.locator("#ds-save").click()
    expect(page.locator("#ds-told")).to_contain_text("Saved as")
    assert file.read_text("utf-8") == text + 'class_tokens = "a square"\n'


def test_a_broken_picture_is_mended_from_the_train_page(server: Server, page: Page) -> None:
    folder = server.folder / "Bilder ö" / "2_cat"
    draw(folder, "a.png", caption="a cat")
    (folder / "kaputt ö.png").write_bytes(b"no picture")
    page.goto(server.url)
    page.locator("#config-reset").click()
    expect(page.locator("#outcome .told.good")).to_be_visible()
    field(page, "train_data_dir").fill(str(folder.parent))
    problem = page.locator("#plan li", has_text="2_cat/kaputt ö.png")
    expect(problem).not_to_contain_text(str(folder))
    problem.get_by_role("link").click()
    expect(page.locator(".ds-file-name")).to_have_text("kaputt ö.png")
    page.locator(".ds-grid").get_by_role("button", name="Set aside").click()
    expect(page.locator("#ds-told").get_by_role("button", name="Bring back")).to_be_visible()
    page.goto(server.url)
    expect(page.locator("#plan")).to_contain_text("1 picture, 1 caption")
    expect(page.locator("#plan")).not_to_contain_text("kaputt")
    assert (folder / ".set-aside" / "kaputt ö.png").read_bytes() == b"no picture"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_has_no_grave_violation(server: Server, open_page: Callable[..., Page], scheme: str, width: int) -> None:
    folder = server.folder / f"axe {width}"
    draw(folder, "a.png", (96, 64), "a cat")
    draw(folder, "b.png")
    page = open_page(f"{server.url}/dataset", viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.locator("#ds-folder").wait_for()
    add(page, folder)
    page.locator(".ds-card.is-chosen .ds-name").click()
    expect(page.locator("#ds-main h2")).to_be_in_viewport()
    wrong = {}
    for view in ("Pictures", "Options", "Buckets"):
        page.get_by_role("button", name=view, exact=True).click()
        expect(page.get_by_role("button", name=view, exact=True)).to_have_attribute("aria-pressed", "true")
        wrong[view] = found(page)
    assert {view: rows for view, rows in wrong.items() if rows} == {}
