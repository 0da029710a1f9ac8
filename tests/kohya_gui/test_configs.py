"""Drafts: what a person typed so far."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_gui.configs import Draft, Drafts, draft_of, start_draft
from kohya_gui.jobs.prompts import STUDIO_PROMPTS
from kohya_gui.settings import Settings
from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.network import Network
from sd_scripts.params.samples import Samples

LORA = command("train_network")


def test_what_equals_the_default_is_not_given_unless_it_was_asked_for() -> None:
    draft = Draft().with_value(LORA, "train_batch_size", "1")
    assert draft.given == {}
    assert draft.with_value(LORA, "train_batch_size", "2").with_value(LORA, "train_batch_size", "1").given == {"train_batch_size": 1}


def test_a_mistyped_value_is_kept_as_text_and_is_a_problem_at_its_field() -> None:
    draft = Draft(given={"network_dim": 8}).with_value(LORA, "network_dim", "viel")
    config, problems = draft.config(LORA)
    assert draft.value(LORA, "network_dim") == "viel"
    assert config[Network].network_dim is None
    assert [(problem.severity, problem.field) for problem in problems if "viel" in problem.message] == [("error", "network_dim")]


def test_mending_a_mistyped_value_clears_the_problem() -> None:
    draft = Draft().with_value(LORA, "network_dim", "viel").with_value(LORA, "network_dim", "8")
    assert (draft.wrong, draft.given) == ({}, {"network_dim": 8})


def test_changes_are_counted_from_what_was_opened() -> None:
    draft = draft_of(make_config(LORA, {"network_dim": 16}))
    assert draft.changed(LORA) == ()
    changed = draft.with_value(LORA, "network_dim", "8")
    assert (changed.changed(LORA), changed.base_value(LORA, "network_dim")) == (("network_dim",), 16)


def test_typed_prompts_count_before_a_file_and_travel_in_the_studio_table(tmp_path: Path) -> None:
    draft = Draft(given={"sample_prompts": "old.txt"}, prompts="a cat\n")
    assert draft.config(LORA)[0].studio[STUDIO_PROMPTS] == "a cat\n"
    config, _ = draft.config(LORA, prompts_file=tmp_path / "p.txt")
    assert config[Samples].sample_prompts == str(tmp_path / "p.txt")


def test_the_start_draft_is_the_preset_with_config_tomls_defaults_over_it(tmp_path: Path) -> None:
    draft = start_draft(LORA, Settings(runs_dir=tmp_path, output_dir=tmp_path / "o", defaults={"network_dim": 99}))
    assert (draft.given["network_dim"], draft.given["learning_rate"], draft.given["output_dir"]) == (99, 1e-4, str(tmp_path / "o"))
    assert draft.changed(LORA) == ()


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no preset"):
        start_draft(LORA, Settings(runs_dir=tmp_path, preset="none"))


def test_a_draft_survives_a_restart(tmp_path: Path) -> None:
    draft = Draft(given={"network_dim": 8, "text_encoder_lr": (5e-5,)}, wrong={"seed": "x"}, prompts="猫", studio={"kept": {"a": 1}}, file="s")
    Drafts(tmp_path, LORA, Draft()).write("ann", draft)
    assert Drafts(tmp_path, LORA, Draft()).read("ann") == draft


def test_users_do_not_see_each_others_drafts(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path, LORA, Draft())
    drafts.write("ann", Draft(prompts="hers"))
    assert drafts.read("bob") == Draft()


def test_a_secret_is_never_in_a_drafts_file(tmp_path: Path) -> None:
    Drafts(tmp_path, LORA, Draft()).write("ann", Draft(given={"huggingface_token": "hf_secret"}))
    assert not [path for path in tmp_path.iterdir() if "hf_secret" in path.read_text("utf-8")]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"given": 3, "x": 1}'])
def test_a_broken_draft_file_means_an_empty_form(tmp_path: Path, text: str) -> None:
    drafts = Drafts(tmp_path, LORA, Draft(file="start"))
    drafts.write("ann", Draft(prompts="x"))
    next(tmp_path.glob("*.json")).write_text(text)
    assert Drafts(tmp_path, LORA, Draft(file="start")).read("ann").file == "start"


def test_a_drafts_prompts_stand_beside_it_as_a_prompt_file(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path, LORA, Draft())
    drafts.write("ann", Draft(prompts="a cat --d 1"))
    assert drafts.prompts_file("ann").read_text("utf-8") == "a cat --d 1\n"


def test_an_update_sees_what_the_update_before_it_wrote(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path, LORA, Draft())
    drafts.update("ann", lambda draft: draft.with_value(LORA, "seed", "1"))
    drafts.update("ann", lambda draft: draft.with_value(LORA, "network_dim", "2"))
    assert json.loads(next(tmp_path.glob("*.json")).read_text())["given"] == {"seed": 1, "network_dim": 2}
