"""Small trainings that tests start: a few 64 px pictures, the 2.3 M parameter model, a LoRA of rank 4, on the CPU."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from accelerate.state import AcceleratorState, PartialState
from PIL import Image

from sd_scripts.library.training.main import main

TWO_BUCKETS = {"resolution": "128"}
"""At 128 the pictures fall into two buckets, at 64 into one (and steps take a quarter of the time)."""
SD, SDXL = "sd_scripts.library.families.sd:SD", "sd_scripts.library.families.sdxl:SDXL"
ADAPTER = "sd_scripts.library.methods.adapter:Adapter"
FINETUNE = "sd_scripts.library.methods.finetune:Finetune"
EMBEDDING = "sd_scripts.library.methods.embedding:Embedding"
RECIPES = {
    "train_network": (SD, ADAPTER),
    "sdxl_train_network": (SDXL, ADAPTER),
    "train_db": (SD, FINETUNE),
    "fine_tune": (SD, FINETUNE),
    "sdxl_train": (SDXL, FINETUNE),
    "train_textual_inversion": (SD, EMBEDDING),
    "sdxl_train_textual_inversion": (SDXL, EMBEDDING),
}
"""Family and method of each script, as its recipe names them."""
SIZES = ((64, 64), (64, 64), (64, 128), (128, 64), (100, 90))


def draw_pictures(folder: Path, sizes: tuple[tuple[int, int], ...] = SIZES) -> Path:
    """Pictures of coloured noise with captions of four tags; the same every time. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    for number, (width, height) in enumerate(sizes):
        coarse = random.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
        if (folder / f"{number}.png").exists():
            continue  # a test has put something of its own there
        Image.fromarray(coarse).resize((width, height)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"cat, number {number}, red, blue", encoding="utf-8")
    return folder


def micro_model(folder: Path) -> Path:
    """The small model's file, made once per folder."""
    path = folder / "micro.safetensors"
    return path if path.exists() else tiny_models.build_sd15_micro(path)


def sdxl_model(folder: Path) -> Path:
    """The small SDXL model's file, made once per folder."""
    path = folder / "sdxl.safetensors"
    return path if path.exists() else tiny_models.build_sdxl_tiny(path)


def options(root: Path, **given: object) -> list[str]:
    """A command line: the small model and two repeats of the pictures under `root`, and `given` on top (True: a switch, None: left out)."""
    values: dict[str, object] = {
        "pretrained_model_name_or_path": micro_model(root),
        "train_data_dir": draw_pictures(root / "pictures" / "2_cat").parent,
        "caption_extension": ".txt",
        "output_dir": root / "out",
        "output_name": "cat",
        "resolution": "64",
        "enable_bucket": True,
        "bucket_reso_steps": 64,
        "min_bucket_reso": 64,
        "max_bucket_reso": 256,
        "network_module": "networks.lora",
        "network_dim": 4,
        "learning_rate": 1e-3,
        "train_batch_size": 2,
        "max_train_steps": 3,
        "max_data_loader_n_workers": 0,
        "seed": 1,
        **given,
    }
    words: list[str] = []
    for name, value in values.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, (list, tuple)):
            words += [f"--{name}", *map(str, value)]
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return words


def train(root: Path, script: str = "train_network", **given: object) -> int:
    """Train in this process; the exit code."""
    fresh_process()
    family, method = RECIPES[script]
    if family == SDXL:
        given = {"pretrained_model_name_or_path": sdxl_model(root), **given}
    if method != ADAPTER:
        given = {"network_module": None, "network_dim": None, "learning_rate": 1e-4, **given}
    return main(script, family=family, method=method, argv=options(root, **given))


def fresh_process() -> None:
    """Put back what accelerate keeps between runs of one process."""
    torch.set_num_threads(1)  # steps are so small that threads only wait for each other
    AcceleratorState._reset_state(True)
    PartialState._reset_state()


def events(run_dir: Path, kind: str | None = None) -> list[Mapping[str, object]]:
    """What a run told, all or one kind."""
    found = [json.loads(line) for line in (run_dir / "events.jsonl").read_text("utf-8").splitlines()]
    return [event for event in found if kind in (None, event["kind"])]


def report_to(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `run_dir` the folder that trainers of this test report to; returns it."""
    run_dir.mkdir()
    monkeypatch.setenv("STUDIO_RUN_DIR", str(run_dir))
    return run_dir


def free_port() -> str:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
