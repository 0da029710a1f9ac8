"""The Dataset page opens with what the Train page trains on, and gives it back whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.configs import Draft
from kohya_gui.dataset_desk import DatasetDesk, Told
from kohya_gui.dataset_files import begun_from_form
from kohya_gui.dataset_looks import config_for
from kohya_gui.dataset_verbs import answer
from kohya_gui.drafts import Drafts
from kohya_gui.files import Roots
from kohya_gui.settings import Settings
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.survey.dataset_config import read_document
from sd_scripts.survey.folders import datasets_of_folders

USER = "local"


def pictures(folder: Path, *names: str) -> Path:
    """A folder of small pictures with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (64, 48), "teal").save(folder / name)
        (folder / name).with_suffix(".txt").write_text(f"a cat, {name}", "utf-8")
    return folder


@pytest.fixture
def desk(tmp_path: Path) -> DatasetDesk:
    """The page on a server that may use the test's folder alone."""
    settings = Settings(allowed_roots=(tmp_path,), **{name: tmp_path / name for name in ("runs_dir", "output_dir", "models_dir", "datasets_dir")})
    drafts = Drafts(tmp_path / "drafts", Draft())
    return DatasetDesk(tmp_path / "state", lambda: settings, lambda: Roots((tmp_path,)), lambda: drafts)


def give(desk: DatasetDesk, **values: object) -> None:
    """What somebody types on the Train page."""

    def change(draft: Draft) -> Draft:
        for name, value in values.items():
            draft = draft.with_value(name, value)
        return draft

    desk.drafts().update(USER, change)


def arrive(desk: DatasetDesk) -> Told:
    """Open the page."""
    return answer(desk, USER, {"do": "arrive"})


def folders(desk: DatasetDesk) -> list[str]:
    """The folders that the page shows."""
    rows = desk.states.read(USER).document.datasets()
    return [Path(subset["image_dir"]).name for row in rows for subset in row.get("subsets", [])]


def test_an_empty_form_opens_an_empty_page(desk: DatasetDesk) -> None:
    assert arrive(desk) == Told("", "")
    assert folders(desk) == []


def test_the_folders_of_the_form_are_shown_and_said(desk: DatasetDesk, tmp_path: Path) -> None:
    pictures(tmp_path / "img" / "3_süße Katze", "a b.png")
    pictures(tmp_path / "reg" / "1_katze", "c.png")
    give(desk, train_data_dir=str(tmp_path / "img"), reg_data_dir=str(tmp_path / "reg"), keep_tokens=2)
    assert "folders of the Train page" in arrive(desk).sentence
    assert folders(desk) == ["3_süße Katze", "1_katze"]
    state = desk.states.read(USER)
    assert (state.chosen, state.past) == ((0, 0), ())
    assert arrive(desk).sentence == ""


def test_a_dataset_file_of_the_form_is_opened(desk: DatasetDesk, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "cats", "a.png")
    file = tmp_path / "cats.toml"
    file.write_text(f'future = 1\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{folder}"\n', "utf-8")
    give(desk, dataset_config=str(file))
    assert "cats.toml" in arrive(desk).sentence
    edition = desk.states.read(USER).edition
    assert (edition.file, edition.is_changed, edition.document.text) == (str(file), False, file.read_text("utf-8"))


def test_what_was_made_here_is_not_replaced_unasked(desk: DatasetDesk, tmp_path: Path) -> None:
    mine, theirs = pictures(tmp_path / "mine", "a.png"), pictures(tmp_path / "theirs", "b.png")
    answer(desk, USER, {"do": "add", "path": str(mine)})
    give(desk, train_data_dir=str(theirs))
    said = arrive(desk)
    assert (said.tone, folders(desk)) == ("warn", ["mine"])
    answer(desk, USER, said.offer)
    assert folders(desk) == ["theirs"]
    answer(desk, USER, {"do": "undo"})
    assert folders(desk) == ["mine"]


def test_what_came_from_the_form_follows_it_until_it_is_edited(desk: DatasetDesk, tmp_path: Path) -> None:
    one, two, three = (pictures(tmp_path / name, "a.png") for name in ("one", "two", "three"))
    give(desk, train_data_dir=str(one))
    arrive(desk)
    give(desk, train_data_dir=str(two))
    arrive(desk)
    assert folders(desk) == ["two"]
    answer(desk, USER, {"do": "set", "spot": "0.0", "key": "num_repeats", "value": "7"})
    give(desk, train_data_dir=str(three))
    assert (arrive(desk).tone, folders(desk)) == ("warn", ["two"])


def test_a_page_that_was_emptied_stays_empty(desk: DatasetDesk, tmp_path: Path) -> None:
    give(desk, train_data_dir=str(pictures(tmp_path / "one", "a.png")))
    arrive(desk)
    answer(desk, USER, {"do": "new"})
    assert (arrive(desk).sentence, folders(desk)) == ("", [])


def test_folders_that_cannot_be_shown_are_named(desk: DatasetDesk, tmp_path: Path) -> None:
    give(desk, train_data_dir=str(tmp_path / "gone"))
    said = arrive(desk)
    assert (said.tone, folders(desk)) == ("warn", [])
    assert "gone does not exist" in said.sentence


