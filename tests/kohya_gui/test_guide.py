"""The guided start: answers become a form that can be started as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.configs import start_draft
from kohya_gui.guide import EPOCHS, GOALS, Answers, Guided, file_name, guided
from kohya_gui.settings import Settings
from sd_scripts.errors import ConfigError, DataError
from sd_scripts.params.commands import command
from tests.sd_scripts.survey.model_files import write_safetensors
from tests.tiny_models import SD15, SDXL_BASE, Layout, single_file_shapes

LORA = command("train_network")


def model_file(folder: Path, layout: Layout) -> Path:
    """A model's names and shapes with a hole in place of the weights."""
    return write_safetensors(folder / "base.safetensors", {name: ("F16", shape) for name, shape in single_file_shapes(layout).items()})


def pictures(folder: Path, number: int, side: int = 1024) -> Path:
    made = folder / "pictures"
    made.mkdir()
    for index in range(number):
        Image.new("RGB", (side, side), (index, 9, 9)).save(made / f"{index}.png")
    return made


def fill(folder: Path, layout: Layout = SD15, *, number: int = 4, **given: object) -> Guided:
    answers = {"goal": "person", "pictures": str(pictures(folder, number)), "model": str(model_file(folder, layout)), "card_gb": 24.0, **given}
    settings = Settings(runs_dir=folder / "runs", output_dir=folder / "out")
    return guided(Answers(**answers), LORA, start=lambda row: start_draft(row, settings), prompts_file=folder / "p.txt")  # type: ignore[arg-type]


@pytest.mark.parametrize("goal", GOALS)
def test_a_filled_form_has_no_errors_and_about_as_many_steps_as_its_goal_takes(tmp_path: Path, goal: str) -> None:
    (tmp_path / "p.txt").write_text("a")
    made = fill(tmp_path, goal=goal, word="ohwx cat")
    assert made.report.errors == []
    assert made.report.plan is not None
    assert made.report.plan.total_steps == pytest.approx(GOALS[goal].steps, rel=0.1)
    draft = made.draft
    assert (draft.value("class_tokens"), draft.value("network_dim"), draft.value("output_name")) == ("ohwx cat", GOALS[goal].rank, "ohwx_cat")
    assert all("ohwx cat" in line and " --d " in line for line in draft.prompts.splitlines())
    assert draft.changed() == ()


def test_the_file_chooses_the_trainer(tmp_path: Path) -> None:
    made = fill(tmp_path, SDXL_BASE)
    assert (made.draft.script, made.draft.value("resolution")) == ("sdxl_train_network", "1024,1024")


def test_memory_is_saved_until_it_fits_and_no_further(tmp_path: Path) -> None:
    notes = {}
    for card in (8.0, 12.0, 24.0, 80.0):
        folder = tmp_path / str(card)
        folder.mkdir()
        made = fill(folder, SDXL_BASE, card_gb=card)
        assert made.report.memory is not None
        assert made.fits is (made.report.memory.total <= card * 0.94e9)
        notes[card] = len(made.notes)
    assert notes[80.0] == 0
    assert notes[8.0] >= notes[12.0] >= notes[24.0]
    assert notes[12.0] > 0


def test_without_a_card_nothing_is_saved_and_numbers_are_whole(tmp_path: Path) -> None:
    made = fill(tmp_path, card_gb=0.0)
    assert (made.fits, made.notes, made.draft.value("mixed_precision")) == (None, (), "no")


def test_many_pictures_are_shown_once_per_epoch(tmp_path: Path) -> None:
    made = fill(tmp_path, number=300 // EPOCHS * 10, goal="thing")
    assert made.draft.value("dataset_repeats") == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [({"pictures": " "}, "No pictures"), ({"model": ""}, "No base model"), ({"goal": "fame"}, "fame")],
)
def test_what_is_missing_is_said(tmp_path: Path, answers: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fill(tmp_path, **answers)


def test_a_file_that_nothing_trains_is_refused(tmp_path: Path) -> None:
    lora = write_safetensors(tmp_path / "lora.safetensors", {"lora_unet_x.lora_down.weight": ("F16", (4, 4))})
    with pytest.raises(ConfigError):
        fill(tmp_path, model=str(lora))
    (tmp_path / "pictures").rename(tmp_path / "old")
    with pytest.raises(DataError, match="does not exist"):
        fill(tmp_path, model=str(tmp_path / "none.safetensors"))


@pytest.mark.parametrize(("text", "name"), [("ohwx cat", "ohwx_cat"), ("a/b\\c", "a_b_c"), ("猫 女", "猫_女"), ("  ", "my_lora"), ("..", "my_lora")])
def test_a_name_of_words_can_be_a_files(text: str, name: str) -> None:
    assert file_name(text) == name
