"""Milliseconds until it is known what a full-size model file is: family, version, prediction, precision. Goal: under 50 for a file of 7 GB.

    python -m benchmarks.header [--json]

The files have the names and shapes of the published models and a hole in place of the weights, so they take no room on the disk. A program looks at
them that has imported nothing else, as a trainer does before it loads a model. `first` is its first look at a file that the system has dropped from
memory as far as it lets itself be told to, `worst` the longest of the looks after it. TMPDIR chooses the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.sd_scripts.survey.model_files import write_safetensors
from tests.tiny_models import SD15, SD21, SDXL_BASE, Layout, single_file_shapes

ROOT = Path(__file__).parents[1]
GOAL_MS = 50
LOOK = """
import json, sys, time
from sd_scripts.survey.header import detect
times = []
for _ in range(21):
    started = time.perf_counter()
    facts = detect(sys.argv[1])
    times.append(1000 * (time.perf_counter() - started))
print(json.dumps([facts.line(), times]))
"""
CASES: dict[str, tuple[Layout, str]] = {"SD 1.5, fp32": (SD15, "F32"), "SD 2.1, fp16": (SD21, "F16"), "SDXL, fp16": (SDXL_BASE, "F16")}


def dropped_from_memory(path: Path) -> Path:
    """Ask the system to forget the file's content. Returns `path`."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def measure(name: str, folder: Path) -> dict[str, object]:
    """One file: its size, what it was recognised as, and how long that took."""
    layout, dtype = CASES[name]
    path = write_safetensors(folder / "model.safetensors", {key: (dtype, shape) for key, shape in single_file_shapes(layout).items()})
    looked = subprocess.run([sys.executable, "-c", LOOK, str(dropped_from_memory(path))], cwd=ROOT, capture_output=True, text=True, check=True)
    told, (first, *times) = json.loads(looked.stdout)
    return {
        "case": name, "bytes": path.stat().st_size, "told": told, "first_ms": round(first, 1),
        "median_ms": round(statistics.median(times), 1), "worst_ms": round(max(times), 1), "goal_ms": GOAL_MS,
    }  # fmt: skip


def main() -> int:
    """Measure, print, and end with 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(name, Path(folder)) for name in CASES]
    print(json.dumps(results))
    if not wanted.json:
        print("| file | size, GB | first look, ms | median, ms | worst, ms |\n|---|---|---|---|---|")
        for row in results:
            print(f"| {row['case']} | {int(str(row['bytes'])) / 1e9:.1f} | {row['first_ms']} | {row['median_ms']} | {row['worst_ms']} |")
    return 0 if all(float(str(row["first_ms"])) < GOAL_MS for row in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
