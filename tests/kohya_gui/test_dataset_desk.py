"""The verbs of the Dataset page and the desk they work at: what each does to the document, what it refuses, and that it can be taken back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kohya_gui.configs import Draft
from kohya_gui.dataset_desk import DatasetDesk, Told, number_of, read_spot, spot_text, text_of
from kohya_gui.dataset_verbs import VERBS, answer
from kohya_gui.drafts import Drafts
from kohya_gui.files import Roots
from kohya_gui.settings import Settings
from sd_scripts.errors import ConfigError, DataError, TrainingError

USER = "local"


@pytest.fixture
def desk(tmp_path: Path) -> DatasetDesk:
    """The page on a server that may use the test's folder alone."""
    settings = Settings(allowed_roots=(tmp_path,), **{name: tmp_path / name for name in ("runs_dir", "output_dir", "models_dir", "datasets_dir")})
    drafts = Drafts(tmp_path / "drafts", Draft())
    return DatasetDesk(tmp_path / "state", lambda: settings, lambda: Roots((tmp_path,)), lambda: drafts)


def do(desk: DatasetDesk, verb: str, **data: Any) -> Told:
    """One request."""
    return answer(desk, USER, {"do": verb, **data})


def text(desk: DatasetDesk) -> str:
    return desk.states.read(USER).document.text


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (64, 64), (number * 20, 90, 90)).save(folder / name)
    return folder


@pytest.fixture
def filled(desk: DatasetDesk, tmp_path: Path) -> DatasetDesk:
    """Two folders in the first dataset, one in the second."""
    for name in ("2_a", "3_b"):
        do(desk, "add", path=str(pictures(tmp_path / name, "x.png", "y.png")))
    do(desk, "add-dataset")
    do(desk, "add", path=str(pictures(tmp_path / "4_c", "z.png")), dataset=1)
    return desk


def layout(desk: DatasetDesk) -> list[list[str]]:
    """Names of the folders by dataset."""
    rows = tomllib.loads(text(desk))["datasets"]
    return [[Path(subset["image_dir"]).name for subset in row.get("subsets", [])] for row in rows]


def test_every_verb_that_changes_something_is_taken_back_and_done_again(filled: DatasetDesk) -> None:
    requests: list[dict[str, Any]] = [
        {"do": "set", "spot": "0.1", "key": "num_repeats", "value": "9"},
        {"do": "set", "spot": "", "key": "caption_extension", "value": ".caption"},
        {"do": "drop", "spot": "0.0", "key": "num_repeats"},
        {"do": "mend", "key": "enable_bucket", "value": "true"},
        {"do": "add-dataset"},
        {"do": "remove", "spot": "0.0"},
        {"do": "remove", "spot": "1"},
        {"do": "copy", "spot": "0.1"},
        {"do": "copy", "spot": "1"},
        {"do": "move", "spot": "0.1", "by": -1},
        {"do": "move", "spot": "0.1", "dataset": 1},
        {"do": "new"},
    ]
    before = text(filled)
    for request in requests:
        answer(filled, USER, request)
        after = text(filled)
        assert after != before, request
        do(filled, "undo")
        assert text(filled) == before, request
        do(filled, "redo")
        assert text(filled) == after, request
        do(filled, "undo")


def test_what_moves_stays_chosen(filled: DatasetDesk) -> None:
    do(filled, "move", spot="0.1", by=-1)
    assert (layout(filled), filled.states.read(USER).chosen) == ([["3_b", "2_a"], ["4_c"]], (0, 0))
    do(filled, "move", spot="0.0", by=1)
    assert (layout(filled), filled.states.read(USER).chosen) == ([["2_a", "3_b"], ["4_c"]], (0, 1))
    do(filled, "move", spot="0.1", dataset=1)
    assert (layout(filled), filled.states.read(USER).chosen) == ([["2_a"], ["4_c", "3_b"]], (1, 1))
    do(filled, "copy", spot="1.0")
    assert (layout(filled), filled.states.read(USER).chosen) == ([["2_a"], ["4_c", "4_c", "3_b"]], (1, 1))
    do(filled, "move", spot="1", by=-1)
    assert layout(filled) == [["4_c", "4_c", "3_b"], ["2_a"]]


