"""The trainer from its command line to its files: what it writes, what it tells, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import events, report_to, train
from torch.utils.data import DataLoader

from sd_scripts.library.data import loader
from sd_scripts.library.weights_file import read_weights, sha256_of
from sd_scripts.params.events import NOTE_FILE

ROOT = Path(__file__).parents[2]
LORA_MODULES = 60


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """The run folder that trainers of a test report to."""
    return report_to(tmp_path / "run", monkeypatch)


def test_a_training_ends_with_the_file_that_it_announced(tmp_path, run_dir):
    assert train(tmp_path) == 0
    (saved,) = events(run_dir, "save")
    path = tmp_path / "out" / "cat.safetensors"
    assert (saved["path"], saved["final"], saved["finite"], saved["step"]) == (str(path), True, True, 3)
    assert (saved["bytes"], saved["sha256"]) == (path.stat().st_size, sha256_of(path))
    assert saved["tensors"] == len(read_weights(path)[0]) == 3 * LORA_MODULES
    assert events(run_dir)[-1]["kind"] == "done" and events(run_dir)[-1]["exit_code"] == 0


def test_every_step_is_told_once_and_in_order(tmp_path, run_dir):
    train(tmp_path, max_train_steps=5, save_every_n_epochs=1)
    steps = events(run_dir, "step")
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5]
    assert all(step["total"] == 5 and step["loss"] > 0 and set(step["lr"]) == {"textencoder", "unet"} for step in steps)
    (plan,) = events(run_dir, "plan")
    assert plan["plan"]["total_steps"] == 5


def test_training_changes_the_text_encoder_and_the_unet(tmp_path):
    assert train(tmp_path) == 0
    tensors, _ = read_weights(tmp_path / "out" / "cat.safetensors")
    moved = {key.split("_")[1] for key, tensor in tensors.items() if key.endswith("lora_up.weight") and tensor.abs().max() > 0}
    assert moved == {"te", "unet"}


def test_the_header_says_how_the_file_was_made(tmp_path):
    assert train(tmp_path, save_precision="fp16", training_comment="for a test") == 0
    with safe_open(tmp_path / "out" / "cat.safetensors", "pt") as file:
        header = file.metadata()
    wanted = {"ss_steps": "3", "ss_seed": "1", "ss_network_dim": "4", "ss_training_comment": "for a test", "ss_max_train_steps": "3"}
    assert wanted.items() <= header.items()
    assert header["ss_optimizer"] == "torch.optim.adamw.AdamW"
    assert str(tmp_path) not in json.dumps(header)


WAYS = [
    {"cache_latents": True},
    {"mixed_precision": "bf16"},
    {"mixed_precision": "fp16"},
    {"gradient_checkpointing": True},
    {"max_data_loader_n_workers": 2, "color_aug": True, "random_crop": True},
    {"network_train_unet_only": True},
    {"scale_weight_norms": 1.0, "network_dropout": 0.1},
    {"cache_latents": True, "cache_latents_to_disk": True, "flip_aug": True},
]


@pytest.mark.parametrize("extra", WAYS, ids=lambda extra: "-".join(extra))
def test_each_way_of_training_reaches_its_end(extra, tmp_path, run_dir):
    assert train(tmp_path, max_train_steps=2, **extra) == 0
    assert [event["finite"] for event in events(run_dir, "save")] == [True]


def test_checkpointing_changes_memory_and_not_the_result(tmp_path):
    train(tmp_path, output_name="plain")
    train(tmp_path, output_name="checkpointed", gradient_checkpointing=True)
    plain, checkpointed = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("plain", "checkpointed"))
    assert all((plain[key] - checkpointed[key]).abs().max() < 1e-4 for key in plain)


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_workers_change_nothing_in_the_result(workers, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(loader, "DataLoader", lambda *given, **more: started.append(more["num_workers"]) or DataLoader(*given, **more))
    options = {"shuffle_caption": True, "flip_aug": True, "random_crop": True, "color_aug": True, "network_dropout": 0.2}
    train(tmp_path, output_name="none", **options)
    train(tmp_path, output_name="some", max_data_loader_n_workers=workers, **options)
    none, some = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("none", "some"))
    assert all(none[key].equal(some[key]) for key in none)
    assert set(started) == {0, min(workers, loader.worker_count(workers, processes=1))}


def test_previews_disturb_nothing(tmp_path, run_dir):
    (tmp_path / "prompts.txt").write_text("a cat --w 64 --h 64 --s 2 --d 5\nanother --w 64 --h 64 --s 1\n", "utf-8")
    options = {"sample_prompts": tmp_path / "prompts.txt", "sample_every_n_steps": 2, "sample_at_first": True}
    train(tmp_path, output_name="with", network_dropout=0.2, **options)
    samples = events(run_dir, "sample")
    train(tmp_path, output_name="without", network_dropout=0.2)
    assert [(sample["step"], sample["index"]) for sample in samples] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    assert all(Path(sample["path"]).is_file() for sample in samples)
    assert (tmp_path / "out" / "sample" / "prompt.txt").read_bytes() == (tmp_path / "prompts.txt").read_bytes()
    first, second = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("with", "without"))
    assert all(first[key].equal(second[key]) for key in first)


def test_requests_are_served_while_training(tmp_path, run_dir):
    (tmp_path / "prompts.txt").write_text("a cat --w 64 --h 64 --s 1\n", "utf-8")
    (run_dir / "control").mkdir()
    for request in ("save", "sample"):
        (run_dir / "control" / request).write_text("{}")
    assert train(tmp_path, sample_prompts=tmp_path / "prompts.txt") == 0
    assert [(event["what"], event["step"]) for event in events(run_dir, "save")] == [("weights", 1), ("state", 1), ("weights", 3)]
    assert [event["step"] for event in events(run_dir, "sample")] == [1]
    assert list((run_dir / "control").iterdir()) == []


def test_a_pause_says_so(tmp_path, run_dir):
    (run_dir / "control").mkdir()
    (run_dir / "control" / "pause").write_text("{}")
    assert train(tmp_path) == 3
    assert events(run_dir)[-1]["reason"] == "paused"


def test_curves_are_written_in_kohyas_folders(tmp_path):
    assert train(tmp_path, logging_dir=tmp_path / "logs", log_prefix="x-", log_config=True) == 0
    (file,) = (tmp_path / "logs").glob("x-*/network_train/events.out.tfevents.*")
    found = EventAccumulator(str(file.parent))
    found.Reload()
    assert {"loss/current", "loss/average", "lr/unet", "lr/textencoder", "loss/epoch_average"} <= set(found.Tags()["scalars"])
    assert [point.step for point in found.Scalars("loss/current")] == [1, 2, 3]


def test_an_earlier_runs_file_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cat.safetensors").write_text("precious")
    assert train(tmp_path) == 2
    assert "output_name" in capsys.readouterr().err
    assert (tmp_path / "out" / "cat.safetensors").read_text() == "precious"


def test_old_checkpoints_go_and_are_named_but_the_one_that_somebody_keeps_stays(tmp_path, run_dir):
    (run_dir / NOTE_FILE).write_text(json.dumps({"kept": str(tmp_path / "out" / "cat-step00000004.safetensors")}))
    train(tmp_path, max_train_steps=8, save_every_n_steps=2, save_last_n_steps=2, save_state=True)
    kept = sorted(path.name for path in (tmp_path / "out").iterdir())
    steps = [f"cat-step0000000{step}{ending}" for step in (6, 8) for ending in ("-state", ".safetensors")]
    assert kept == ["cat-state", "cat-step00000004.safetensors", *steps, "cat.safetensors"]
    gone = [Path(event["path"]).name for event in events(run_dir, "removed")]
    assert gone == ["cat-step00000002.safetensors", "cat-step00000002-state", "cat-step00000004-state"]


REFUSED = [["--learning_rte", "1"], ["--pretrained_model_name_or_path", "nowhere.safetensors"]]


@pytest.mark.parametrize("words", [["--help"], *REFUSED], ids=lambda words: words[0])
def test_help_and_wrong_options_load_no_torch(words, tmp_path):
    code = (
        "import sys; from sd_scripts.library.training.main import main\n"
        f"try: code = main('train_network', family={tiny_runs.SD!r}, method={tiny_runs.ADAPTER!r}, argv={words!r})\n"
        "except SystemExit as end: code = end.code\n"
        "print('torch' in sys.modules, code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    assert done.stdout.strip().splitlines()[-1] == f"False {0 if words == ['--help'] else 2}"
