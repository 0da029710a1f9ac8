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


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(900)
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
    assert [run["state"] for run in json.loads(listed.stdout)] == ["finished"]