@pytest.mark.parametrize("data", [{"spot": "0.0", "by": -1}, {"spot": "0.1", "by": 1}, {"spot": "0.0", "dataset": 0}, {"spot": "0.0", "dataset": 7}])
def test_a_move_to_nowhere_does_nothing(filled: DatasetDesk, data: dict[str, Any]) -> None:
    before = text(filled)
    do(filled, "move", **data)
    assert text(filled) == before


def test_a_wrong_value_stays_in_its_field_and_keeps_the_file_from_being_saved(filled: DatasetDesk, tmp_path: Path) -> None:
    before = text(filled)
    do(filled, "set", spot="0.0", key="num_repeats", value="viele")
    assert text(filled) == before
    wrong = filled.wrong[USER][(0, 0), "num_repeats"]
    assert wrong.text == "viele" and "viele" in wrong.message
    with pytest.raises(ConfigError, match="viele"):
        do(filled, "save", path=str(tmp_path / "d.toml"))
    do(filled, "set", spot="0.0", key="num_repeats", value="5")
    assert filled.wrong[USER] == {}
    assert str(tmp_path / "d.toml") in do(filled, "save", path=str(tmp_path / "d.toml")).sentence
    assert tomllib.loads((tmp_path / "d.toml").read_text("utf-8"))["datasets"][0]["subsets"][0]["num_repeats"] == 5


@pytest.mark.parametrize("key", ["image_dir", "conditioning_data_dir", "metadata_file"])
def test_no_field_leads_out_of_the_allowed_folders(filled: DatasetDesk, key: str) -> None:
    before = text(filled)
    do(filled, "set", spot="0.0", key=key, value="/etc")
    assert text(filled) == before
    assert filled.wrong[USER][(0, 0), key].text == "/etc"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"do": "nothing"}, "no such request"),
        ({"do": "set", "spot": "0.9", "key": "num_repeats", "value": "1"}, "is gone"),
        ({"do": "set", "spot": "0.0.0", "key": "num_repeats", "value": "1"}, "is gone"),
        ({"do": "remove", "spot": ""}, "is gone"),
        ({"do": "mend", "key": "image_dir", "value": "/"}, "no such request"),
        ({"do": "aside", "spot": "0.0", "name": "../4_c/z.png"}, "no such picture"),
        ({"do": "back", "spot": "0.0", "name": "x.png"}, "not among"),
        ({"do": "convert", "spot": "0.0", "caption": "../4_c/z.png", "encoding": "cp1252"}, "no such caption"),
        ({"do": "nested", "spot": "0.0"}, "no pictures"),
        ({"do": "cancel", "folder": ".."}, "no folder of uploads"),
        ({"do": "open", "path": " "}, "No file is named"),
        ({"do": "open-text", "text": "a = 1", "name": "a.toml"}, "no dataset file"),
        ({"do": "open-text", "text": "a = ", "name": "a.toml"}, "TOML"),
        ({"do": "save", "path": "/etc/d.toml"}, "may not open"),
        ({"do": "page", "page": True}, "is no number"),
        ({"do": "only", "only": 3}, "is no text"),
    ],
)
def test_what_cannot_be_done_changes_nothing(filled: DatasetDesk, data: dict[str, Any], words: str) -> None:
    before = filled.states.read(USER)
    with pytest.raises(TrainingError, match=words):
        answer(filled, USER, data)
    assert filled.states.read(USER) == before


def test_every_verb_refuses_an_empty_request_with_a_sentence_or_does_no_harm(filled: DatasetDesk) -> None:
    before = text(filled)
    for verb in sorted(set(VERBS) - {"new", "save", "use", "add-dataset", "undo", "redo"}):
        try:
            do(filled, verb)
        except TrainingError as refused:
            assert refused.message
        assert text(filled) == before, verb


