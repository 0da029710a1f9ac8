"""The README's first command as a newcomer meets it: a fresh copy in a folder with an awkward name, a clean home, nothing installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from demo.judge import mean_likeness, read_pictures
from demo.make_dataset import DATASET

ROOT = Path(__file__).parents[2]
AWKWARD = "Träining 'stüdio' 画像"
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "runs", "outputs", "__pycache__", ".*_cache", ".hypothesis")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without anything that was installed or made."""
    folder = tmp_path_factory.mktemp("fresh machine") / AWKWARD
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    return folder


def clean_environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STUDIO", "ACCELERATE", "VIRTUAL_ENV", "PYTEST"))}
    return {**kept, "HOME": str(home)}


def likeness_by_step(run: Path) -> tuple[float, float]:
    """How like the dataset the run's sample pictures are, before the first step and at the end: 0 to 1."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text("utf-8").splitlines()]
    pictures: dict[int, list[Image.Image]] = {}
    for event in events:
        if event["kind"] == "sample":
            pictures.setdefault(event["step"], []).append(Image.open(run.parents[1] / event["path"]))
    dataset = read_pictures(DATASET)
    return mean_likeness(pictures[min(pictures)], dataset), mean_likeness(pictures[max(pictures)], dataset)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(1800)  # it installs everything, and trains beside other tests
def test_the_demo_command_installs_trains_and_says_where_the_result_is(fresh, tmp_path):
    command = [sys.executable, "gui.py", "demo", "--exit", "--headless"]
    done = subprocess.run(command, cwd=fresh, env=clean_environment(tmp_path), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lora = Path(re.search(r"^LoRA: (.+)$", done.stdout, re.MULTILINE)[1])
    picture = Path(re.search(r"^Before and after: (.+)$", done.stdout, re.MULTILINE)[1])
    assert AWKWARD in str(lora)
    assert (lora.stat().st_size > 10_000, picture.stat().st_size > 10_000) == (True, True)
    assert re.findall(r"http://\S+", done.stdout) == [re.search(r"http://127\.0\.0\.1:\d+/run\?id=\S+", done.stdout)[0]]
    listed = subprocess.run(
        [sys.executable, "gui.py", "runs", "--json"], cwd=fresh, env=clean_environment(tmp_path), capture_output=True, text=True, check=True
    )
    (run,) = json.loads(listed.stdout)
    assert run["state"] == "finished"
    before, after = likeness_by_step(fresh / "runs" / run["id"])
    assert before < 0.1 and after > 0.5, f"likeness to the dataset: {before:.2f} before, {after:.2f} after"
