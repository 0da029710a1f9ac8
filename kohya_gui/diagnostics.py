"""What somebody who helps needs to know of this installation, as one text without secrets and personal folders: it is shown before it is saved."""

from __future__ import annotations

import platform
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata

import psutil

from kohya_gui.jobs.devices import machine
from kohya_gui.jobs.runs import RunSummary, list_runs
from kohya_gui.jobs.tail import LOG_FILE, read_tail
from kohya_gui.report import scrubbed
from kohya_gui.settings import HOME, Settings
from kohya_gui.tabs.desk import Desk
from kohya_gui.text import size

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "peft",
    "lycoris-lora",
    "bitsandbytes",
    "xformers",
    "gradio",
    "tensorboard",
)
SHOWN_RUNS = 5
TAIL_BYTES = 3000


def program_version() -> str:
    """The program's own version."""
    return tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def versions() -> list[tuple[str, str]]:
    """The libraries that training and page stand on, those that are installed."""
    found = []
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def device_lines() -> list[str]:
    """What trains here: each card with its memory, or the processor."""
    return [f"{row.name}, {size(row.memory_bytes)}" if row.memory_bytes else row.name for row in machine().devices] or ["CPU only"]


def diagnostics_text(desk: Desk) -> str:
    """The text. Paths below the home folder begin with ~, tokens are taken out, the login's name and password never come in."""
    runs = list_runs(desk.settings.runs_dir)
    parts = [
        ("Program", [("version", program_version()), ("python", sys.version.split()[0]), *versions()]),
        ("Machine", list(_machine(desk.settings))),
        ("Server", _server(desk)),
        ("Settings", list(_settings(desk.settings))),
        ("Runs", [(run.id, _outcome(run)) for run in runs[:SHOWN_RUNS]] or [("none", "")]),
    ]
    text = "\n\n".join(f"== {title} ==\n" + "\n".join(f"{name}: {value}".strip() for name, value in rows) for title, rows in parts)
    failed = next((run for run in runs if run.status.state == "failed"), None)
    if failed is not None:
        log = read_tail(failed.path / LOG_FILE, size=TAIL_BYTES).decode("utf-8", "replace").strip()
        text += f"\n\n== End of the log of {failed.id}, the last run that failed ==\n{log}"
    return scrubbed(text) + "\n"


def _machine(settings: Settings) -> Iterator[tuple[str, str]]:
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "processor", f"{psutil.cpu_count() or 1} threads"
    memory = psutil.virtual_memory()
    yield "memory", f"{size(memory.total)}, {size(memory.available)} available"
    yield from (("device", line) for line in device_lines())
    for name in ("runs_dir", "output_dir"):
        place = getattr(settings, name)
        while not place.exists():
            place = place.parent
        yield f"free disk space for {name}", size(shutil.disk_usage(place).free)


def _server(desk: Desk) -> list[tuple[str, str]]:
    options = desk.options
    return [
        ("listens on", options.listen),
        ("login", "yes" if options.username else "no"),
        ("public link", "yes" if options.share else "no"),
        ("root path", options.root_path or "/"),
        ("language", options.language or "of the browser's cookie, else English"),
    ]


def _settings(settings: Settings) -> Iterator[tuple[str, str]]:
    for name in ("runs_dir", "output_dir", "models_dir", "datasets_dir", "preset", "poll_seconds"):
        yield name, str(getattr(settings, name))
    yield from ((f"defaults.{name}", str(value)) for name, value in settings.defaults.items())
    if settings.ignored:
        yield "keys without a use", ", ".join(settings.ignored)


def _outcome(run: RunSummary) -> str:
    words = [run.status.state, run.command]
    if run.status.exit_code is not None:
        words.append(f"exit code {run.status.exit_code}")
    if run.status.reason:
        words.append(run.status.reason)
    return " · ".join(words)
