"""Drafts: what a person typed so far."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_gui.configs import Draft, draft_of, script_of, start_draft
from kohya_gui.drafts import Drafts
from kohya_gui.jobs.prompts import STUDIO_PROMPTS
from kohya_gui.settings import Settings
from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import COMMANDS, Command, command
from sd_scripts.params.config import make_config
from sd_scripts.params.config_file import write_config
from sd_scripts.params.network import Network
from sd_scripts.params.samples import Samples

LORA = command("train_network")


def test_what_equals_the_default_is_not_given_unless_it_was_asked_for() -> None:
    draft = Draft().with_value("train_batch_size", "1")
    assert draft.given == {}
    assert draft.with_value("train_batch_size", "2").with_value("train_batch_size", "1").given == {"train_batch_size": 1}


def test_a_mistyped_value_is_kept_as_text_and_is_a_problem_at_its_field() -> None:
    draft = Draft(given={"network_dim": 8}).with_value("network_dim", "viel")
    config, problems = draft.config()
    assert draft.value("network_dim") == "viel"
    assert config[Network].network_dim is None
    assert [(problem.severity, problem.field) for problem in problems if "viel" in problem.message] == [("error", "network_dim")]


def test_mending_a_mistyped_value_clears_the_problem() -> None:
    draft = Draft().with_value("network_dim", "viel").with_value("network_dim", "8")
    assert (draft.wrong, draft.given) == ({}, {"network_dim": 8})


def test_changes_are_counted_from_what_was_opened() -> None:
    draft = draft_of(make_config(LORA, {"network_dim": 16}))
    assert draft.changed() == ()
    changed = draft.with_value("network_dim", "8")
    assert (changed.changed(), changed.base_value("network_dim")) == (("network_dim",), 16)


def test_typed_prompts_count_before_a_file_and_travel_in_the_studio_table(tmp_path: Path) -> None:
    draft = Draft(given={"sample_prompts": "old.txt"}, prompts="a cat\n")
    assert draft.config()[0].studio[STUDIO_PROMPTS] == "a cat\n"
    config, _ = draft.config(prompts_file=tmp_path / "p.txt")
    assert config[Samples].sample_prompts == str(tmp_path / "p.txt")


def test_the_start_draft_is_the_preset_with_config_tomls_defaults_over_it(tmp_path: Path) -> None:
    draft = start_draft(LORA, Settings(runs_dir=tmp_path, output_dir=tmp_path / "o", defaults={"network_dim": 99}))
    assert (draft.given["network_dim"], draft.given["learning_rate"], draft.given["output_dir"]) == (99, 1e-4, str(tmp_path / "o"))
    assert draft.changed() == ()


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no preset"):
        start_draft(LORA, Settings(runs_dir=tmp_path, preset="none"))


def test_a_draft_survives_a_restart(tmp_path: Path) -> None:
    draft = Draft(given={"network_dim": 8, "text_encoder_lr": (5e-5,)}, wrong={"seed": "x"}, prompts="猫", studio={"kept": {"a": 1}}, file="s")
    Drafts(tmp_path, Draft()).write("ann", draft)
    assert Drafts(tmp_path, Draft()).read("ann") == draft


def test_users_do_not_see_each_others_drafts(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path, Draft())
    drafts.write("ann", Draft(prompts="hers"))
    assert drafts.read("bob") == Draft()


def test_a_secret_is_never_in_a_drafts_file(tmp_path: Path) -> None:
    Drafts(tmp_path, Draft()).write("ann", Draft(given={"huggingface_token": "hf_secret"}))
    assert not [path for path in tmp_path.iterdir() if "hf_secret" in path.read_text("utf-8")]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"given": 3, "x": 1}'])
def test_a_broken_draft_file_means_an_empty_form(tmp_path: Path, text: str) -> None:
    drafts = Drafts(tmp_path, Draft(file="start"))
    drafts.write("ann", Draft(prompts="x"))
    next(tmp_path.glob("*.json")).write_text(text)
    assert Drafts(tmp_path, Draft(file="start")).read("ann").file == "start"


def test_a_drafts_prompts_stand_beside_it_as_a_prompt_file(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path, Draft())
    drafts.write("ann", Draft(prompts="a cat --d 1"))
    assert drafts.prompts_file("ann").read_text("utf-8") == "a cat --d 1\n"


def test_an_update_sees_what_the_update_before_it_wrote(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path, Draft())
    drafts.update("ann", lambda draft: draft.with_value("seed", "1"))
    drafts.update("ann", lambda draft: draft.with_value("network_dim", "2"))
    assert json.loads(next(tmp_path.glob("*.json")).read_text())["given"] == {"seed": 1, "network_dim": 2}


def test_what_was_set_goes_along_to_another_trainer_and_comes_back() -> None:
    settings = Settings()
    lora, whole = (start_draft(command(script), settings) for script in ("train_network", "train_db"))
    draft = lora.with_value("network_dim", "99").with_value("seed", "7").with_value("save_model_as", "pt").with_value("learning_rate", "x")
    there = draft.switched(whole, lora)
    assert (there.script, there.value("seed"), there.value("learning_rate")) == ("train_db", 7, "x")
    assert "network_dim" not in there.given and there.value("save_model_as") == whole.value("save_model_as")
    back = there.with_value("seed", "8").switched(lora, whole)
    assert (back.value("network_dim"), back.value("save_model_as"), back.value("seed")) == (99, "pt", 8)


def test_what_nobody_set_becomes_the_other_trainers_start() -> None:
    settings = Settings()
    small, large = (start_draft(command(script), settings) for script in ("train_network", "sdxl_train_network"))
    assert (small.value("resolution"), small.switched(large, small).value("resolution")) == ("512,512", "1024,1024")
    assert small.with_value("resolution", "768,768").switched(large, small).value("resolution") == "768,768"


@pytest.mark.parametrize("row", [row for row in COMMANDS if row.kind == "train"], ids=lambda row: row.script)
def test_every_trainer_starts_with_a_draft_that_lacks_only_model_and_pictures(row: Command) -> None:
    config, problems = start_draft(row, Settings()).config()
    assert config.command is row
    wanted = {"pretrained_model_name_or_path", "train_data_dir", "token_string"}
    assert {problem.field for problem in problems if problem.severity == "error"} <= wanted, problems


def test_a_config_file_names_its_trainer(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    write_config(path, start_draft(command("sdxl_train"), Settings()).config()[0])
    assert script_of(path) is command("sdxl_train")
    path.write_text("[studio]\nscript = 'gone'\n")
    assert script_of(path) is None


def test_changes_are_undone_and_done_again(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path, Draft())
    for text in ("1", "12", "123"):
        drafts.update("ann", lambda draft, text=text: draft.with_value("seed", text))
    drafts.update("ann", lambda draft: draft.with_value("network_dim", "8"))
    assert drafts.steps("ann") == {"undo": True, "redo": False}
    assert drafts.step("ann", back=True).given == {"seed": 123}
    assert drafts.step("ann", back=True).given == {}, "a field that is typed letter by letter is one change"
    assert drafts.step("ann", back=True).given == {}, "there is nothing left"
    assert drafts.step("ann", back=False).given == {"seed": 123}
    assert drafts.step("ann", back=False) == drafts.read("ann") == Drafts(tmp_path, Draft()).read("ann")
    drafts.step("ann", back=True)
    drafts.update("ann", lambda draft: draft.with_value("seed", "5"))
    assert drafts.steps("ann") == {"undo": True, "redo": False}, "a new change takes the place of what was undone"
    assert drafts.steps("bob") == {"undo": False, "redo": False}
