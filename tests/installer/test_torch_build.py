"""The installer's choice of a torch build: newest cards, old cards, old drivers, other makers, none at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from installer.torch_build import SetupError, choose_torch, nvidia_build

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("card", "capability", "driver", "build"),
    [
        ("RTX 5090", (12, 0), (580, 65), "cu130"),
        ("RTX 5090", (12, 0), (570, 86), "cu128"),
        ("RTX 4090", (8, 9), (550, 54), "cu126"),
        ("RTX 3060", (8, 6), (575, 51), "cu128"),
        ("GTX 1080", (6, 1), (580, 65), "cu126"),
        ("Tesla T4", (7, 5), (535, 0), "cu126"),
    ],
)
def test_nvidia_builds_follow_card_and_driver(card, capability, driver, build):
    chosen, why = nvidia_build(card, [capability], driver)
    assert chosen == build
    assert card in why


@pytest.mark.parametrize(("capability", "driver", "needed"), [((8, 9), (470, 0), "525"), ((12, 0), (550, 54), "570")])
def test_a_driver_that_is_too_old_is_said_with_the_one_that_is_needed(capability, driver, needed):
    with pytest.raises(SetupError, match=f"driver {needed} or newer"):
        nvidia_build("card", [capability], driver)


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}\n", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(os.name == "nt", reason="the stand-ins for driver programs are POSIX scripts")
@pytest.mark.parametrize(
    ("name", "text", "build"),
    [
        ("nvidia-smi", "print('NVIDIA RTX 4090, 8.9, 580.65.06')", "cu130"),
        ("rocminfo", "print('  Name:  gfx1100')", "rocm"),
        ("xpu-smi", "print('| Device Name: Intel Arc A770 |')", "xpu"),
        ("nvidia-smi", "raise SystemExit('NVIDIA-SMI has failed')", "cpu"),
    ],
)
def test_what_the_driver_programs_say_decides(tmp_path, monkeypatch, name, text, build):
    program(tmp_path, name, text)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_torch().build == build


def test_without_any_accelerator_it_is_the_cpu_build_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    choice = choose_torch()
    assert (choice.build, "processor" in choice.why) == ("cpu", True)


@pytest.mark.parametrize(
    ("words", "code", "said"), [(["extras", "nonsense"], 2, '"nonsense" is no optional part'), (["--torch", "cu99"], 2, "invalid choice")]
)
def test_wrong_words_are_refused_in_one_line(words, code, said):
    done = subprocess.run([sys.executable, str(ROOT / "setup.py"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stderr