def test_what_was_opened_survives_a_restart(desk: DatasetDesk, tmp_path: Path) -> None:
    give(desk, train_data_dir=str(pictures(tmp_path / "one", "a.png")))
    arrive(desk)
    again = dataclasses.replace(desk)
    assert again.states.read(USER) == desk.states.read(USER)
    assert arrive(again).sentence == ""


def test_back_on_the_train_page_nothing_but_the_folders_has_changed(desk: DatasetDesk, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "img" / "3_cat", "a.png").parent
    give(desk, train_data_dir=str(folder), keep_tokens=2, network_dim=24, caption_extension=".txt", learning_rate="2e-4")
    before = desk.drafts().read(USER)
    arrive(desk)
    told = answer(desk, USER, {"do": "use", "path": ""})
    after = desk.drafts().read(USER)
    file = desk.states.read(USER).edition.file
    assert file in told.sentence
    assert dict(after.given) == {**{key: value for key, value in before.given.items() if key != "train_data_dir"}, "dataset_config": file}
    assert arrive(desk).sentence == ""
    assert desk.drafts().step(USER, back=True) == before


DRAFTS: Mapping[str, Mapping[str, object]] = {
    "plain": {},
    "captions": {
        "caption_extension": ".txt",
        "shuffle_caption": True,
        "keep_tokens": 1,
        "caption_dropout_rate": 0.1,
        "caption_tag_dropout_rate": 0.2,
    },
    "wildcards": {"enable_wildcard": True, "caption_separator": ";", "keep_tokens_separator": "|||", "secondary_separator": ";;;"},
    "prefix": {"caption_prefix": "sks, ", "caption_suffix": ", photo", "token_warmup_min": 2, "token_warmup_step": 10},
    "pictures": {"flip_aug": True, "color_aug": True, "random_crop": True},
    "sizes": {"resolution": "96,64", "train_batch_size": 3, "enable_bucket": False},
    "buckets": {"enable_bucket": True, "min_bucket_reso": 64, "max_bucket_reso": 512, "bucket_reso_steps": 32, "bucket_no_upscale": True},
    "aside": {"validation_split": 0.5, "validation_seed": 3},
    "remembered": {"cache_info": True},
}


@pytest.mark.parametrize("given", DRAFTS.values(), ids=DRAFTS)
@pytest.mark.parametrize("layout", ["numbered", "flat", "masked"])
def test_the_file_means_what_the_folders_meant(tmp_path: Path, given: Mapping[str, object], layout: str) -> None:
    if layout == "flat":
        named: dict[str, object] = {"train_data_dir": str(pictures(tmp_path / "cats", "a.png", "b.png")), "dataset_repeats": 5, "class_tokens": "cat"}
    else:
        pictures(tmp_path / "img" / "3_sks cat", "a.png", "b.png")
        pictures(tmp_path / "img" / "10_dog", "c.png")
        pictures(tmp_path / "reg" / "2_cat", "d.png")
        named = {"train_data_dir": str(tmp_path / "img"), "reg_data_dir": str(tmp_path / "reg")}
    if layout == "masked":
        pictures(tmp_path / "masks" / "10_dog", "c.png")
        pictures(tmp_path / "masks", "a.png", "b.png")
        named |= {"masked_loss": True, "conditioning_data_dir": str(tmp_path / "masks"), "alpha_mask": False}
    config = make_config(command("train_network"), {"resolution": "64,64", **named, **given})
    meant = datasets_of_folders(config)
    reading = read_document(begun_from_form(config, Roots((tmp_path,))).data(), config_for(config, "x.toml"))
    assert reading.faults == ()
    assert reading.blueprint.datasets == meant.datasets


@pytest.mark.parametrize("name", ["b.png", "b.txt"])
def test_a_link_leads_to_the_picture_alone(desk: DatasetDesk, tmp_path: Path, name: str) -> None:
    pictures(tmp_path / "img" / "3_cat", "a.png")
    folder = pictures(tmp_path / "img" / "4_dog", "b.png", "c.png")
    give(desk, train_data_dir=str(tmp_path / "img"))
    assert answer(desk, USER, {"do": "arrive", "at": str(folder / name)}).sentence == ""
    state = desk.states.read(USER)
    assert (state.chosen, state.view, state.only) == ((0, 1), "pictures", f"={name}")
    answer(desk, USER, {"do": "arrive", "at": str(folder)})
    assert desk.states.read(USER).only == ""
    answer(desk, USER, {"do": "set", "spot": "0.0", "key": "num_repeats", "value": "7"})
    give(desk, reg_data_dir=str(tmp_path / "img"))
    offered = answer(desk, USER, {"do": "arrive", "at": str(folder / name)})
    assert answer(desk, USER, offered.offer).sentence == ""
    assert desk.states.read(USER).only == f"={name}"
    assert "in none of the folders" in answer(desk, USER, {"do": "find", "path": "/elsewhere/a.png"}).sentence
