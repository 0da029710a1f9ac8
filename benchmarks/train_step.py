"""One training step, measured: our trainer against the bare forward and backward of the same U-Net with a hand-made LoRA, in one process.

    python -m benchmarks.train_step [--case tiny|sdxl|full|cached|all ...] [--json]

The trainer runs whole, through its own door, on pictures from disk; its time per step is the lower quartile of the distances of its step
events. It runs twice: on pictures that it has met before, which is what every epoch but the first costs (it remembers what the VAE made of each),
and on new pictures at every step (`first`), where the VAE's forward is in the time. The bare side knows only the U-Net: fixed latents, noise and
text, the shortest LoRA that one can write, mean squared error, backward. It is timed before and after the trainer, so that a machine whose speed
drifts does not tilt the ratio. `adapter` is the same bare loop with our adapter in place of the hand-made one.

Memory is the highest anonymous memory of a process of its own, less what it had before it loaded the model: the whole trainer against a process that
loads the same model and takes bare steps with torch's AdamW.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import pkgutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.full_size import write_sd15
from benchmarks.memory import AnonymousPeak
from sd_scripts.library.families.base import AdapterTarget
from sd_scripts.library.families.ldm.family import LatentDiffusion
from sd_scripts.library.training.main import main as train
from sd_scripts.networks.build import build as build_adapter
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.events import EVENTS_FILE, RUN_DIR_VARIABLE
from tests.tiny_models import SDXL_BASE, SecondText, build, build_sd15_tiny

SD, SDXL = "sd_scripts.library.families.sd:SD", "sd_scripts.library.families.sdxl:SDXL"
ADAPTER, FINETUNE = "sd_scripts.library.methods.adapter:Adapter", "sd_scripts.library.methods.finetune:Finetune"
RECIPES = {"train_network": (SD, ADAPTER), "sdxl_train_network": (SDXL, ADAPTER), "train_db": (SD, FINETUNE), "sdxl_train": (SDXL, FINETUNE)}
"""Family and method of a script."""
T = TypeVar("T")
SDXL_SMALL = replace(
    SDXL_BASE, channels=(64, 128, 256), depths=(0, 2, 10), text_width=64, text_layers=2, text_mlp=128, vae_channels=(32, 64, 64, 64),
    second=SecondText(128, 2, 256),
)  # fmt: skip
"""SDXL's depth at a fifth of its width."""
CPU = torch.device("cpu")
WARM_UP = 3
GOAL = 1.10
COLUMNS = ("case", "trainer_s", "bare_s", "ratio", "goal", "first", "adapter", "trainer_mb", "bare_mb", "memory")
RANK, ALPHA = 8, 4.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: a model, picture size in pixels, pictures per step, steps, options beside the common ones, the ratio to reach, the script.

    `live`: the VAE is part of a step where a picture is new. `small`: the 20 MB that every trainer needs, such as CLIP's vocabulary, weigh so much
    beside the model that its memory is shown and not judged.
    """

    make_model: Callable[[Path], Path]
    size: int
    batch: int
    steps: int
    options: dict[str, object]
    goal: float = GOAL
    script: str = "train_network"
    live: bool = True
    small: bool = False


CASES = {
    "tiny": Case(build_sd15_tiny, 128, 2, 16, {}, small=True),
    "sdxl": Case(partial(build, SDXL_SMALL), 256, 1, 16, {"network_train_unet_only": True}, script="sdxl_train_network"),
    "full": Case(write_sd15, 512, 1, 6, {}),
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


def run_trainer(script: str, given: dict[str, object], folder: Path) -> list[dict[str, Any]]:
    """The step events of a training. The whole trainer runs in this process; what it prints goes to the error stream."""
    words: list[str] = []
    for name, value in given.items():
        words += [f"--{name}", *([] if value is True else map(str, value) if isinstance(value, list) else [str(value)])]
    folder.mkdir(parents=True)
    os.environ[RUN_DIR_VARIABLE] = str(folder)
    family, method = RECIPES[script]
    with contextlib.redirect_stdout(sys.stderr):
        code = train(script, family=family, method=method, argv=[*words, "--output_dir", str(folder / "out"), "--output_name", "bench"])
    del os.environ[RUN_DIR_VARIABLE]
    if code:
        raise SystemExit(f"The trainer ended with {code}.")
    events = [json.loads(line) for line in (folder / EVENTS_FILE).read_text("utf-8").splitlines()]
    return [event for event in events if event["kind"] == "step"]


def seconds_between(steps: list[dict[str, Any]], warm_up: int) -> list[float]:
    """Seconds that the steps after the first `warm_up` took."""
    times = [event["t"] for event in steps][:-1]  # the last step is reported with the one before
    return [after - before for before, after in pairwise(times)][warm_up - 1 :]


def trainer_step_s(script: str, given: dict[str, object], folder: Path) -> float:
    """Seconds of one of the trainer's steps."""
    return undisturbed(seconds_between(run_trainer(script, given, folder), WARM_UP))


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


def load(case: Case, given: dict[str, object]) -> LatentDiffusion:
    """The case's model in float32 on the processor."""
    config = make_config(command(case.script), given)
    return pkgutil.resolve_name(RECIPES[case.script][0]).load(config, device=CPU, weight_dtype=torch.float32)


def linear_targets(model: LatentDiffusion) -> list[AdapterTarget]:
    """The U-Net's layers that a plain LoRA patches."""
    return [target for target in model.targets() if target.part == "unet" and not target.conv]


