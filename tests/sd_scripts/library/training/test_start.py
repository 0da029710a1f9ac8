"""Runs that begin elsewhere than at their first step."""

from __future__ import annotations

import pytest
from tiny_runs import events, report_to, train

from sd_scripts.library.weights_file import read_weights

FIVE_PER_EPOCH = {"max_train_steps": 12, "train_batch_size": 2}
"""Ten pictures, repeats included."""


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """The run folder that trainers of a test report to."""
    return report_to(tmp_path / "run", monkeypatch)


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({"initial_step": 7, "skip_until_initial_step": True}, (8, 2)),
        ({"initial_step": 7}, (6, 2)),
        ({"initial_epoch": 3}, (11, 3)),
        ({"initial_epoch": 2, "initial_step": 10}, (11, 3)),
        ({"initial_step": 0}, (1, 1)),
    ],
    ids=str,
)
def test_a_run_begins_where_it_is_told_to(tmp_path, run_dir, given, first):
    assert train(tmp_path, **FIVE_PER_EPOCH, **given) == 0
    steps = [(step["step"], step["epoch"]) for step in events(run_dir, "step")]
    assert (steps[0], steps[-1]) == (first, (12, 3))
    assert [step for step, _ in steps] == list(range(first[0], 13))


def test_pictures_and_noise_are_those_of_the_same_steps_of_a_whole_run(tmp_path, run_dir):
    frozen = {**FIVE_PER_EPOCH, "learning_rate": 1e-20, "max_train_steps": 9}
    assert train(tmp_path, output_name="whole", **frozen) == 0
    assert train(tmp_path, output_name="late", initial_step=7, skip_until_initial_step=True, **frozen) == 0
    losses = [step["loss"] for step in events(run_dir, "step")]
    assert losses[9:] == losses[7:9]


def test_a_named_place_counts_before_the_states_and_weights_go_on(tmp_path, run_dir):
    assert train(tmp_path, output_name="first", max_train_steps=3, save_state=True) == 0
    given = {"resume": tmp_path / "out" / "first-state", "initial_step": 6, "skip_until_initial_step": True, "max_train_steps": 7}
    assert train(tmp_path, output_name="rest", **given) == 0
    assert [step["step"] for step in events(run_dir, "step")] == [1, 2, 3, 7]
    first, rest = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("first", "rest"))
    key = next(key for key in first if key.endswith("lora_up.weight"))
    assert 0 < (rest[key] - first[key]).abs().max() < 2e-3 < first[key].abs().max()
    assert "initial_step" in {event["code"] for event in events(run_dir, "warning")}


def test_a_place_behind_the_end_is_refused(tmp_path, capsys):
    assert train(tmp_path, initial_step=3, skip_until_initial_step=True, max_train_steps=3) == 2
    assert "initial_step" in capsys.readouterr().err
