"""The page of one run. Its script asks `/run/look` for the pieces that changed and sends what is pressed; `run_actions` answers.

One element, since each of Gradio's costs time before the page can be used (docs/decisions.md). Any number of pages may look at the same run.
"""

from __future__ import annotations

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_dialogs import dialogs
from kohya_gui.text import say

TABS = ("files", "checkpoints", "log", "timeline", "settings")


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`; which run it shows is in its address."""
    html_block(lambda: _page(desk), elem_id="run-page")


def _page(desk: Desk) -> Markup:
    root = desk.options.root_path
    acts = tag(
        "div",
        tag("a", say("All runs"), href=f"{root}/runs", class_="link small back"),
        tag("button", say("Name and note"), type="button", class_="link small", id="name-note", data_note=True),
        tag("button", say("Train again with changes"), type="button", class_="link small", id="again", data_again=True),
        tag("button", say("Delete…"), type="button", class_="link small danger", id="remove", data_remove=True, hidden=True),
        class_="run-acts",
    )
    panels = tag(
        "div",
        tag(
            "div",
            _piece("charts", "card"),
            tag("details", tag("summary", tag("span", say("The curve as numbers"), class_="title")), _table(), class_="section"),
            class_="run-column",
        ),
        _piece("gallery", "card"),
        id="run-panels",
    )
    looking = tag("div", tag("p", say("Looking…"), class_="soft"), id="run-header", data_piece="header")
    shown = (looking, _buttons(), tag("div", id="outcome"), _piece("verdict"), _piece("result"), panels, _tabs())
    everything = tag("div", acts, shown, id="run", data_poll=f"{desk.settings.poll_seconds:g}")
    return join(everything, dialogs())


def _piece(name: str, class_: str = "") -> Markup:
    """A part of the page that the script fills."""
    return tag("div", id=f"run-{name}", class_=class_ or None, data_piece=name)


def _table() -> Markup:
    return tag("div", _piece("table"), class_="section-body")


def _buttons() -> Markup:
    """Buttons that a run's state shows and hides, by the key of what they do."""
    keys = (
        ("save", say("Save now"), ""),
        ("sample", say("Draw samples now"), ""),
        ("pause", say("Pause"), ""),
        ("stop", say("Stop"), ""),
        ("kill", say("Stop now, without saving"), "stop"),
        ("resume", say("Resume"), "primary"),
    )
    made = [tag("button", words, type="button", id=key, class_=f"button {look}".strip(), data_act=key, hidden=True) for key, words, look in keys]
    return tag("div", made, id="run-buttons", class_="buttons", hidden=True)


def _tabs() -> Markup:
    words = dict(
        zip(TABS, (say("Files"), say("Checkpoints"), say("Log"), say("Timeline"), say("Settings and command")), strict=True),
    )
    heads = [
        tag(
            "button",
            words[key],
            type="button",
            role="tab",
            id=f"tab-{key}",
            aria_controls=f"panel-{key}",
            aria_selected="false",
            tabindex="-1",
            data_tab=key,
        )
        for key in TABS
    ]
    bodies = {key: _piece(key) for key in TABS} | {"log": _log_box()}
    panels = [
        tag("div", bodies[key], role="tabpanel", id=f"panel-{key}", aria_labelledby=f"tab-{key}", class_="card", tabindex="0", hidden=True)
        for key in TABS
    ]
    return tag("div", tag("div", heads, role="tablist", aria_label=say("More of this run")), panels, id="run-tabs")


def _log_box() -> Markup:
    tools = tag(
        "div",
        tag("label", tag("input", type="checkbox", id="log-follow", checked=True), " ", say("Follow")),
        tag("input", type="search", id="log-find", placeholder=say("Find in the log"), aria_label=say("Find in the log")),
        tag("span", id="log-hits", class_="small soft", role="status"),
        tag("button", say("Copy"), class_="button", type="button", data_copy="#log-text"),
        tag("a", say("Download"), class_="button", id="log-download", download="log.txt", href="#"),
        tag(
            "a",
            say("Report"),
            class_="button",
            id="log-report",
            download="report.txt",
            href="#",
            title=say("Settings, versions and the end of the log in one file, without secrets and personal folders"),
        ),
        class_="log-tools",
    )
    return join(tools, tag("pre", id="log-text", tabindex="0", aria_label=say("Log")))
