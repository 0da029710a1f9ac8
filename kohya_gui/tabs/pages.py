"""The Blocks of all pages: each has its own address and loads on its own."""

from __future__ import annotations

import gradio as gr

from kohya_gui.tabs import about, run, runs, training
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.shell import NAME, shell


def build_pages(desk: Desk) -> gr.Blocks:
    """Train at /, Runs at /runs, one run at /run?id=…, About at /about."""
    root, user = desk.options.root_path, desk.options.username or None
    with gr.Blocks(analytics_enabled=False, title=NAME) as pages:
        shell("train", root_path=root, user=user)
        training.draw(desk, pages)
    with pages.route("Runs", "/runs") as page:
        shell("runs", root_path=root, user=user)
        runs.draw(desk, page)
    with pages.route("Run", "/run") as page:
        shell("runs", root_path=root, user=user)
        run.draw(desk, page)
    with pages.route("About", "/about"):
        shell("about", root_path=root, user=user)
        about.draw(desk)
    return pages