def test_a_picture_is_found_by_its_name_alone(filled: DatasetDesk, tmp_path: Path) -> None:
    assert filled.picture(USER, {"spot": "0.0", "name": "x.png"}).path == tmp_path / "2_a" / "x.png"
    with pytest.raises(DataError, match="no such picture"):
        filled.picture(USER, {"spot": "0.0", "name": "z.png"})


def test_a_picture_goes_aside_and_its_folder_is_looked_at_anew(filled: DatasetDesk, tmp_path: Path) -> None:
    do(filled, "only", only="=x.png")
    said = do(filled, "aside", spot="0.0", name="x.png")
    assert filled.states.read(USER).only == "look"
    job = filled.look(USER)
    assert job.ready.wait(20) and job.found and list(job.found.subsets[0, 0].by_name) == ["y.png"]
    answer(filled, USER, said.offer)
    assert (tmp_path / "2_a" / "x.png").is_file()


def test_folders_below_one_are_added_once(desk: DatasetDesk, tmp_path: Path) -> None:
    pictures(tmp_path / "all", "a.png")
    pictures(tmp_path / "all" / "5_inner", "b.png")
    do(desk, "add", path=str(tmp_path / "all"))
    assert layout(desk) == [["all"]]
    do(desk, "nested", spot="0.0")
    assert layout(desk) == [["all", "5_inner"]]
    with pytest.raises(DataError, match="no pictures"):
        do(desk, "nested", spot="0.0")


def test_a_mended_key_is_set_where_it_is_otherwise(filled: DatasetDesk) -> None:
    do(filled, "set", spot="1", key="enable_bucket", value="false")
    assert do(filled, "mend", key="enable_bucket", value="true").sentence
    rows = tomllib.loads(text(filled))["datasets"]
    assert [row["enable_bucket"] for row in rows] == [True, True]
    assert do(filled, "mend", key="enable_bucket", value="true").sentence == ""


def test_each_user_has_a_page_of_his_own(filled: DatasetDesk) -> None:
    assert filled.states.read("anna").document.text == ""
    answer(filled, "anna", {"do": "add-dataset"})
    assert layout(filled) == [["2_a", "3_b"], ["4_c"]]


def test_a_file_that_another_program_changed_is_not_overwritten(filled: DatasetDesk, tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    do(filled, "save", path=str(file))
    file.write_text("# mine\n", "utf-8")
    do(filled, "set", spot="0.0", key="num_repeats", value="8")
    with pytest.raises(ConfigError, match="changed by another program"):
        do(filled, "save", path=str(file))
    assert file.read_text("utf-8") == "# mine\n"
    do(filled, "save", path=str(tmp_path / "other"))
    assert (tmp_path / "other.toml").is_file()
    with pytest.raises(ConfigError, match="exists"):
        do(filled, "save", path=str(file))


@pytest.mark.parametrize(("written", "spot"), [("", ()), ("0", (0,)), ("12.3", (12, 3))])
def test_a_place_is_read_as_it_is_written(written: str, spot: tuple[int, ...]) -> None:
    assert (read_spot(written), spot_text(spot)) == (spot, written)


@pytest.mark.parametrize("written", ["a", "-1", "1.2.3", "1.", "٣", "9999999", None, [1]])
def test_what_is_no_place_is_refused(written: object) -> None:
    with pytest.raises(ConfigError, match="is gone"):
        read_spot(written)


def test_values_of_a_request_have_their_type() -> None:
    assert (text_of({}, "a"), number_of({}, "a")) == ("", 0)
    for data in ({"a": "1"}, {"a": 1.5}, {"a": True}, {"a": None}):
        with pytest.raises(ConfigError, match="is no number"):
            number_of(data, "a")
    for value in (1, None, ["x"]):
        with pytest.raises(ConfigError, match="is no text"):
            text_of({"a": value}, "a")
