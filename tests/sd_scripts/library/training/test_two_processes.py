"""Two processes train as one with twice the batch; a stop reaches both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import TWO_BUCKETS, draw_pictures, events, free_port, options, train

from kohya_gui.jobs.devices import Machine
from kohya_gui.jobs.launch import launch_argv
from sd_scripts.library.weights_file import read_weights
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

ROOT = Path(__file__).parents[4]
SCRIPT = ROOT / "sd_scripts" / "train_network.py"


def launch(root: Path, **given: object) -> subprocess.CompletedProcess[str]:
    """Train with two processes on the CPU, reporting to `root`/run."""
    port = free_port()
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    launcher += ["--dynamo_backend", "no", "--main_process_port", port, "--num_cpu_threads_per_process", "1"]
    (root / "run").mkdir(exist_ok=True)
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT), "STUDIO_RUN_DIR": str(root / "run")}
    words = [sys.executable, *launcher, str(SCRIPT), *options(root, **given)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    pictures = draw_pictures(tmp_path / "odd" / "1_cat").parent  # three square pictures and two others: shares of 2 + 1 and of 1 + 0
    shared = {**TWO_BUCKETS, "train_data_dir": pictures, "gradient_accumulation_steps": 2, "max_train_steps": 5}
    shared |= {"shuffle_caption": True, "flip_aug": True}
    done = launch(tmp_path, output_name="two", train_batch_size=2, **shared)
    assert done.returncode == 0, done.stderr[-3000:]
    assert train(tmp_path, output_name="one", train_batch_size=4, **shared) == 0
    two, one = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("two", "one"))
    assert max((two[key] - one[key]).abs().max().item() for key in one) < 2e-5
    assert max(tensor.abs().max().item() for key, tensor in one.items() if "lora_up" in key) > 2e-3
    assert [event["step"] for event in events(tmp_path / "run", "step")] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_stop_ends_both_processes_and_keeps_what_is_done(tmp_path):
    (tmp_path / "run" / "control").mkdir(parents=True)
    (tmp_path / "run" / "control" / "stop").write_text("{}")
    launch(tmp_path, cache_latents=True, max_train_steps=50)
    done = events(tmp_path / "run")[-1]
    assert (done["kind"], done["exit_code"]) == ("done", 3)
    assert (tmp_path / "out" / f"cat-step{done['step']:08d}.safetensors").is_file()


@pytest.mark.slow
def test_two_processes_measure_the_validation_loss_of_one(tmp_path, monkeypatch):
    given = {**TWO_BUCKETS, "validation_split": 0.6, "learning_rate": 1e-20, "max_train_steps": 1, "validate_every_n_steps": 1}
    done = launch(tmp_path, output_name="two", **given)
    assert done.returncode == 0, done.stderr[-3000:]
    monkeypatch.setenv("STUDIO_RUN_DIR", str(tmp_path / "run"))
    assert train(tmp_path, output_name="one", **given) == 0
    two, one = events(tmp_path / "run", "validation")
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("script", "more"), [("train_network", {}), ("train_db", {}), ("train_db", {"fused_backward_pass": True})])
def test_two_machines_equal_one_with_twice_the_batch(tmp_path, script, more):
    port = free_port()
    family = {"network_module": None, "network_dim": None, "learning_rate": 1e-4} if script == "train_db" else {}
    optimizer = {"optimizer_type": "SGDNesterov", "learning_rate": 1e-2} if script == "train_db" else {}
    shared: dict[str, object] = {"max_train_steps": 3, **family, **optimizer, **more}
    given = {"num_processes": 2, "num_machines": 2, "main_process_ip": "127.0.0.1", "main_process_port": int(port)}
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    machines = []
    for rank in (0, 1):
        launcher = launch_argv(make_config(command(script), {**given, "machine_rank": rank}), Path("unused.toml"), Machine("cpu"))[:-2]
        words = [*launcher, *options(tmp_path, output_name="two", **shared)]
        machines.append(subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    ends = [(machine.communicate(timeout=240)[1], machine.returncode) for machine in machines]
    assert [code for _, code in ends] == [0, 0], ends[0][0][-2000:] + ends[1][0][-2000:]
    assert train(tmp_path, script, output_name="one", **{**shared, "train_batch_size": 4}) == 0
    two, one = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("two", "one"))
    assert max((two[key] - one[key]).abs().max().item() for key in one) < 2e-5
