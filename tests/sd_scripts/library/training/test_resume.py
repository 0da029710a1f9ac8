"""A run that was stopped and resumed ends with the same bits as one that was not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import TWO_BUCKETS, events, report_to, train

from sd_scripts.library.weights_file import read_weights

RANDOM = {"shuffle_caption": True, "flip_aug": True, "random_crop": True, "network_dropout": 0.3, "caption_dropout_rate": 0.3, "noise_offset": 0.1}
WAYS = {
    "live": {**RANDOM, **TWO_BUCKETS, "gradient_accumulation_steps": 2},
    "cached": {"cache_latents": True, "network_train_unet_only": True, "lr_scheduler": "cosine", "lr_warmup_steps": 2},
    "fp16": {
        "mixed_precision": "fp16",
        "optimizer_type": "Prodigy",
        "learning_rate": 1.0,
        "network_args": ["module_dropout=0.3", "rank_dropout=0.2"],
    },
    "text-encoder-stops": {"stop_text_encoder_training": 3, "optimizer_type": "Adafactor"},
}


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """The run folder that trainers of a test report to."""
    return report_to(tmp_path / "run", monkeypatch)


def assert_same_tensors(first: Path, second: Path) -> None:
    """Both files hold the same keys with the same bits."""
    one, other = read_weights(first)[0], read_weights(second)[0]
    assert one.keys() == other.keys()
    assert [key for key in one if not one[key].equal(other[key])] == []


@pytest.mark.parametrize("way", WAYS)
def test_stopping_and_resuming_changes_no_bit(way, tmp_path, run_dir):
    options = {**WAYS[way], "max_train_steps": 7, "save_every_n_steps": 4, "save_state": True}
    assert train(tmp_path, output_name="whole", **options) == 0
    losses = [step["loss"] for step in events(run_dir, "step")]
    assert train(tmp_path, output_name="rest", resume=tmp_path / "out" / "whole-step00000004-state", **options) == 0
    assert_same_tensors(tmp_path / "out" / "whole.safetensors", tmp_path / "out" / "rest.safetensors")
    assert [step["loss"] for step in events(run_dir, "step")][7:] == losses[4:]
    whole, rest = events(run_dir, "step")[6], events(run_dir, "step")[-1]
    assert (whole["step"], rest["step"], rest["avg_loss"]) == (7, 7, pytest.approx(whole["avg_loss"]))


def test_a_stop_saves_weights_and_a_state_to_go_on_from(tmp_path, run_dir):
    (run_dir / "control").mkdir()
    (run_dir / "control" / "stop").write_text("{}")
    assert train(tmp_path, output_name="part") == 3
    done = events(run_dir)[-1]
    assert (done["kind"], done["exit_code"], done["reason"], done["step"]) == ("done", 3, "stopped on request", 1)
    assert not (run_dir / "control" / "stop").exists()
    saved = [(event["what"], Path(event["path"]).name) for event in events(run_dir, "save")]
    assert saved == [("weights", "part-step00000001.safetensors"), ("state", "part-step00000001-state")]
    assert train(tmp_path, output_name="part", resume=tmp_path / "out" / "part-step00000001-state") == 0
    assert train(tmp_path, output_name="whole") == 0
    assert_same_tensors(tmp_path / "out" / "whole.safetensors", tmp_path / "out" / "part.safetensors")


def test_a_resumed_run_says_where_it_goes_on(tmp_path, run_dir):
    train(tmp_path, max_train_steps=2, save_state=True)
    state = tmp_path / "out" / "cat-state"
    assert json.loads((state / "train_state.json").read_text()) == {"current_epoch": 1, "current_step": 2}
    assert train(tmp_path, max_train_steps=4, resume=state) == 0
    (resumed,) = events(run_dir, "resume")
    assert (resumed["step"], resumed["epoch"]) == (2, 1)
    (aside,) = (tmp_path / "out").glob("cat.old-*.safetensors")
    assert "set_aside" in [event["code"] for event in events(run_dir, "warning")] and aside.is_file()


def test_a_state_of_a_finished_run_is_refused_with_what_to_raise(tmp_path, capsys):
    train(tmp_path, max_train_steps=2, save_state=True)
    assert train(tmp_path, max_train_steps=2, resume=tmp_path / "out" / "cat-state") == 2
    assert "max_train_steps" in capsys.readouterr().err


def test_a_state_of_another_network_is_refused(tmp_path, capsys):
    train(tmp_path, max_train_steps=2, save_state=True)
    assert train(tmp_path, max_train_steps=4, network_dim=8, resume=tmp_path / "out" / "cat-state") == 2
    assert "network" in capsys.readouterr().err


def test_other_batches_than_those_of_the_state_are_told(tmp_path, run_dir):
    train(tmp_path, max_train_steps=2, save_state=True)
    assert train(tmp_path, max_train_steps=4, train_batch_size=1, output_name="more", resume=tmp_path / "out" / "cat-state") == 0
    assert any(event["code"] == "resume" and "10" in event["text"] for event in events(run_dir, "warning"))


def test_a_kohya_state_goes_on_at_its_step(tmp_path, run_dir):
    train(tmp_path, max_train_steps=2, save_state=True)
    (tmp_path / "out" / "cat-state" / "studio_state.json").unlink()
    assert train(tmp_path, max_train_steps=4, output_name="more", resume=tmp_path / "out" / "cat-state") == 0
    assert [step["step"] for step in events(run_dir, "step")] == [1, 2, 3, 4]
