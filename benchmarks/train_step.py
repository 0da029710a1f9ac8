"""One training step, measured: our trainer against the bare forward and backward of the same U-Net with a hand-made LoRA, in one process.

    python -m benchmarks.train_step [--case tiny|full|cached|all] [--json]

The trainer runs whole, through its own door, on pictures from disk; its time per step is the lower quartile of the distances of its step
events. It runs twice: on pictures that it has met before, which is what every epoch but the first costs (it remembers what the VAE made of each),
and on new pictures at every step (`first`), where the VAE's forward is in the time. The bare side knows only the U-Net: fixed latents, noise and
text, the shortest LoRA that one can write, mean squared error, backward. It is timed before and after the trainer, so that a machine whose speed
drifts does not tilt the ratio. `adapter` is the same bare loop with our adapter in place of the hand-made one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.full_size import write_sd15
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.sd import SD
from sd_scripts.library.training.main import main as train
from sd_scripts.networks.build import build as build_adapter
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.events import EVENTS_FILE, RUN_DIR_VARIABLE
from tests.tiny_models import build_sd15_tiny

FAMILY, METHOD = "sd_scripts.library.families.sd:SD", "sd_scripts.library.methods.adapter:Adapter"
WARM_UP = 3
RANK, ALPHA = 8, 4.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: a model, picture size in pixels, pictures per step, steps, options beside the common ones, and the ratio to reach.

    `live`: the VAE is part of a step where a picture is new.
    """

    make_model: Callable[[Path], Path]
    size: int
    batch: int
    steps: int
    options: dict[str, object]
    goal: float
    live: bool = True


CASES = {
    "tiny": Case(build_sd15_tiny, 128, 2, 16, {}, 1.25),
    "full": Case(write_sd15, 512, 1, 6, {}, 1.20),
    "cached": Case(write_sd15, 512, 1, 6, {"cache_latents": True, "network_train_unet_only": True}, 1.05, live=False),
}


class HandMade(nn.Module):
    """LoRA in four lines: what the adapter may cost at least."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        outputs, inputs, *kernel = module.weight.shape
        if kernel:
            self.down: nn.Module = nn.Conv2d(inputs, RANK, module.kernel_size, module.stride, module.padding, bias=False)
            self.up: nn.Module = nn.Conv2d(RANK, outputs, 1, bias=False)
        else:
            self.down, self.up = nn.Linear(inputs, RANK, bias=False), nn.Linear(RANK, outputs, bias=False)
        self.plain, self.scale = module.forward, ALPHA / RANK

    def forward(self, inputs: Tensor) -> Tensor:
        """The module's output plus the low-rank part."""
        return self.plain(inputs) + self.up(self.down(inputs)) * self.scale


def steps_of(case: Case) -> int:
    """Steps of the trainer's whole run: an epoch, so that none ends while the clock runs."""
    return case.steps + WARM_UP + 1


def options(case: Case, model: Path, pictures: Path) -> dict[str, object]:
    """The trainer's options."""
    return {
        "pretrained_model_name_or_path": str(model), "train_data_dir": str(pictures), "resolution": f"{case.size},{case.size}",
        "caption_extension": ".txt", "train_batch_size": case.batch, "max_train_steps": steps_of(case), "learning_rate": 1e-4,
        "network_module": "networks.lora", "network_dim": RANK, "network_alpha": ALPHA, "seed": 1, **case.options,
    }  # fmt: skip


