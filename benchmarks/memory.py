"""Peak anonymous memory while a full-size SD 1.5 file is loaded for float32 training, against the size of its weights.

    python -m benchmarks.memory [--model FILE] [--json]

Goal: at most 1.15 times the weights in the training dtype. Anonymous memory is what the process cannot get back from a file; it is read from
/proc every few milliseconds (Linux only).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from benchmarks.full_size import write_sd15
from sd_scripts.library.families.sd import SD
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

GOAL = 1.15
_EVERY_S = 0.005


class AnonymousPeak:
    """Context that records the highest RssAnon of this process, in bytes, as `peak`; `start` is the value on entry."""

    def __enter__(self) -> Self:
        self.start = self.peak = _anonymous_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self.peak = max(self.peak, _anonymous_bytes())


def measure(model: Path, dtype: torch.dtype) -> dict[str, float]:
    """Load `model` in `dtype` on the CPU: weights, peak and its ratio to them, and the seconds that it took."""
    config = make_config(command("train_network"), {"pretrained_model_name_or_path": str(model)})
    with AnonymousPeak() as memory:
        started = time.perf_counter()
        sd = SD.load(config, device=torch.device("cpu"), weight_dtype=dtype)
        seconds = time.perf_counter() - started
    weights = sum(weight.nbytes for part in (sd.unet, sd.vae, sd.text_encoders[0]) for weight in part.parameters())
    return {
        "weights_bytes": weights,
        "before_bytes": memory.start,
        "peak_bytes": memory.peak,
        "ratio": round(memory.peak / weights, 3),
        "load_s": round(seconds, 2),
    }


def main() -> int:
    """Measure, print, and end with 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a single-file model; a random full-size one is made where this is missing")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(wanted.model or write_sd15(Path(folder) / "sd15.safetensors"), torch.float32)
    print(json.dumps({**result, "goal": GOAL}))
    if not wanted.json:
        rows = [
            ("weights in float32", result["weights_bytes"]),
            ("before loading", result["before_bytes"]),
            ("peak while loading", result["peak_bytes"]),
        ]
        print("\n".join(f"{name:<20}{value / 1e9:8.2f} GB" for name, value in rows))
        print(f"{'peak / weights':<20}{result['ratio']:8.3f}    (goal {GOAL}), loaded in {result['load_s']} s")
    return 0 if result["ratio"] <= GOAL else 1


def _anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell anonymous memory")


if __name__ == "__main__":
    raise SystemExit(main())
