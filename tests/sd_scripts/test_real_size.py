"""Models of their real size, with random weights: the whole trainer takes two steps on SD 1.5 and on SDXL.

Needs 10 GB of memory, 7 GB of disk and some minutes, so it runs only where it is asked for: `python -m pytest -m large`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import events, report_to, train

from benchmarks.full_size import write_sd15, write_sdxl
from sd_scripts.library.weights_file import read_weights
from sd_scripts.survey.header import read_header

NAMES = json.loads((Path(__file__).parents[1] / "golden" / "lora_module_names.json").read_text("utf-8"))
UNET = "model.diffusion_model."


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("script", "write", "parameters", "names"),
    [("train_network", write_sd15, 859_520_964, "sd15_lora"), ("sdxl_train_network", write_sdxl, 2_567_463_684, "sdxl_lora")],
)
def test_two_steps_on_a_model_of_real_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, write: Callable[[Path], Path], parameters: int, names: str
) -> None:
    model = write(tmp_path / "model.safetensors")
    shapes = {name: shape for name, (_, shape) in read_header(model).tensors.items() if name.startswith(UNET)}
    assert sum(math.prod(shape) for shape in shapes.values()) == parameters
    run_dir = report_to(tmp_path / "run", monkeypatch)
    given = {"mixed_precision": "bf16", "network_train_unet_only": True, "gradient_checkpointing": True, "train_batch_size": 1, "max_train_steps": 2}
    assert train(tmp_path, script, pretrained_model_name_or_path=model, **given) == 0
    losses = [float(str(event["loss"])) for event in events(run_dir, "step")]
    assert len(losses) == 2 and all(0 < loss < 100 for loss in losses)
    tensors, _ = read_weights(tmp_path / "out" / "cat.safetensors")
    learnt = {name.removesuffix(".lora_up.weight"): tensor for name, tensor in tensors.items() if name.endswith(".lora_up.weight")}
    assert learnt.keys() == set(NAMES[names]["denoiser"])
    assert all(tensor.isfinite().all() and tensor.count_nonzero() for tensor in learnt.values())
