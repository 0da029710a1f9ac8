"""What a user has open on the Dataset page: undo, a choice that always exists, and a file that survives restarts and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_gui.dataset_document import Document
from kohya_gui.dataset_state import LONGEST_HISTORY, MOST_UNDONE, Edition, State, States
from sd_scripts.errors import RunError
from sd_scripts.survey.dataset_config import Spot

SUBSET = '[[datasets.subsets]]\nimage_dir = "{}"\n'
TWO = f"[[datasets]]\n{SUBSET.format('a')}{SUBSET.format('b')}[[datasets]]\n{SUBSET.format('c')}"


def doc(text: str) -> Document:
    return Document(text)


def numbered(number: int) -> Document:
    return doc(f"[general]\nbatch_size = {number}\n")


def test_every_edit_is_one_step_back_and_forth() -> None:
    state = State().with_document(numbered(1)).with_document(numbered(2))
    back = state.stepped(back=True)
    assert back.document == numbered(1)
    assert back.stepped(back=True).document == Document()
    assert back.stepped(back=False).document == numbered(2)
    assert state.stepped(back=False) == state
    assert State().stepped(back=True) == State()


def test_what_is_typed_into_one_place_is_one_step() -> None:
    state = State()
    for number in (1, 12, 123):
        state = state.with_document(numbered(number), typing="(0,) batch_size")
    state = state.with_document(numbered(5), typing="(1,) batch_size")
    assert [row.document for row in state.past] == [Document(), numbered(123)]


def test_an_edit_that_changes_nothing_is_no_step() -> None:
    state = State().with_document(numbered(1))
    assert state.with_document(numbered(1)) is state


def test_an_edit_after_undoing_forgets_what_was_undone() -> None:
    state = State().with_document(numbered(1)).stepped(back=True).with_document(numbered(2))
    assert state.undone == ()


def test_the_history_has_an_end() -> None:
    state = State()
    for number in range(MOST_UNDONE + 5):
        state = state.with_document(numbered(number))
    assert len(state.past) == MOST_UNDONE
    long = "#" * (LONGEST_HISTORY // 3)
    for number in range(6):
        state = state.with_document(doc(f"{long}{number}"))
    assert 1 <= len(state.past) <= 3
    assert state.past[-1].document.text.endswith("4")


@pytest.mark.parametrize(
    ("chosen", "text", "nearest"),
    [
        ((0, 1), TWO, (0, 1)),
        ((0, 2), TWO, (0, 1)),
        ((1, 1), TWO, (1, 0)),
        ((2, 0), TWO, (1,)),
        ((5,), TWO, (1,)),
        ((0, 0), "", ()),
    ],
)
def test_a_choice_that_is_gone_becomes_the_nearest(chosen: Spot, text: str, nearest: Spot) -> None:
    settled = State(Edition(doc(text)), chosen, only="look", page=3).settled()
    assert settled.chosen == nearest
    assert (settled.only, settled.page) == (("look", 3) if chosen == nearest else ("", 0))


def test_whether_an_edition_is_saved_and_whose_work_it_is() -> None:
    saved = Edition(numbered(1), "/a.toml", numbered(1).text)
    assert (saved.is_changed, saved.is_own_work) == (False, False)
    changed = Edition(numbered(2), "/a.toml", numbered(1).text)
    assert (changed.is_changed, changed.is_own_work) == (True, True)
    begun = Edition(numbered(3), begun=numbered(3).text)
    assert (begun.is_changed, begun.is_own_work) == (True, False)


def test_a_state_survives_a_restart_whole(tmp_path: Path) -> None:
    state = State(Edition(doc(TWO), "/ä b.toml", "x", TWO), (0, 1), "options", "look", 2, trained='{"a": "ö"}')
    state = state.with_document(doc(f"{TWO}# 猫\n")).stepped(back=True)
    States(tmp_path / "new").update("anna", lambda _: state)
    again = States(tmp_path / "new")
    assert again.read("anna") == state
    assert again.read("../../etc") == State()
    assert [path.suffixes for path in (tmp_path / "new").iterdir()] == [[".dataset", ".json"]]


def test_a_file_of_the_version_before_is_read(tmp_path: Path) -> None:
    States(tmp_path).update("anna", lambda _: State(Edition(doc(TWO), "/a.toml", TWO), (0, 0)))
    (file,) = tmp_path.iterdir()
    record = json.loads(file.read_text("utf-8"))
    del record["trained"], record["edition"]["begun"]
    file.write_text(json.dumps(record), "utf-8")
    assert States(tmp_path).read("anna") == State(Edition(doc(TWO), "/a.toml", TWO), (0, 0))


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"edition": 3}', "\0"])
def test_a_damaged_file_is_an_empty_page(tmp_path: Path, damage: str) -> None:
    States(tmp_path).update("anna", lambda _: State(Edition(doc(TWO))))
    (file,) = tmp_path.iterdir()
    file.write_text(damage, "utf-8")
    assert States(tmp_path).read("anna") == State()


def test_a_document_that_cannot_be_read_any_more_is_an_empty_page(tmp_path: Path) -> None:
    States(tmp_path).update("anna", lambda _: State(Edition(doc("datasets = 3"))))
    assert States(tmp_path).read("anna") == State()


def test_a_state_that_cannot_be_kept_is_said_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    states = States(tmp_path / "file")
    with pytest.raises(RunError, match="cannot be kept"):
        states.update("anna", lambda state: state.with_document(doc(TWO)))
    assert states.read("anna") == State()
