"""Seconds from the command to the first optimizer step, split by what they go into.

    python -m benchmarks.startup [--model FILE | --full] [--repeat N] [--json]

Rows: `--help` and a refused option (no torch), the libraries' imports alone, the whole command, and of it our own part: everything but launcher
and library imports. Times are the best of N. Without --model a tiny SD 1.x model is trained on, with --full a random one of full size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from benchmarks.full_size import write_sd15
from tests.tiny_models import build_sd15_tiny

ROOT = Path(__file__).parents[1]
TRAINER = ROOT / "sd_scripts" / "train_network.py"
LIBRARIES = (
    "import torch, torch._dynamo, accelerate, tokenizers",
    "from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel",
    "from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL",
    "from transformers import CLIPTextModel",
)
LAUNCHER = "-m accelerate.commands.launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no --num_cpu_threads_per_process 2"


def write_pictures(folder: Path) -> Path:
    """Four small captioned pictures. Returns `folder`."""
    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (64, 64), (60 * index, 100, 200)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text("a picture", "utf-8")
    return folder


def trainer_arguments(model: Path, pictures: Path, output: Path) -> list[str]:
    """A run of one step, whose last save is the only one."""
    options: dict[str, object] = {"pretrained_model_name_or_path": model, "train_data_dir": pictures, "output_dir": output, "output_name": "startup"}
    options |= {"network_module": "networks.lora", "max_train_steps": 1, "resolution": "64,64", "caption_extension": ".txt", "seed": 1}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def seconds_of(command: list[str], *, expected: int = 0) -> float:
    """Wall seconds of a whole command. Raises RuntimeError if it ends with another exit code."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode != expected:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - started


def first_step_s(command: list[str], run_dir: Path) -> tuple[float, float]:
    """Seconds from the start of a trainer to its first step, and to its options being accepted, by its own events."""
    run_dir.mkdir(parents=True)
    started = time.time()
    done = subprocess.run(command, cwd=ROOT, env=_environment(STUDIO_RUN_DIR=str(run_dir)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the trainer ended with {done.returncode}:\n{done.stderr}")
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text("utf-8").splitlines()]
    return _time_of(events, "step") - started, _time_of(events, "phase") - started


def measure(model: Path, folder: Path, *, repeat: int) -> dict[str, float]:
    """All rows of the table, in seconds."""
    pictures, python = write_pictures(folder / "pictures"), sys.executable
    rows: dict[str, list[float]] = {}
    for index in range(repeat):
        arguments = trainer_arguments(model, pictures, folder / f"output{index}")
        launched = trainer_arguments(model, pictures, folder / f"launched{index}")
        step, accepted = first_step_s([python, str(TRAINER), *arguments], folder / f"run{index}")
        with_launcher, _ = first_step_s([python, *LAUNCHER.split(), str(TRAINER), *launched], folder / f"launched_run{index}")
        found = {
            "help": seconds_of([python, str(TRAINER), "--help"]),
            "refused option": seconds_of([python, str(TRAINER), "--no_such_option", "1"], expected=2),
            "library imports": seconds_of([python, "-c", "\n".join(LIBRARIES)]),
            "options and pictures": accepted,
            "first step": step,
            "first step, launched": with_launcher,
        }
        for name, seconds in found.items():
            rows.setdefault(name, []).append(seconds)
    best = {name: round(min(values), 2) for name, values in rows.items()}
    return best | {"our own part": round(best["first step"] - best["library imports"], 2)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a single-file SD 1.x model")
    parser.add_argument("--full", action="store_true", help="train on a random model of full size")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = write_sd15 if wanted.full else build_sd15_tiny
        result = measure(wanted.model or made(folder / "model.safetensors"), folder, repeat=wanted.repeat)
    print(json.dumps(result))
    if not wanted.json:
        print("\n".join(f"{name:<24}{seconds:8.2f} s" for name, seconds in result.items()))
    return 0


def _time_of(events: list[dict[str, float]], kind: str) -> float:
    return next(event["t"] for event in events if event["kind"] == kind)


def _environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", **extra}


if __name__ == "__main__":
    raise SystemExit(main())
