"""The whole trainer on a GPU: seconds per step beside the bare step of the same U-Net, and its memory beside what the page estimates.

    python -m benchmarks.accelerator [--case NAME ...] [--folder FOLDER] [--jobs N] [--json]

Models have their real size and random weights. Trainer and bare step run in a process each, one after the other, in the same precision: frozen
weights and autocast in bf16, the LoRA in float32. The bare side has fixed latents, noise and text, and no optimizer. What the card holds is what
PyTorch took from the driver plus the driver's own context, which is what nvidia-smi would show of the process. Several cases at once share the card
and the processor, so seconds are then left out.
"""

from __future__ import annotations

import argparse
import json
import math
import pkgutil
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.full_size import write_sd15, write_sdxl
from benchmarks.train_step import GOAL, RECIPES, alone, bare_steps, hand_made, linear_targets, run_trainer, seconds_between, write_pictures
from sd_scripts.library.training.recompute import recompute_blocks
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.memory import Memory
from sd_scripts.survey.checks import survey

GPU = torch.device("cuda")
COLUMNS = {
    "trainer_s": "trainer, s/step", "bare_s": "bare, s/step", "ratio": "ratio", "tensors_gb": "tensors, GB", "bare_gb": "bare, GB",
    "memory": "memory", "card_gb": "card, GB", "estimate_gb": "estimate, GB", "estimate": "estimate / card", "main_gb": "main memory, GB",
}  # fmt: skip
WARM_UP, STEPS = 15, 20
"""Steps that are not counted, while the model's file is being hashed beside them and kernels are chosen, and steps that are."""
UNTIMED_STEPS = 3
LORA: dict[str, object] = {
    "network_module": "networks.lora", "network_dim": 16, "network_alpha": 8, "network_train_unet_only": True, "learning_rate": 1e-4,
    "cache_latents": True, "mixed_precision": "bf16",
}  # fmt: skip
CACHED_TEXT: dict[str, object] = {**LORA, "cache_text_encoder_outputs": True}
WHOLE: dict[str, object] = {"learning_rate": 1e-6, "cache_latents": True, "mixed_precision": "bf16", "gradient_checkpointing": True}


@dataclass(frozen=True, slots=True)
class Case:
    """A script, side of the pictures in pixels, pictures per step, options; `bare`: whether there is a bare step to measure against."""

    script: str
    side: int
    batch: int
    options: dict[str, object] = field(default_factory=dict)
    bare: bool = False

    @property
    def sdxl(self) -> bool:
        """Whether its model is SDXL, else SD 1.5."""
        return self.script.startswith("sdxl")


CASES = {
    "SD 1.5, LoRA": Case("train_network", 512, 4, LORA, bare=True),
    "SD 1.5, LoRA, checkpointing": Case("train_network", 512, 4, {**LORA, "gradient_checkpointing": True}, bare=True),
    "SD 1.5, LoRA with text encoder, nothing cached": Case("train_network", 512, 4, {**LORA, "network_train_unet_only": None, "cache_latents": None}),
    "SD 1.5, whole model, AdamW8bit": Case("train_db", 512, 4, {**WHOLE, "optimizer_type": "AdamW8bit"}),
    "SDXL, LoRA": Case("sdxl_train_network", 1024, 1, CACHED_TEXT, bare=True),
    "SDXL, LoRA, checkpointing": Case("sdxl_train_network", 1024, 4, {**CACHED_TEXT, "gradient_checkpointing": True}, bare=True),
    "SDXL, LoRA, checkpointing, fp8_base, AdamW8bit": Case(
        "sdxl_train_network", 1024, 1, {**CACHED_TEXT, "gradient_checkpointing": True, "fp8_base": True, "optimizer_type": "AdamW8bit"}
    ),
    "SDXL, LoRA, checkpointing, base in nf4": Case(
        "sdxl_train_network", 1024, 1, {**CACHED_TEXT, "gradient_checkpointing": True, "quantize_base": "nf4"}
    ),
    "SDXL, LoRA, checkpointing, base in int8": Case(
        "sdxl_train_network", 1024, 1, {**CACHED_TEXT, "gradient_checkpointing": True, "quantize_base": "int8"}
    ),
    "SDXL, LoRA, checkpointing in main memory": Case(
        "sdxl_train_network", 1024, 1, {**CACHED_TEXT, "gradient_checkpointing": True, "cpu_offload_checkpointing": True}
    ),
    "SDXL, whole U-Net, Adafactor, fused backward pass": Case(
        "sdxl_train", 1024, 1,
        {**WHOLE, "cache_text_encoder_outputs": True, "full_bf16": True, "optimizer_type": "Adafactor", "fused_backward_pass": True,
         "optimizer_args": ["scale_parameter=False", "relative_step=False", "warmup_init=False"]},
    ),
}  # fmt: skip


def words_of(case: Case, model: Path, pictures: Path, steps: int) -> dict[str, object]:
    """The trainer's options."""
    return {
        "pretrained_model_name_or_path": str(model), "train_data_dir": str(pictures), "resolution": f"{case.side},{case.side}",
        "caption_extension": ".txt", "train_batch_size": case.batch, "max_train_steps": steps, "seed": 1,
        **{name: value for name, value in case.options.items() if value is not None},
    }  # fmt: skip


def trainer(case: Case, given: dict[str, object], folder: Path) -> dict[str, float]:
    """Run the whole trainer in this process: seconds per step, bytes, loss."""
    steps = run_trainer(case.script, given, folder)
    if not all(math.isfinite(event["loss"]) for event in steps):
        raise SystemExit("The loss is no number.")
    return {"step_s": statistics.median(seconds_between(steps, WARM_UP) or [math.inf]), "loss": steps[-1]["loss"], **taken()}


