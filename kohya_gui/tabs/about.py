"""The About page: what this is, which versions run, and where things are kept."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.jobs.devices import machine
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.text import size

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "gradio")


def draw(desk: Desk) -> None:
    """Build the page inside the current Blocks."""
    html_block(tag("div", tag("h1", "About"), class_="page-title"))
    html_block(_what(shared=desk.options.share), elem_classes=["card"])
    with gr.Row(equal_height=False, elem_id="about-panels"):
        html_block(join(tag("h2", "This machine"), _facts(_machine())), elem_classes=["card"])
        html_block(join(tag("h2", "Where things are"), _facts(_places(desk))), elem_classes=["card"])


def _what(*, shared: bool) -> Markup:
    leaves = "What this page shows goes through a relay to whoever has the public link and the login" if shared else "Nothing leaves this machine"
    return join(
        tag("h2", "What this is"),
        tag(
            "p",
            "Trains LoRA files for Stable Diffusion 1.x and 2.x on your own pictures and your own machine. "
            "It reads and writes the option names, config files, folders and weight files of the kohya programs.",
        ),
        tag(
            "p",
            f"{leaves}: the page asks no other server, and the trainer downloads nothing unless you name a model by its Hugging Face id.",
        ),
        tag("p", "Licence: Apache-2.0."),
    )


def _machine() -> list[tuple[str, str]]:
    found = machine()
    devices = [f"{device.name}, {size(device.memory_bytes)}" if device.memory_bytes else device.name for device in found.devices] or ["CPU only"]
    rows = [("Device", "; ".join(devices)), ("System", f"{platform.system()} {platform.release()}"), ("Python", sys.version.split()[0])]
    return rows + [(name, metadata.version(name)) for name in PACKAGES if _is_installed(name)]


def _places(desk: Desk) -> list[tuple[str, str]]:
    folders = ", ".join(str(folder) for folder in desk.roots.folders if folder.is_dir())
    rows = [("Runs", str(desk.settings.runs_dir)), ("Finished files", str(desk.settings.output_dir)), ("Folders the page may use", folders)]
    return [*rows, ("Keys of config.toml without a use", ", ".join(desk.settings.ignored))] if desk.settings.ignored else rows


def _facts(rows: list[tuple[str, str]]) -> Markup:
    return tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in rows], class_="facts")


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
