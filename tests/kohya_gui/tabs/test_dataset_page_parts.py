"""The Dataset page as HTML: what people see of a document and its pictures, and that no name of theirs becomes markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kohya_gui.configs import Draft
from kohya_gui.dataset_desk import DatasetDesk
from kohya_gui.dataset_pictures import ERRORS, NOTES, Trouble
from kohya_gui.dataset_verbs import VERBS, answer
from kohya_gui.drafts import Drafts
from kohya_gui.files import Roots
from kohya_gui.markup import VOID
from kohya_gui.settings import Settings
from kohya_gui.tabs.dataset import parts
from kohya_gui.tabs.dataset_main import PER_PAGE, kind_words
from kohya_gui.tabs.dataset_sight import Sight, make_sight, subset_name
from kohya_gui.tabs.dataset_words import does, trouble_words

USER = "local"
EVIL = '3_<img src=x onerror="alert(1)">&'
Draw = Callable[..., dict[str, str]]


class Reader(HTMLParser):
    """Checks that tags close in order; collects texts and the requests of buttons."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.names: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.text = ""
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        given = dict(attrs)
        assert "onerror" not in given
        self.requests += [json.loads(str(given[name])) for name in ("data-do", "data-then") if name in given]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "svg"):
            assert self.stack.pop() == tag
        else:
            self.stack = [name for name in self.stack if name not in ("path", "svg")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def desk(tmp_path: Path) -> DatasetDesk:
    """The page on a server that may use the test's folder alone."""
    settings = Settings(allowed_roots=(tmp_path,), **{name: tmp_path / name for name in ("runs_dir", "output_dir", "models_dir", "datasets_dir")})
    drafts = Drafts(tmp_path / "drafts", Draft().with_value("resolution", "64,64").with_value("caption_extension", ".txt"))
    return DatasetDesk(tmp_path / "state", lambda: settings, lambda: Roots((tmp_path,)), lambda: drafts)


@pytest.fixture
def draw(desk: DatasetDesk) -> Draw:
    """Make requests, then read the page's parts."""

    def drawn(*requests: dict[str, Any]) -> dict[str, str]:
        for request in requests:
            answer(desk, USER, request)
        return parts(make_sight(desk, USER, "/root", wait=20))

    return drawn


def picture(path: Path, size: tuple[int, int] = (64, 64), *, caption: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (len(path.name) * 7 % 256, size[0] % 256, 90)).save(path)
    if caption:
        path.with_suffix(".txt").write_text(caption, "utf-8")


def test_an_empty_page_says_what_will_be_here(draw: Draw) -> None:
    page = draw()
    assert "No dataset yet" in page["ds-main"]
    assert {"do": "from-train"} in Reader(page["ds-main"]).requests
    assert "Drop pictures, folders or a zip here" in page["ds-side"]
    assert "ds-plan" not in page["ds-side"] and "ds-card" not in page["ds-side"]
    assert page["ds-bar"].count(" disabled") == 4  # save, use, undo, redo


def test_no_name_becomes_markup_in_any_view(draw: Draw, tmp_path: Path) -> None:
    folder = tmp_path / EVIL
    picture(folder / '"><script>.png', (300, 64), caption="<b>bold</b> & more")
    picture(folder / "plain.png")
    (folder / "broken<i>.png").write_bytes(b"x")
    (folder / "latin<u>.txt").write_bytes(b"\xe4")
    picture(folder / "latin<u>.png")
    for view in ("pictures", "options", "buckets"):
        page = draw({"do": "add", "path": str(folder)}) if view == "pictures" else draw({"do": "view", "view": view})
        for part in page.values():
            read = Reader(part)
            assert not {"script", "b", "u"} & set(read.names) - {"b"}
            assert "<script" not in part and "<img src=x" not in part and "<b>bold" not in part and "<i>.png" not in part
    shown = draw({"do": "view", "view": "pictures"})
    assert EVIL in Reader(shown["ds-side"]).text
    assert "<b>bold</b> & more" in Reader(shown["ds-main"]).text
    assert "broken<i>.png" in Reader(shown["ds-side"]).text


def test_every_button_makes_a_request_that_there_is(draw: Draw, tmp_path: Path) -> None:
    picture(tmp_path / "3_cat" / "a.png", (300, 64), caption="one\ntwo")
    picture(tmp_path / "3_cat" / "b.png")
    picture(tmp_path / "3_cat" / "deep" / "c.png")
    (tmp_path / "3_cat" / "x.png").write_bytes(b"x")
    views = ({"do": "view", "view": view} for view in ("pictures", "options", "buckets"))
    asked = [
        request["do"]
        for view in ({"do": "add", "path": str(tmp_path / "3_cat")}, *views)
        for part in draw(view).values()
        for request in Reader(part).requests
    ]
    assert set(asked) <= set(VERBS)
    assert {"aside", "nested", "find", "choose", "move", "copy", "remove", "only", "set", "view", "again"} <= set(asked)


def test_what_is_wrong_with_a_picture_stands_at_it_with_its_fix(draw: Draw, tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    picture(folder / "latin.png")
    (folder / "latin.txt").write_bytes("süß".encode("cp1252"))
    page = draw({"do": "add", "path": str(folder)}, {"do": "find", "path": str(folder / "latin.txt")})
    assert page["ds-main"].count('class="ds-file-name"') == 1
    assert "The caption latin.txt is not UTF-8." in page["ds-main"]
    assert 'data-caption="latin.txt"' in page["ds-main"]
    assert ">caption not UTF-8</a>" in page["ds-main"]
    assert "cats/latin.txt" in Reader(page["ds-side"]).text
    assert {"do": "find", "path": str(folder / "latin.txt")} in Reader(page["ds-side"]).requests


def test_the_part_that_is_cut_away_is_drawn(draw: Draw, tmp_path: Path) -> None:
    picture(tmp_path / "cats" / "wide.png", (128, 64), caption="x")
    page = draw({"do": "add", "path": str(tmp_path / "cats")}, {"do": "set", "spot": "0", "key": "enable_bucket", "value": "false"})
    (inset,) = re.findall(r'class="ds-cut"[^>]*style="inset:([^"]+)"', page["ds-main"])
    assert inset.split() == ["0.00%", "25.00%", "0.00%", "25.00%"]
    assert "lost 50%" in page["ds-main"]


def test_long_lists_come_in_pages(draw: Draw, tmp_path: Path) -> None:
    for number in range(PER_PAGE + 3):
        picture(tmp_path / "many" / f"{number:03}.png", (16 + number, 16), caption="x")
    first = draw({"do": "add", "path": str(tmp_path / "many")})["ds-main"]
    assert first.count('class="ds-file-name"') == PER_PAGE
    assert f"1 to {PER_PAGE} of {PER_PAGE + 3}" in first
    last = draw({"do": "page", "page": 99})["ds-main"]
    assert last.count('class="ds-file-name"') == 3
    assert {"do": "page", "page": 0} in Reader(last).requests


def test_long_names_stay_whole_where_they_are_pointed_at(draw: Draw, tmp_path: Path) -> None:
    name = "sehr_langer_name_" * 12 + ".png"
    picture(tmp_path / ("Ordner " * 20).strip() / name, caption="wort " * 400)
    page = draw({"do": "add", "path": str(tmp_path / ("Ordner " * 20).strip())})
    assert f'title="{name}"' in page["ds-main"]
    assert f'title="{tmp_path / ("Ordner " * 20).strip()}"' in page["ds-side"]


def test_a_field_says_what_holds_and_who_says_so(draw: Draw, tmp_path: Path) -> None:
    picture(tmp_path / "cats" / "a.png", caption="x")
    draw({"do": "add", "path": str(tmp_path / "cats")}, {"do": "set", "spot": "", "key": "keep_tokens", "value": "2"})
    main = draw({"do": "choose", "spot": "0.0", "view": "options"})["ds-main"]
    assert "Now 2, as it is for all datasets." in main
    assert "Now off, as the Train page says." in main
    wrong = draw({"do": "set", "spot": "0.0", "key": "num_repeats", "value": '<many "x">'})
    assert 'value="&lt;many &quot;x&quot;&gt;"' in wrong["ds-main"] and 'value="&lt;many &quot;x&quot;&gt;"' in wrong["ds-side"]
    assert wrong["ds-main"].count('role="alert"') == 1


def test_keys_that_mean_nothing_are_shown_with_a_way_out(draw: Draw, tmp_path: Path) -> None:
    picture(tmp_path / "cats" / "a.png", caption="x")
    text = f'[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{tmp_path / "cats"}"\n"<odd>" = 1\n'
    page = draw({"do": "open-text", "text": text, "name": "d.toml"}, {"do": "view", "view": "options"})
    assert "&lt;odd&gt;" in page["ds-main"]
    assert {"do": "drop", "spot": "0.0", "key": "<odd>"} in Reader(page["ds-main"]).requests
    assert "A training would refuse this dataset as it is." in page["ds-side"]


def test_buckets_are_a_table_with_examples(draw: Draw, tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "cats" / f"{number}.png", (64, 64), caption=str(number))
    main = draw({"do": "add", "path": str(tmp_path / "cats")}, {"do": "view", "view": "buckets"})["ds-main"]
    assert '<th scope="row">64 × 64</th>' in main
    assert main.count("data-view-picture") == 3
    assert 'href="/root/' in main


def test_the_bar_says_where_a_dataset_came_from_and_whether_it_is_saved(draw: Draw, desk: DatasetDesk, tmp_path: Path) -> None:
    picture(tmp_path / "3_cat" / "a.png", caption="x")
    desk.drafts().update(USER, lambda draft: draft.with_value("train_data_dir", str(tmp_path)))
    assert "Begun with the folders of the Train page." in draw({"do": "arrive"})["ds-bar"]
    assert "d.toml is saved. The Train page uses it." in draw({"do": "use", "path": str(tmp_path / "d.toml")})["ds-bar"]
    changed = draw({"do": "set", "spot": "0.0", "key": "num_repeats", "value": "9"})["ds-bar"]
    assert "d.toml, which the Train page uses, has changes that are not saved." in changed
    assert "Not saved yet." in draw({"do": "new"}, {"do": "add", "path": str(tmp_path / "3_cat")})["ds-bar"]


def test_a_folder_that_is_gone_says_so_on_its_card(draw: Draw, tmp_path: Path) -> None:
    text = f'[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{tmp_path / "gone"}"\n'
    side = draw({"do": "open-text", "text": text, "name": "d.toml"})["ds-side"]
    assert "does not exist" in Reader(side).text
    assert "A training would refuse" in side


def test_while_somebody_looks_it_is_said(desk: DatasetDesk, tmp_path: Path) -> None:
    picture(tmp_path / "cats" / "a.png")
    answer(desk, USER, {"do": "add", "path": str(tmp_path / "cats")})
    sight = make_sight(desk, USER, "", wait=20)
    job = type(sight.job)(key="other", done=3, total=1_200)
    waiting = parts(Sight(sight.state, sight.data, sight.config, job, {}, sight.datasets_dir))
    assert "Looking at pictures: 3 of 1,200" in waiting["ds-side"]
    assert "Looking…" in waiting["ds-main"]
    job.wrong = "The disk <is> gone."
    failed = parts(Sight(sight.state, sight.data, sight.config, job, {}, sight.datasets_dir))
    assert "The disk &lt;is&gt; gone." in failed["ds-side"]


KINDS = ("unreadable", "encoding", "mask", "no mask", "no caption", "blank caption", "class words", "lines", "small", "long", "cut", "twin")
KINDS += ("same name", "animated", "CMYK", "16 bit", "palette", "mask size")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_trouble_has_a_sentence_and_a_short_name(kind: str) -> None:
    assert trouble_words(Trouble(kind, "Such a thing.")).endswith((".", "Such a thing."))
    assert len(kind_words(kind)) < 24


def test_every_kind_that_has_a_severity_is_known() -> None:
    assert set(NOTES) | set(ERRORS) <= set(KINDS)


def test_a_request_survives_being_an_attribute() -> None:
    request: dict[str, object] = {"do": "find", "path": "/a \"b\"/<c> & 'd'/ö.png"}
    assert Reader(does("<x>", request=request)).requests == [request]


@pytest.mark.parametrize(
    ("table", "name"),
    [({"image_dir": "/a/b ö"}, "b ö"), ({"image_dir": "/a", "metadata_file": "/m/x.json"}, "x.json"), ({"image_dir": "/"}, "/"), ({}, "No folder")],
)
def test_a_folder_is_called_by_its_own_name(table: dict[str, str], name: str) -> None:
    assert subset_name(table) == name
