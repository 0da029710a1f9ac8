"""What a user is told, and what is left, when something goes wrong in the middle of a training."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny_runs
import torch
from tiny_runs import draw_pictures, events, micro_model, options, report_to, train

from sd_scripts.library.methods.adapter import Adapter
from sd_scripts.library.training.main import main
from sd_scripts.library.weights_file import read_weights

ROOT = Path(__file__).parents[4]


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """The run folder that trainers of a test report to."""
    return report_to(tmp_path / "run", monkeypatch)


class Hungry(Adapter):
    """A method that runs out of memory at its second step."""

    def before_step(self, step, plan):
        """Raise what torch raises."""
        if step == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12345678 bytes.")


class Poisoned(Adapter):
    """A method whose weights are broken when they are to be saved."""

    def tensors(self, save_dtype):
        """One tensor with NaN."""
        return {**super().tensors(save_dtype), "poison": torch.tensor([float("nan")])}


class Buggy(Adapter):
    """A method with a bug."""

    def before_step(self, step, plan):
        """Raise what nobody expects."""
        raise ZeroDivisionError("division by zero")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk does to a large one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def last_event(run_dir: Path) -> dict:
    """What the run said last."""
    return dict(events(run_dir)[-1])


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path, run_dir):
    micro_model(tmp_path)
    with largest_file(60_000):
        assert train(tmp_path) == 1
    told = last_event(run_dir)
    assert (told["kind"], told["exit_code"], told["code"]) == ("error", 1, "run")
    assert "cat.safetensors" in told["text"] and "output_dir" in told["fix"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_picture_that_cannot_be_decoded_ends_the_run_by_name(tmp_path, run_dir):
    path = draw_pictures(tmp_path / "pictures" / "2_cat") / "3.png"
    data = bytearray(path.read_bytes())
    data[60:100] = bytes(40)
    path.write_bytes(bytes(data))
    assert train(tmp_path, max_train_steps=10) == 2
    told = last_event(run_dir)
    assert (told["code"], told["exit_code"]) == ("data", 2) and "3.png" in told["text"]


def test_a_run_that_diverges_names_step_and_pictures(tmp_path, run_dir):
    assert train(tmp_path, learning_rate=1e30, max_train_steps=10) == 5
    told = last_event(run_dir)
    assert told["code"] == "diverged" and "learning_rate" in told["fix"]
    assert "at step" in told["text"] and ".png" in told["text"]
    assert not (tmp_path / "out" / "cat.safetensors").exists()


def test_out_of_memory_names_the_cheapest_remedy(tmp_path, run_dir):
    draw_pictures(tmp_path / "pictures" / "2_cat")
    assert main("train_network", family=tiny_runs.SD, method=f"{__name__}:Hungry", argv=options(tmp_path)) == 4
    told = last_event(run_dir)
    assert (told["code"], told["exit_code"]) == ("memory", 4) and "cache_latents" in told["fix"]
    assert json.loads((run_dir / "error-0.json").read_text())["exit_code"] == 4


def test_a_stop_while_caching_ends_at_once(tmp_path, run_dir):
    (run_dir / "control").mkdir()
    (run_dir / "control" / "stop").write_text("{}")
    assert train(tmp_path, cache_latents=True) == 3
    told = last_event(run_dir)
    assert (told["kind"], told["exit_code"], told["step"]) == ("done", 3, 0)
    assert not (run_dir / "control" / "stop").exists()


def test_weights_with_nan_are_never_written(tmp_path, run_dir):
    assert main("train_network", family=tiny_runs.SD, method=f"{__name__}:Poisoned", argv=options(tmp_path)) == 5
    assert "was not written" in last_event(run_dir)["text"]
    assert not (tmp_path / "out" / "cat.safetensors").exists()


def test_a_bug_ends_with_1_and_its_traceback_is_kept(tmp_path, run_dir, capsys):
    assert main("train_network", family=tiny_runs.SD, method=f"{__name__}:Buggy", argv=options(tmp_path)) == 1
    assert last_event(run_dir)["text"] == "ZeroDivisionError: division by zero"
    assert "before_step" in json.loads((run_dir / "error-0.json").read_text())["traceback"]
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_trainer_leaves_whole_events_and_a_state_to_go_on_from(tmp_path, run_dir):
    words = options(tmp_path, max_train_steps=100_000, save_every_n_steps=2, save_state=True, cache_latents=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "OMP_NUM_THREADS": "1"}
    script = str(ROOT / "sd_scripts" / "train_network.py")
    trainer = subprocess.Popen([sys.executable, script, *words], env=environment, stderr=subprocess.PIPE, text=True)
    for line in trainer.stderr:
        if "saving state" in line and "step00000004" in line:
            break
    trainer.send_signal(signal.SIGKILL)
    assert trainer.wait(60) == -signal.SIGKILL
    trainer.stderr.close()
    lines = (run_dir / "events.jsonl").read_text("utf-8").split("\n")
    assert [json.loads(line)["kind"] for line in lines[:-1]].count("step") >= 3
    assert not {"done", "error"} & {json.loads(line)["kind"] for line in lines[:-1]}
    state = tmp_path / "out" / "cat-step00000002-state"
    assert train(tmp_path, output_name="rest", max_train_steps=4, cache_latents=True, resume=state) == 0
    saved = read_weights(tmp_path / "out" / "rest.safetensors")[0]
    assert all(tensor.isfinite().all() for tensor in saved.values())
