"""The Blocks of all pages: each has its own address and loads on its own."""

from __future__ import annotations

from functools import partial

import gradio as gr

from kohya_gui.tabs import about, captions, compare, dataset, run, runs, settings, tensorboard, training
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.shell import NAME, Frame, shell

DRAWN = (
    ("Runs", "/runs", "runs", runs.draw),
    ("Compare", "/compare", "runs", compare.draw),
    ("Run", "/run", "runs", run.draw),
    ("Dataset", "/dataset", "dataset", dataset.draw),
    ("Captions", "/captions", "captions", captions.draw),
    ("TensorBoard", "/tensorboard", "tensorboard", tensorboard.draw),
    ("Settings", "/settings", "settings", settings.draw),
    ("About", "/about", "about", about.draw),
)
"""Every page but the first: title, address, its entry of the side bar, and what draws it. /compare?ids=… and /run?id=… say of what."""


def build_pages(desk: Desk) -> gr.Blocks:
    """Train at /, the others where `DRAWN` says."""
    options = desk.options
    frame = partial(shell, frame=Frame(options.root_path, options.username, shared=options.share, languages=desk.languages))
    with gr.Blocks(analytics_enabled=False, title=NAME) as pages:
        frame("train")
        training.draw(desk, pages)
    for title, address, place, draw in DRAWN:
        with pages.route(title, address) as page:
            frame(place)
            draw(desk, page)
    return pages