def bare(case: Case, given: dict[str, object]) -> dict[str, float]:
    """Forward and backward of the U-Net with a hand-made LoRA in this process: seconds per step, bytes."""
    config = make_config(command(case.script), given)
    model = pkgutil.resolve_name(RECIPES[case.script][0]).load(config, device=GPU, weight_dtype=torch.bfloat16)
    for part in (model.vae, *model.text_encoders):
        part.to("cpu")
    if config[Memory].gradient_checkpointing:
        recompute_blocks(model.unet, [], config[Memory])
    model.unet.train()
    with hand_made(linear_targets(model), config) as parameters:
        for parameter in parameters:
            parameter.data = parameter.data.to(GPU)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        steps = bare_steps(model, case.side, case.batch, text_learns=False, device=GPU, dtype=torch.bfloat16)
        for number in range(WARM_UP + STEPS):
            if number == WARM_UP:
                torch.cuda.synchronize()
                started = time.perf_counter()
            next(steps)
            for parameter in parameters:
                parameter.grad = None
        torch.cuda.synchronize()
        return {"step_s": (time.perf_counter() - started) / STEPS, **taken()}


def taken() -> dict[str, float]:
    """Bytes at most so far: of tensors, of what PyTorch took from the driver, of main memory."""
    main = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"tensors": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved(), "main": main}


def context_bytes() -> int:
    """What the driver keeps of the card for a process that computes, and for whatever else uses the card now."""
    sides = torch.randn(64, 64, device="cuda", dtype=torch.bfloat16)
    torch.nn.functional.conv2d((sides @ sides)[None, None], sides[None, None, :3, :3])
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()


def estimated(case: Case, given: dict[str, object]) -> int:
    """Bytes that the page would say."""
    memory = survey(make_config(command(case.script), given)).memory
    if memory is None:
        raise SystemExit("There is no estimate.")
    return memory.total


def model_of(case: Case, models: Path) -> Path:
    """The case's model, written into `models` unless it is there."""
    return (write_sdxl if case.sdxl else write_sd15)(models / f"{'sdxl' if case.sdxl else 'sd15'}.safetensors")


def measure(case: Case, model: Path, folder: Path, *, context: int, timed: bool) -> dict[str, float | None]:
    """One case, numbers in seconds and GB. Everything that it makes lies in `folder`."""
    steps = STEPS + WARM_UP + 1 if timed else UNTIMED_STEPS
    pictures = write_pictures(folder / "pictures", case.side, count=case.batch, repeats=steps)
    given = words_of(case, model, pictures, steps)
    whole = alone(trainer, case, given, folder / "run")
    least = alone(bare, case, given) if case.bare and timed else {}
    estimate, card = estimated(case, given), whole["reserved"] + context
    return {
        "trainer_s": round(whole["step_s"], 4) if timed else None, "bare_s": round(least["step_s"], 4) if least else None,
        "ratio": round(whole["step_s"] / least["step_s"], 3) if least else None,
        "tensors_gb": round(whole["tensors"] / 1e9, 2), "bare_gb": round(least["tensors"] / 1e9, 2) if least else None,
        "memory": round(whole["tensors"] / least["tensors"], 3) if least else None,
        "card_gb": round(card / 1e9, 2), "estimate_gb": round(estimate / 1e9, 2),
        "estimate": round(estimate / card, 2), "main_gb": round(whole["main"] / 1e9, 1), "loss": round(whole["loss"], 4),
    }  # fmt: skip


def main() -> int:
    """Measure, print, and end with 1 if a goal is missed or a case failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES), metavar="NAME", help="all, unless some are named")
    parser.add_argument("--folder", type=Path, help="where models are kept for the next time; else they are forgotten")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--jobs", type=int, default=1, help="cases at once; with more than one, seconds are not told")
    wanted = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("it needs an NVIDIA GPU, and PyTorch sees none")
    with tempfile.TemporaryDirectory() as made:
        models, context = wanted.folder or Path(made), alone(context_bytes)
        files = {name: model_of(CASES[name], models) for name in wanted.case}

        def one(name: str) -> dict[str, float | None]:
            try:
                row = measure(CASES[name], files[name], Path(made) / str(wanted.case.index(name)), context=context, timed=wanted.jobs == 1)
            except (RuntimeError, OSError, ValueError, SystemExit) as failed:  # a case that fails must not hide the others
                print(f"{name}: {type(failed).__name__}: {failed}", file=sys.stderr)
                row = {}
            print(json.dumps({name: row}), flush=True)
            return row

        with ThreadPoolExecutor(wanted.jobs) as pool:
            results = dict(zip(wanted.case, pool.map(one, wanted.case), strict=True))
    if not wanted.json:
        show(results)
    ratios = [row.get(column) for row in results.values() for column in ("ratio", "memory")]
    return 0 if all(results.values()) and all(ratio is None or ratio <= GOAL for ratio in ratios) else 1


def show(results: dict[str, dict[str, float | None]]) -> None:
    """Print a table."""
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print(f"| {' | '.join(['case', *COLUMNS.values()])} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for name, row in results.items():
        shown = [row.get(column) for column in COLUMNS]
        print(f"| {name} | {' | '.join('–' if value is None else str(value) for value in shown)} |")


if __name__ == "__main__":
    raise SystemExit(main())
