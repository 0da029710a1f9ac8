"""The Train page: the form and the plan beside it. Its script talks to `form_routes`; what that answers stands in `training_actions`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.form.form import Form
from kohya_gui.form.section import FormSection
from kohya_gui.form.switch import draw_switch, trainers
from kohya_gui.form.widgets import browse_button
from kohya_gui.markup import Markup, join, tag
from kohya_gui.sections import SECTIONS
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import TrainingActions
from kohya_gui.tabs.training_guide import draw_guide
from kohya_gui.text import say

CONFIG_FILES = ".toml,.json,.yaml,.yml,.safetensors,.sh,.bat,.ps1"


def make_sections(desk: Desk) -> list[FormSection]:
    """The sections of the form, in order, over one form."""
    form = Form(desk.drafts.start)
    return [section(form) for section in SECTIONS]


def make_actions(desk: Desk) -> TrainingActions:
    """What answers the page's script."""
    sections = make_sections(desk)
    return TrainingActions(desk, sections[0].form, tuple(section.facts() for section in sections))


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`, the Blocks that is open: one element, since each of Gradio's costs time before the page can be used."""
    html_block(partial(_page, desk, make_sections(desk)), elem_id="train-page")


def _page(desk: Desk, sections: Sequence[FormSection]) -> Markup:
    title = tag("div", tag("h1", say("Train")), class_="page-title")
    form = tag("div", _find_bar(), [section.markup() for section in sections], id="form-column")
    beside = tag("div", form, tag("div", _plan_side(), id="plan-column"), id="desk")
    known = json.dumps(trainers(), ensure_ascii=False, separators=(",", ":"))
    switches = tag("div", draw_switch(), id="switches")
    return join(title, draw_guide(desk), switches, _config_bar(desk.options.root_path), beside, tag("span", data_trainers=known, hidden=True))


def _plan_side() -> Markup:
    plan = tag("div", tag("h2", say("Plan")), tag("p", say("Looking…"), class_="soft"), id="plan", class_="card")
    foot = tag(
        "div",
        tag("button", say("Check"), type="button", id="check", class_="button", data_do="check"),
        tag("button", say("Show command"), type="button", id="show-command", class_="button", data_do="command"),
        tag("button", say("Start training"), type="button", id="start", class_="button primary", data_do="start"),
        id="foot",
    )
    return join(plan, foot, tag("div", id="outcome"))


def _config_bar(root_path: str) -> Markup:
    """Config files and presets; what is needed less often lies folded below."""
    path = tag(
        "input", type="text", id="config-file", placeholder="configs/my-lora.toml", autocomplete="off", spellcheck="false", list="config-recent"
    )
    upload = tag("input", type="file", accept=CONFIG_FILES, id="config-upload", class_="visually-hidden", tabindex="-1", aria_hidden="true")
    bar = tag(
        "div",
        tag(
            "div",
            tag("label", say("Config file"), for_="config-file"),
            tag("div", path, browse_button(say("Config file")), class_="box"),
            tag("datalist", id="config-recent"),
            id="config-path",
            class_="path-file",
        ),
        _button("Open", "open", "config-open"),
        _button("Save", "save", "config-save"),
        tag("div", tag("label", say("Preset"), for_="preset"), tag("select", tag("option", "", value=""), id="preset"), id="preset-holder"),
        _button("Reset", "anew", "config-reset"),
        upload,
        id="config-bar",
        class_="card",
    )
    head = tag("summary", tag("span", say("More with files"), class_="title"), tag("span", class_="summary"), tag("span", class_="badge"))
    body = tag("div", _file_tools(root_path), _compare_tool(), _keep_tool(), _paste_tool(), class_="section-body tools")
    return join(bar, tag("details", head, body, id="paste-box", class_="section"))


def _file_tools(root_path: str) -> Markup:
    return tag(
        "div",
        tag("button", say("Upload…"), type="button", id="config-send", class_="button"),
        tag("a", say("Download"), href=f"{root_path}/draft.toml", class_="button", id="config-download", download="config.toml"),
        _button("Duplicate", "duplicate", "config-duplicate"),
        _button("For the kohya GUI (JSON)", "export-json", "export-json"),
        _button("For sd-scripts (TOML)", "export-toml", "export-toml"),
        class_="buttons",
    )


def _compare_tool() -> Markup:
    other = tag("input", type="text", id="compare-with", autocomplete="off", spellcheck="false", list="config-recent", aria_describedby="h-compare")
    return tag(
        "div",
        tag("label", say("Compare the config file above with"), for_="compare-with", class_="name"),
        tag("p", say("Another config file. Empty: this form."), id="h-compare", class_="info"),
        tag("div", other, browse_button(say("Compare the config file above with")), _button("Compare", "compare", "compare"), class_="box"),
        class_="field wide path-file",
    )


def _keep_tool() -> Markup:
    name = tag("input", type="text", id="preset-name", autocomplete="off", aria_describedby="h-preset-name")
    return tag(
        "div",
        tag("label", say("Keep as a preset"), for_="preset-name", class_="name"),
        tag("p", say("How this form trains, under a name of yours; without model, folders and tokens."), id="h-preset-name", class_="info"),
        tag("div", name, _button("Keep", "preset-keep", "preset-keep"), class_="box"),
        class_="field wide",
    )


def _paste_tool() -> Markup:
    words = say("A training command from a guide or a shell, with launcher or without. Its options fill the form.")
    example = "accelerate launch sdxl_train_network.py --network_dim 16 ..."
    lines = tag("textarea", rows=3, id="pasted-text", placeholder=example, spellcheck="false", aria_describedby="h-pasted")
    return tag(
        "div",
        tag("label", say("Paste a command"), for_="pasted-text", class_="name"),
        tag("p", words, id="h-pasted", class_="info"),
        tag("div", lines, class_="box", id="pasted"),
        _button("Take the options", "paste", "paste"),
        class_="field wide",
    )


def _button(label: str, deed: str, id_: str) -> Markup:
    return tag("button", say(label), type="button", id=id_, class_="button", data_do=deed)


def _find_bar() -> Markup:
    find = tag(
        "input",
        id="find",
        type="search",
        placeholder=say("Find a setting by name, flag or help"),
        aria_label=say("Find a setting"),
        autocomplete="off",
        role="combobox",
        aria_expanded="false",
        aria_controls="find-results",
    )
    views = [
        tag("button", say(label), type="button", data_view=view, aria_pressed="true" if view == "basic" else "false")
        for view, label in (("basic", "Basic"), ("all", "All"), ("changed", "Changed"))
    ]
    steps = [
        tag("button", mark, type="button", data_do=act, aria_label=say(label), title=say(label), disabled=True)
        for act, mark, label in (("undo", "↶", "Undo"), ("redo", "↷", "Redo"))
    ]
    return tag(
        "div",
        tag("div", find, tag("ul", id="find-results", role="listbox", aria_label=say("Settings found"), hidden=True), class_="find"),
        tag("div", views, class_="views", role="group", aria_label=say("View")),
        tag("div", steps, class_="views steps", role="group", aria_label=say("History")),
        id="find-bar",
    )