def write_pictures(folder: Path, size: int, *, count: int, repeats: int) -> Path:
    """Captioned pictures of noise, as PNG. Returns `folder`."""
    random = np.random.default_rng(0)
    named = folder / f"{repeats}_noise"
    named.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(random.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(named / f"{index}.png")
        (named / f"{index}.txt").write_text(f"noise number {index}", "utf-8")
    return folder


def trainer_step_s(given: dict[str, object], folder: Path) -> float:
    """Seconds between the trainer's steps. The whole trainer runs in this process; what it prints goes to the error stream."""
    words = [word for name, value in given.items() for word in ([f"--{name}"] if value is True else [f"--{name}", str(value)])]
    folder.mkdir(parents=True)
    os.environ[RUN_DIR_VARIABLE] = str(folder)
    with contextlib.redirect_stdout(sys.stderr):
        code = train("train_network", family=FAMILY, method=METHOD, argv=[*words, "--output_dir", str(folder / "out"), "--output_name", "bench"])
    del os.environ[RUN_DIR_VARIABLE]
    if code:
        raise SystemExit(f"The trainer ended with {code}.")
    events = [json.loads(line) for line in (folder / EVENTS_FILE).read_text("utf-8").splitlines()]
    times = [event["t"] for event in events if event["kind"] == "step"][:-1]  # the last step is reported with the one before
    return undisturbed([after - before for before, after in zip(times[WARM_UP - 1 :], times[WARM_UP:], strict=False)])


def undisturbed(seconds: list[float]) -> float:
    """The lower quartile: what other programs on the machine take away makes steps longer, never shorter."""
    return statistics.quantiles(seconds, n=4)[0]


@contextlib.contextmanager
def hand_made(targets: list[AdapterTarget], config: Config) -> Generator[list[nn.Parameter], None, None]:
    """The targets with the shortest LoRA attached; yields what is trained."""
    parts = [HandMade(target.module) for target in targets]
    for target, part in zip(targets, parts, strict=True):
        target.module.forward = part.forward
    yield [parameter for part in parts for parameter in part.parameters() if parameter.requires_grad]
    for target in targets:
        del target.module.forward


@contextlib.contextmanager
def ours(targets: list[AdapterTarget], config: Config) -> Generator[list[nn.Parameter], None, None]:
    """The targets with networks.lora attached; yields what is trained."""
    adapter = build_adapter(config, targets)
    adapter.apply()
    yield list(adapter.parameters())
    adapter.remove()


def bare_step_s(sd: SD, case: Case, parameters: list[nn.Parameter]) -> float:
    """Seconds of forward and backward of the U-Net with whatever is attached to it."""
    unet: Any = sd.unet
    side, width = case.size // SD.latent_stride, int(unet.config.cross_attention_dim)
    draw = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(case.batch, 4, side, side, generator=draw) for _ in range(2))
    text = torch.randn(case.batch, 77, width, generator=draw, requires_grad="network_train_unet_only" not in case.options)
    timesteps = torch.randint(0, 1000, (case.batch,), generator=draw)
    seconds = []
    for _ in range(case.steps + WARM_UP):
        started = time.perf_counter()
        torch.nn.functional.mse_loss(unet(latents, timesteps, text, return_dict=False)[0], noise).backward()
        seconds.append(time.perf_counter() - started)
        for parameter in parameters:
            parameter.grad = None
    return undisturbed(seconds[WARM_UP:])


def measure(name: str, case: Case, folder: Path) -> dict[str, object]:
    """One case: seconds per step of both sides and their ratios."""
    model = case.make_model(folder / f"{case.size}.safetensors")
    known = write_pictures(folder / name / "known", case.size, count=case.batch, repeats=steps_of(case))
    given = options(case, model, known)
    config = make_config(command("train_network"), given)
    sd = SD.load(config, device=torch.device("cpu"), weight_dtype=torch.float32)
    targets = [target for target in sd.targets() if target.part == "unet" and not target.conv]

    def bare(attach: Callable[..., contextlib.AbstractContextManager[list[nn.Parameter]]]) -> float:
        with attach(targets, config) as parameters:
            return bare_step_s(sd, case, parameters)

    before, adapter = bare(hand_made), bare(ours)
    whole = trainer_step_s(given, folder / name / "run")
    first = None
    if case.live:
        new = write_pictures(folder / name / "new", case.size, count=steps_of(case) * case.batch, repeats=1)
        first = trainer_step_s(options(case, model, new), folder / name / "first run")
    between = (before + bare(hand_made)) / 2
    return {
        "case": name, "trainer_s": round(whole, 4), "bare_s": round(between, 4), "ratio": round(whole / between, 3), "goal": case.goal,
        "first": round(first / between, 3) if first else None, "adapter": round(adapter / before, 3),
        "threads": torch.get_num_threads(), "batch": case.batch, "pixels": case.size,
    }  # fmt: skip


def main() -> int:
    """Measure, print, and end with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", choices=[*CASES, "all"], default="tiny", help="full and cached need 8 GB of memory and minutes")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    wanted = parser.parse_args()
    names = list(CASES) if wanted.case == "all" else [wanted.case]
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(name, CASES[name], Path(folder)) for name in names]
    print(json.dumps(results))
    if not wanted.json:
        print("| case | trainer, s/step | bare, s/step | ratio | goal | first epoch | our adapter alone |\n|---|---|---|---|---|---|---|")
        for row in results:
            shown = [row[name] for name in ("case", "trainer_s", "bare_s", "ratio", "goal", "first", "adapter")]
            print(f"| {' | '.join('–' if value is None else str(value) for value in shown)} |")
    return 0 if all(float(str(row["ratio"])) <= float(str(row["goal"])) for row in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
