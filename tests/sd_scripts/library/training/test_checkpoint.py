"""Checkpoints have kohya's names and are pruned by kohya's rules; what lies there already is never replaced unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.errors import ConfigError
from sd_scripts.library.training.checkpoint import (
    epoch_stem,
    existing_outputs,
    last_stem,
    save_rules,
    set_aside,
    step_stem,
    superseded_epoch,
    superseded_step,
)
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "steps.json").read_text("utf-8"))["pruning"]
COMMAND = command("train_network")


def rules(folder: Path, *, epochs: int = 4, **given: object):
    """Rules of a run that saves into `folder` as "cat"."""
    return save_rules(make_config(COMMAND, {"output_dir": str(folder), "output_name": "cat", **given}), epochs=epochs)


@pytest.mark.parametrize("case", [case for case in GOLDEN if "epoch" in case])
def test_epoch_checkpoints_are_pruned_as_recorded(case):
    assert superseded_epoch(case["epoch"], case["save_every_n_epochs"], case["save_last_n_epochs"]) == case["remove_epoch"]


@pytest.mark.parametrize("case", [case for case in GOLDEN if "step" in case])
def test_step_checkpoints_are_pruned_as_recorded(case):
    assert superseded_step(case["step"], case["save_every_n_steps"], case["save_last_n_steps"]) == case["remove_step"]


def test_names_are_kohyas():
    assert [epoch_stem("cat", 2), step_stem("cat", 30), last_stem("cat")] == ["cat-000002", "cat-step00000030", "cat"]
    assert [epoch_stem(None, 2), step_stem(None, 30), last_stem(None)] == ["epoch-000002", "at-step00000030", "last"]


def test_the_last_epoch_has_no_checkpoint_of_its_own(tmp_path):
    every = rules(tmp_path, save_every_n_epochs=2, epochs=4)
    assert [epoch for epoch in range(1, 5) if every.epoch_is_due(epoch)] == [2]


def test_an_epoch_ratio_spreads_the_checkpoints_over_the_run(tmp_path):
    assert rules(tmp_path, save_n_epoch_ratio=3, save_every_n_epochs=1, epochs=10).every_epochs == 3


def test_states_are_pruned_by_their_own_count_where_it_is_given(tmp_path):
    weights, state = rules(tmp_path, save_every_n_epochs=1, save_last_n_epochs=1, save_last_n_epochs_state=3, epochs=9).after_epoch(5)
    assert [path.name for path in (weights, state)] == ["cat-000004.safetensors", "cat-000002-state"]


def test_only_names_of_the_run_count_as_its_outputs(tmp_path):
    for name in ("cat.safetensors", "cat-000001.safetensors", "cat-step00000010.safetensors", "cat2.safetensors", "cat-final.safetensors", "cat.txt"):
        (tmp_path / name).touch()
    (tmp_path / "cat-000001-state").mkdir()
    assert [path.name for path in existing_outputs(rules(tmp_path))] == [
        "cat-000001-state",
        "cat-000001.safetensors",
        "cat-step00000010.safetensors",
        "cat.safetensors",
    ]


def test_a_file_in_the_way_is_set_aside_with_its_content(tmp_path):
    (tmp_path / "cat.safetensors").write_text("mine")
    aside = set_aside(tmp_path / "cat.safetensors")
    assert aside.read_text() == "mine" and aside.name.startswith("cat.old-2") and aside.suffix == ".safetensors"
    assert not (tmp_path / "cat.safetensors").exists()


def test_a_run_without_an_output_folder_is_refused():
    with pytest.raises(ConfigError, match="output_dir"):
        save_rules(make_config(COMMAND, {}), epochs=1)
