"""Which accelerators there are, without torch: NVIDIA's tool is asked, with a short time-out. Whether torch can use them is the set-up's business."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

Kind = Literal["cuda", "rocm", "xpu", "mps", "cpu"]
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator. `capability` is NVIDIA's compute capability (8, 9); None where it does not apply or is not told."""

    index: int
    name: str
    memory_bytes: int = 0
    capability: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What training can run on: `kind` with its `devices`; "cpu" has none."""

    kind: Kind
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Load of one accelerator now."""

    index: int
    name: str
    percent: float
    used_bytes: int
    total_bytes: int


@functools.cache
def machine() -> Machine:
    """What this machine has, asked once per process."""
    if nvidia := nvidia_devices():
        return Machine("cuda", nvidia)
    if rocm := _rocm_devices():
        return Machine("rocm", rocm)
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return Machine("mps", (Device(0, "Apple GPU"),))
    return Machine("cpu")


def nvidia_devices() -> tuple[Device, ...]:
    """NVIDIA cards that CUDA_VISIBLE_DEVICES leaves visible, numbered as CUDA numbers them then."""
    rows = _nvidia_smi("name,memory.total,compute_cap")
    cards = [Device(i, row[0], int(_number(row[1]) * 2**20), _capability(row[2])) for i, row in enumerate(rows) if len(row) == 3]
    return tuple(Device(i, card.name, card.memory_bytes, card.capability) for i, card in enumerate(_visible(cards)))


def gpu_use() -> tuple[GpuUse, ...]:
    """Load and memory of every NVIDIA card; empty without one."""
    rows = _nvidia_smi("name,utilization.gpu,memory.used,memory.total")
    return tuple(
        GpuUse(i, row[0], _number(row[1]), int(_number(row[2]) * 2**20), int(_number(row[3]) * 2**20)) for i, row in enumerate(rows) if len(row) == 4
    )


def _visible(cards: list[Device]) -> list[Device]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return cards
    wanted = [word.strip() for word in named.split(",")]
    if any(word and not word.isdecimal() for word in wanted):
        return cards[: sum(1 for word in wanted if word and word != "-1")]
    return [cards[int(word)] for word in wanted if word and int(word) < len(cards)]


def _nvidia_smi(query: str) -> list[list[str]]:
    tool = shutil.which("nvidia-smi")
    answer = _ask([tool, f"--query-gpu={query}", "--format=csv,noheader,nounits"]) if tool else ""
    return [[cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line.strip()]


def _rocm_devices() -> tuple[Device, ...]:
    tool = shutil.which("rocminfo")
    names = re.findall(r"Marketing Name:\s*(.*\S)\s*\n(?:.*\n)*?\s*Device Type:\s*GPU", _ask([tool])) if tool else []
    return tuple(Device(i, name) for i, name in enumerate(names))


def _ask(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _number(text: str) -> float:
    """A tool's number; 0 where it says that it has none ("[N/A]")."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _capability(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None
