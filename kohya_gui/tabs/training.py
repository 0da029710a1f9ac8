"""The Train page: the form and the plan beside it. Its script talks to `form_routes`; what that answers stands in `training_actions`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.form.form import PROMPTS, Form
from kohya_gui.form.keys import parameters_by_key
from kohya_gui.form.section import FormSection
from kohya_gui.form.switch import draw_switch, trainers
from kohya_gui.markup import Markup, join, tag
from kohya_gui.sections import SECTIONS
from kohya_gui.sections.preparation import DatasetPreparation
from kohya_gui.sections.samples import PROMPTS_HELP, SampleImages
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import TrainingActions
from kohya_gui.text import say

CONFIG_FILES = ".toml,.json,.yaml,.yml,.safetensors,.sh,.bat,.ps1"


def make_sections(desk: Desk) -> list[FormSection]:
    """The sections of the form, in order, over one form."""
    form = Form(desk.drafts.start, desk.roots)
    return [section(form) for section in SECTIONS]


def make_actions(desk: Desk) -> TrainingActions:
    """What answers the page's script."""
    sections = make_sections(desk)
    return TrainingActions(desk, sections[0].form, tuple(section.facts() for section in sections))


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`, the Blocks that is open."""
    sections = make_sections(desk)
    html_block(lambda: tag("div", tag("h1", say("Train")), class_="page-title"), elem_id="head")
    html_block(draw_switch, elem_id="switches")
    html_block(partial(_config_bar, desk.options.root_path), elem_id="config-bar-holder")
    with gr.Row(elem_id="desk", equal_height=False):
        with gr.Column(elem_id="form-column", scale=3, min_width=0):
            html_block(_find_bar, elem_id="find-bar")
            for section in sections:
                section.draw()
        with gr.Column(elem_id="plan-column", scale=2, min_width=0):
            html_block(_plan_side, elem_id="plan-holder")
    html_block(partial(_index, sections), elem_id="index-holder", elem_classes=["channel"])
    _wire_preparation(sections)


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
    """Config files and presets."""
    path = tag("input", type="text", id="config-file", placeholder="configs/my-lora.toml", autocomplete="off", spellcheck="false")
    browse = tag("button", say("Browse"), type="button", class_="browse", aria_label=say("Browse for {label}", label=say("Config file")))
    upload = tag("input", type="file", accept=CONFIG_FILES, id="config-upload", class_="visually-hidden", tabindex="-1", aria_hidden="true")
    bar = tag(
        "div",
        tag(
            "div",
            tag("label", say("Config file"), for_="config-file"),
            tag("div", path, browse, class_="box"),
            id="config-path",
            class_="path-file",
        ),
        tag("button", say("Open"), type="button", id="config-open", class_="button", data_do="open"),
        tag("button", say("Save"), type="button", id="config-save", class_="button", data_do="save"),
        tag("button", say("Upload…"), type="button", id="config-send", class_="button"),
        upload,
        tag("a", say("Download"), href=f"{root_path}/draft.toml", class_="button", id="config-download", download="config.toml"),
        tag("div", tag("label", say("Preset"), for_="preset"), tag("select", tag("option", "", value=""), id="preset"), id="preset-holder"),
        tag("button", say("Reset"), type="button", id="config-reset", class_="button", data_do="anew"),
        id="config-bar",
        class_="card",
    )
    return join(bar, _paste_box())


def _paste_box() -> Markup:
    words = say("A training command from a guide or a shell, with launcher or without. Its options fill the form.")
    example = "accelerate launch sdxl_train_network.py --network_dim 16 ..."
    lines = tag("textarea", rows=3, id="pasted-text", placeholder=example, spellcheck="false", aria_describedby="h-pasted")
    body = tag(
        "div",
        tag("label", say("Command line"), for_="pasted-text", class_="name"),
        tag("p", words, id="h-pasted", class_="info"),
        tag("div", lines, class_="box", id="pasted"),
        tag("button", say("Take the options"), type="button", id="paste", class_="button", data_do="paste"),
        class_="section-body field wide",
    )
    head = tag("summary", tag("span", say("Paste a command"), class_="title"), tag("span", class_="summary"), tag("span", class_="badge"))
    return tag("details", head, body, id="paste-box", class_="section")


def _index(sections: Sequence[FormSection]) -> Markup:
    """For the page's script: field, label, help, place and part of each option; and what each trainer has."""
    places = {key: section.id for section in sections for key in section.keys}
    parameters = parameters_by_key()
    rows = [[*row, places[row[0]], parameters[row[0]].section] for row in sections[0].form.index() if row[0] in places]
    rows += [[PROMPTS, say("Prompts"), say(PROMPTS_HELP), section.id, ""] for section in sections if isinstance(section, SampleImages)]
    compact = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
    return tag("span", data_index=compact(rows), data_trainers=compact(trainers()), hidden=True)


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
    return join(
        tag("div", find, tag("ul", id="find-results", role="listbox", aria_label=say("Settings found"), hidden=True), class_="find"),
        tag("div", views, class_="views", role="group", aria_label=say("View")),
        tag("div", steps, class_="views steps", role="group", aria_label=say("History")),
    )


def _wire_preparation(sections: Sequence[FormSection]) -> None:
    """The tool that copies pictures is no part of the form: what it fills in goes through the form's script, as if it had been typed."""
    tool = next(section for section in sections if isinstance(section, DatasetPreparation))
    button, result = tool.button, tool.result
    if button is None or result is None:
        raise RuntimeError("the section that prepares a dataset is not drawn yet")

    def prepared(*values: Any) -> Markup:
        sentence, folders = tool.run(values)
        filled = json.dumps(folders, ensure_ascii=False)
        return join(sentence, tag("span", data_fill=filled, hidden=True) if folders else None)

    button.click(prepared, tool.inputs, result, queue=False, show_progress="hidden", trigger_mode="once", api_visibility="private")