def bare_steps(
    model: LatentDiffusion, size: int, batch: int, *, text_learns: bool, device: torch.device = CPU, dtype: torch.dtype = torch.float32
) -> Generator[None, None, None]:
    """Forward and backward of the U-Net with whatever is attached to it, one at each turn; under autocast unless `dtype` is float32.

    `size`: side of the pictures in pixels. `text_learns`: whether a gradient for the captions is computed too.
    """
    unet: Any = model.unet
    side, width = size // model.latent_stride, int(unet.config.cross_attention_dim)
    draw = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(device, dtype)

    latents, noise = (drawn(batch, 4, side, side) for _ in range(2))
    text = drawn(batch, 77, width).requires_grad_(text_learns)
    timesteps = torch.randint(0, 1000, (batch,), generator=draw).to(device)
    sizes = torch.tensor([[size, size, 0, 0, size, size]] * batch, dtype=dtype, device=device)
    pooled = unet.config.projection_class_embeddings_input_dim
    more = {"time_ids": sizes, "text_embeds": drawn(batch, pooled - 6 * 256)} if pooled else None
    while True:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            model_pred = unet(latents, timesteps, text, added_cond_kwargs=more, return_dict=False)[0]
        torch.nn.functional.mse_loss(model_pred.float(), noise.float()).backward()
        yield


def steps_of_case(model: LatentDiffusion, case: Case) -> Generator[None, None, None]:
    """`bare_steps` of a case, on the processor."""
    return bare_steps(model, case.size, case.batch, text_learns="network_train_unet_only" not in case.options)


def bare_step_s(model: LatentDiffusion, case: Case, parameters: list[nn.Parameter]) -> float:
    """Seconds of one of `bare_steps`."""
    steps, seconds = steps_of_case(model, case), []
    for _ in range(case.steps + WARM_UP):
        started = time.perf_counter()
        next(steps)
        seconds.append(time.perf_counter() - started)
        for parameter in parameters:
            parameter.grad = None
    return undisturbed(seconds[WARM_UP:])


def bare_peak(name: str, given: dict[str, object], folder: Path) -> int:
    """Bytes that loading the model and a few bare steps with AdamW take at most."""
    case = CASES[name]
    with AnonymousPeak() as memory:
        model = load(case, given)
        with hand_made(linear_targets(model), make_config(command(case.script), given)) as parameters:
            optimizer, steps = torch.optim.AdamW(parameters), steps_of_case(model, case)
            for _ in range(WARM_UP):
                next(steps)
                optimizer.step()
                optimizer.zero_grad()
    return memory.peak - memory.start


def trainer_peak(name: str, given: dict[str, object], folder: Path) -> int:
    """Bytes that the whole trainer takes at most, beside its code."""
    importlib.import_module("sd_scripts.library.training.session")
    with AnonymousPeak() as memory:
        trainer_step_s(CASES[name].script, given, folder)
    return memory.peak - memory.start


def alone(part: Callable[..., T], *args: object) -> T:
    """`part` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(part, *args).result()


def measure(name: str, case: Case, folder: Path) -> dict[str, object]:
    """One case: seconds per step of both sides and their ratios."""
    model = case.make_model(folder / f"{case.script}-{case.size}.safetensors")
    known = write_pictures(folder / name / "known", case.size, count=case.batch, repeats=steps_of(case))
    given = options(case, model, known)
    bytes_of = [alone(peak, name, given, folder / name / peak.__name__) for peak in (trainer_peak, bare_peak)]
    config, loaded = make_config(command(case.script), given), load(case, given)
    targets = linear_targets(loaded)

    def bare(attach: Callable[..., contextlib.AbstractContextManager[list[nn.Parameter]]]) -> float:
        with attach(targets, config) as parameters:
            return bare_step_s(loaded, case, parameters)

    before, adapter = bare(hand_made), bare(ours)
    whole = trainer_step_s(case.script, given, folder / name / "run")
    first = None
    if case.live:
        new = write_pictures(folder / name / "new", case.size, count=steps_of(case) * case.batch, repeats=1)
        first = trainer_step_s(case.script, options(case, model, new), folder / name / "first run")
    between = (before + bare(hand_made)) / 2
    return {
        "case": name, "trainer_s": round(whole, 4), "bare_s": round(between, 4), "ratio": round(whole / between, 3), "goal": case.goal,
        "first": round(first / between, 3) if first else None, "adapter": round(adapter / before, 3),
        "trainer_mb": bytes_of[0] // 10**6, "bare_mb": bytes_of[1] // 10**6, "memory": round(bytes_of[0] / bytes_of[1], 3),
        "threads": torch.get_num_threads(), "batch": case.batch, "pixels": case.size,
    }  # fmt: skip


def main() -> int:
    """Measure, print, and end with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", choices=[*CASES, "all"], nargs="+", default=["tiny"], help="full and cached need 8 GB of memory and minutes")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    wanted = parser.parse_args()
    names = list(CASES) if "all" in wanted.case else wanted.case
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(name, CASES[name], Path(folder)) for name in names]
    print(json.dumps(results))
    if not wanted.json:
        titles = ("case", "trainer, s/step", "bare, s/step", "ratio", "goal", "first epoch", "our adapter alone", "trainer, MB", "bare, MB", "memory")
        print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
        for row in results:
            shown = [row[name] for name in COLUMNS]
            print(f"| {' | '.join('–' if value is None else str(value) for value in shown)} |")
    in_time = all(float(str(row["ratio"])) <= float(str(row["goal"])) for row in results)
    in_memory = all(float(str(row["memory"])) <= GOAL for row in results if not CASES[str(row["case"])].small)
    return 0 if in_time and in_memory else 1


if __name__ == "__main__":
    raise SystemExit(main())
