"""Presets: bundled ones are sound for every trainer they are for, own ones come and go and lose nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_gui.configs import PRESET_FOLDERS, PRESETS, Draft, preset_given, start_draft
from kohya_gui.presets import KEPT, applied, changes, drop_preset, find_presets, keep_preset, preset_named
from kohya_gui.settings import Settings
from sd_scripts.errors import ConfigError
from sd_scripts.params.check import check
from sd_scripts.params.commands import COMMANDS, Command, command
from sd_scripts.params.config import make_config

LORA = command("train_network")
TRAINERS = [row for row in COMMANDS if row.kind == "train"]
BUNDLED = [(row, preset.name) for row in TRAINERS for preset in find_presets(row) if not preset.is_own]


@pytest.mark.parametrize(("trainer", "name"), BUNDLED, ids=lambda value: value if isinstance(value, str) else value.script)
def test_a_bundled_preset_gives_options_of_its_trainer_and_no_problems_of_its_own(trainer: Command, name: str) -> None:
    preset = preset_named(name, trainer)
    draft = applied(start_draft(trainer, Settings()), preset)
    given = preset_given(preset.path, trainer)
    data = json.loads(preset.path.read_text("utf-8"))
    assert given.keys() == data.get("values", data).keys(), "every key is an option of the trainer"
    config = make_config(trainer, {**draft.given, "pretrained_model_name_or_path": "m.safetensors", "train_data_dir": "d", "token_string": "sks"}
                         if "token_string" in trainer.by_name and trainer.method == "embedding"
                         else {**draft.given, "pretrained_model_name_or_path": "m.safetensors", "train_data_dir": "d"})  # fmt: skip
    assert [str(problem) for problem in check(config) if problem.severity == "error"] == []


def test_every_file_of_a_method_is_found_by_some_trainer() -> None:
    found = {preset.path for row in TRAINERS for preset in find_presets(row)}
    assert {path for folder in PRESET_FOLDERS.values() for path in (PRESETS / folder).glob("*.json")} <= found


def test_a_preset_leaves_model_and_folders_alone_and_takes_everything_else_back(tmp_path: Path) -> None:
    draft = Draft(given={"pretrained_model_name_or_path": "m.safetensors", "train_data_dir": "d", "network_dim": 64, "seed": 3})
    made = applied(draft, preset_named("start", LORA))
    assert (made.given["pretrained_model_name_or_path"], made.given["train_data_dir"]) == ("m.safetensors", "d")
    assert (made.value("network_dim"), made.value("seed")) == (16, 42)
    assert {name: (old, new) for name, old, new in changes(draft, made)}["network_dim"] == (64, 16)


def test_a_preset_leaves_words_captions_the_machine_and_uploads_alone() -> None:
    given = {"v_parameterization": True, "token_string": "sks", "caption_extension": ".tags", "gpu_ids": "1", "huggingface_repo_id": "me/cat"}
    made = applied(Draft(given={**given, "clip_skip": 2}), preset_named("sd-person-08gb", LORA))
    assert {name: made.given.get(name) for name in given} == given
    assert made.value("clip_skip") is None


def test_ones_own_preset_is_kept_without_what_is_trained_and_applied_again(tmp_path: Path) -> None:
    draft = Draft(given={"network_dim": 77, "train_data_dir": "d", "huggingface_token": "hf_x", "text_encoder_lr": (1e-5,)})
    made = keep_preset(draft, "My cats (1)", tmp_path)
    text = made.path.read_text("utf-8")
    assert "hf_x" not in text and "train_data_dir" not in text
    found = preset_named("user/My cats (1)", LORA, tmp_path)
    assert (found.title, found.families) == ("My cats (1)", ("sd",))
    assert applied(Draft(), found).given == {"network_dim": 77, "text_encoder_lr": (1e-5,)}
    assert not [preset for preset in find_presets(command("sdxl_train_network"), tmp_path) if preset.is_own]


def test_a_preset_is_never_replaced_and_a_deleted_one_is_only_put_away(tmp_path: Path) -> None:
    for rank in (1, 2):
        made = keep_preset(Draft(given={"network_dim": rank}), "cat", tmp_path)
        with pytest.raises(ConfigError, match="already"):
            keep_preset(Draft(), "cat", tmp_path)
        drop_preset(made)
    kept = sorted((tmp_path / "lora" / "user" / ".deleted").glob("*.json"))
    assert [json.loads(path.read_text())["values"]["network_dim"] for path in kept] == [2, 1]
    assert not find_presets(LORA, tmp_path)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 200, "a\nb"])
def test_a_name_that_is_no_files_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        keep_preset(Draft(), name, tmp_path)


def test_a_bundled_preset_is_not_deleted() -> None:
    with pytest.raises(ConfigError, match="comes with the program"):
        drop_preset(preset_named("start", LORA))


def test_what_a_preset_leaves_alone_are_options() -> None:
    names = {name for row in TRAINERS for name in row.by_name}
    assert set(KEPT) <= names
