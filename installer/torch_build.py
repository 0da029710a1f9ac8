"""Which torch build fits this machine, found by asking its drivers. Installing it is setup.py's part. Standard library only."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

TORCH = "2.13.0"
TORCH_INDEX = "https://download.pytorch.org/whl"
PROBE_TIMEOUT_S = 3
BUILDS = ("cpu", "cu126", "cu128", "cu130", "rocm", "xpu", "default")
INDEX_FOLDER = {"rocm": "rocm7.1"}


class SetupError(Exception):
    """One line for the user; `code` is the exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Choice:
    """A torch build and why it was chosen."""

    build: str
    why: str


def choose_torch() -> Choice:
    """The build that fits this machine: NVIDIA by driver and card, AMD, Intel, Apple, else the processor alone. Each probe has a time-out."""
    for probe in (_nvidia, _amd, _intel, _apple):
        choice = probe()
        if choice is not None:
            return choice
    return Choice("cpu", "no NVIDIA, AMD, Intel or Apple accelerator answered, so training runs on the processor")


def _nvidia() -> Choice | None:
    text = _ask("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines() if line.count(",") >= 2]
    if not rows:
        return None
    name, driver = rows[0][0], rows[0][2]
    return Choice(*nvidia_build(name, [_version(row[1]) for row in rows], _version(driver)))


def nvidia_build(name: str, capabilities: Sequence[tuple[int, ...]], driver: tuple[int, ...]) -> tuple[str, str]:
    """Build and reason for NVIDIA cards of these compute capabilities under this driver.

    Raises:
        SetupError: the driver is too old for any build, or for the card.
    """
    oldest, newest = min(capabilities), max(capabilities)
    shown = ".".join(str(part) for part in driver)
    card = f"{name} (compute capability {'.'.join(map(str, newest))}), driver {shown}"
    if driver < (525,):
        raise SetupError(f"{card}: torch {TORCH} needs driver 525 or newer. Update the NVIDIA driver, or run with --torch cpu.")
    if newest >= (10, 0) and driver < (570,):
        raise SetupError(f"{card}: this card needs driver 570 or newer. Update the NVIDIA driver, or run with --torch cpu.")
    if oldest < (7, 5):
        return "cu126", f"{card}: the last CUDA builds that know cards below 7.5 are those for 12.6"
    if driver >= (580,):
        return "cu130", f"{card}: the driver runs CUDA 13.0"
    if newest >= (10, 0) or driver >= (570,):
        return "cu128", f"{card}: the driver runs CUDA 12.8"
    return "cu126", f"{card}: any driver from 525 runs CUDA 12.6"


def _amd() -> Choice | None:
    text = _ask("rocminfo") if sys.platform == "linux" else ""
    found = re.search(r"gfx\d+\w*", text)
    return Choice("rocm", f"AMD {found.group(0)} answered to rocminfo") if found else None


def _intel() -> Choice | None:
    text = _ask("xpu-smi", "discovery")
    found = re.search(r"Device Name:\s*(.+?)\s*\|?\s*$", text, re.MULTILINE)
    return Choice("xpu", f"{found.group(1)} answered to xpu-smi") if found else None


def _apple() -> Choice | None:
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return Choice("default", "Apple silicon: the ordinary build has MPS")
    return None


def _ask(*command: str) -> str:
    """What a probe prints; nothing if it is not there, fails, or does not answer in time."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def index_of(build: str) -> str | None:
    """Address of the build's package index if it answers within the time-out; None: use the default registry."""
    if build == "default" or (build == "cpu" and sys.platform != "linux"):
        return None
    address = f"{TORCH_INDEX}/{INDEX_FOLDER.get(build, build)}"
    try:
        request = urllib.request.Request(f"{address}/torch/", method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S):
            return address
    except (OSError, urllib.error.URLError):
        return None
