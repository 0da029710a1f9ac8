"""The Blocks of all pages: each has its own address and loads on its own."""

from __future__ import annotations

from functools import partial

import gradio as gr

from kohya_gui.tabs import about, captions, compare, dataset, run, runs, settings, tensorboard, training
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.shell import NAME, Frame, shell


def build_pages(desk: Desk) -> gr.Blocks:
    """Train at /, Runs at /runs, some beside each other at /compare?ids=…, one at /run?id=…, About at /about."""
    options = desk.options
    frame = partial(shell, frame=Frame(options.root_path, options.username, shared=options.share, languages=desk.languages))
    with gr.Blocks(analytics_enabled=False, title=NAME) as pages:
        frame("train")
        training.draw(desk, pages)
    with pages.route("Runs", "/runs") as page:
        frame("runs")
        runs.draw(desk, page)
    with pages.route("Compare", "/compare") as page:
        frame("runs")
        compare.draw(desk, page)
    with pages.route("Run", "/run") as page:
        frame("runs")
        run.draw(desk, page)
    with pages.route("Dataset", "/dataset") as page:
        frame("dataset")
        dataset.draw(page)
    with pages.route("Captions", "/captions") as page:
        frame("captions")
        captions.draw(desk, page)
    with pages.route("TensorBoard", "/tensorboard") as page:
        frame("tensorboard")
        tensorboard.draw(desk, page)
    with pages.route("Settings", "/settings") as page:
        frame("settings")
        settings.draw(desk, page)
    with pages.route("About", "/about") as page:
        frame("about")
        about.draw(desk, page)
    return pages
