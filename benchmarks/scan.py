"""Seconds and memory until 100,000 pictures are listed, looked at and sorted into buckets. Goals: under 60 s on two cores, under 1 GB.

    python -m benchmarks.scan [--pictures N] [--json]

The pictures are real files of three formats and of twelve shapes, each with a caption, in several folders, one of them with regularisation pictures.
A program that has imported nothing else surveys them as a trainer does: `first`; then again in the same process, as a page does after each change of
an option: `again`. Memory is the process's highest resident set. TMPDIR chooses the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES, FOLDERS = 100_000, 5
GOAL_S, GOAL_MB = 60, 1000
SHAPES = (
    (512, 512), (640, 480), (480, 640), (768, 512), (512, 768), (800, 450), (450, 800), (1024, 768), (300, 300), (1000, 400), (400, 1000), (700, 690),
)  # fmt: skip
KINDS: tuple[tuple[str, dict[str, Any]], ...] = ((".jpg", {"quality": 30}), (".png", {}), (".webp", {"quality": 30}))
SURVEY = """
import json, resource, sys, time
from pathlib import Path
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.survey.checks import survey
config = make_config(command("train_network"), json.loads(sys.argv[1]))
times = []
for _ in range(2):
    started = time.perf_counter()
    report = survey(config)
    times.append(time.perf_counter() - started)
pictures = sum(row.images for row in report.scan.counts)
print(json.dumps([times, pictures, report.plan.total_steps, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
"""


def write_pictures(root: Path, count: int) -> Path:
    """`count` pictures with captions in folders of kohya's names, the last of them regularisation. Returns `root`."""
    contents = [[_encoded(root, shape, kind, options) for kind, options in KINDS] for shape in SHAPES]
    for number in range(count):
        part = number * FOLDERS // count
        folder = root / ("reg" if part == FOLDERS - 1 else "train") / f"{1 + part % 3}_thing{part}"
        if number * FOLDERS % count < FOLDERS:
            folder.mkdir(parents=True, exist_ok=True)
        ending, content = contents[number % len(SHAPES)][number % len(KINDS)]
        (folder / f"picture{number:06d}{ending}").write_bytes(content)
        (folder / f"picture{number:06d}.txt").write_text(f"a thing, number {number}, tag {number % 97}, tag {number % 89}", "utf-8")
    return root


def _encoded(root: Path, shape: tuple[int, int], kind: str, options: dict[str, Any]) -> tuple[str, bytes]:
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"sample{kind}"
    Image.new("RGB", shape, (shape[0] % 256, shape[1] % 256, 90)).save(path, **options)
    content = path.read_bytes()
    path.unlink()
    return kind, content


def measure(count: int, folder: Path) -> dict[str, object]:
    """Make the pictures and survey them."""
    root = write_pictures(folder, count)
    given = {
        "train_data_dir": str(root / "train"), "reg_data_dir": str(root / "reg"), "caption_extension": ".txt", "resolution": "512,512",
        "enable_bucket": True, "train_batch_size": 4, "max_train_epochs": 1, "output_dir": str(folder / "out"), "network_module": "networks.lora",
    }  # fmt: skip
    surveyed = subprocess.run([sys.executable, "-c", SURVEY, json.dumps(given)], cwd=ROOT, capture_output=True, text=True, check=True)
    (first, again), pictures, steps, megabytes = json.loads(surveyed.stdout)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0
    return {
        "pictures": pictures, "steps": steps, "first_s": round(first, 2), "again_s": round(again, 2), "memory_mb": megabytes,
        "goal_s": GOAL_S, "goal_mb": GOAL_MB, "load": round(load, 2),
    }  # fmt: skip


def main() -> int:
    """Measure, print, and end with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="how many")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = measure(arguments.pictures, Path(folder))
    print(json.dumps(row))
    if not arguments.json:
        print("| pictures | first, s | again, s | memory, MB |\n|---|---|---|---|")
        print(f"| {row['pictures']:,} | {row['first_s']} | {row['again_s']} | {row['memory_mb']} |")
    return int(float(str(row["first_s"])) > GOAL_S or int(str(row["memory_mb"])) > GOAL_MB)


if __name__ == "__main__":
    raise SystemExit(main())
