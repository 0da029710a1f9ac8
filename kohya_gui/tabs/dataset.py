"""The Dataset page: which pictures a training uses, how often, at which size, and what is wrong with them. Its script fills what is drawn here."""

from __future__ import annotations

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.dataset_main import main
from kohya_gui.tabs.dataset_side import bar, side
from kohya_gui.tabs.dataset_sight import Sight
from kohya_gui.tabs.desk import Desk
from kohya_gui.text import say


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    html_block(_page, elem_id="dataset")


def _page() -> Markup:
    title = tag("div", tag("h1", say("Dataset")), class_="page-title")
    told = tag("div", id="ds-told", role="status", aria_live="polite")
    # Outside of what is drawn anew: an element that goes while its file dialogue is open never hears what was chosen.
    hidden: dict[str, str | bool] = {"type": "file", "multiple": True, "class_": "visually-hidden", "tabindex": "-1", "aria_hidden": "true"}
    picks = join(tag("input", id="ds-files", **hidden), tag("input", id="ds-tree", webkitdirectory=True, **hidden))
    hint = tag("p", say("Drop pictures, folders or a zip here"), id="ds-hint", aria_hidden="true")
    upload = tag("div", id="ds-upload", class_="card", hidden=True)
    work = tag("div", tag("div", id="ds-side"), tag("section", tag("p", say("Looking…"), class_="soft"), id="ds-main"), id="ds-work")
    return join(title, picks, hint, upload, told, tag("div", id="ds-bar", class_="card"), work)


def parts(sight: Sight) -> dict[str, str]:
    """The page's parts by the ids of their elements."""
    return {"ds-bar": str(bar(sight)), "ds-side": str(side(sight)), "ds-main": str(main(sight))}
