"""The Train page: the form and the plan beside it. What its buttons do stands in `training_actions`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from kohya_gui.configs import preset_folder, presets
from kohya_gui.form.block import html_block
from kohya_gui.form.form import Form
from kohya_gui.form.section import FormSection
from kohya_gui.form.switch import draw_switch
from kohya_gui.markup import Markup, join, tag
from kohya_gui.sections import SECTIONS
from kohya_gui.sections.preparation import DatasetPreparation
from kohya_gui.sections.samples import PROMPTS_HELP, SampleImages
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.training_actions import PROMPTS, Others, TrainingActions, told
from sd_scripts.errors import TrainingError
from sd_scripts.params.commands import COMMANDS

# While typing, one field travels, nothing waits in a queue, and of several changes the last one counts.
LIVE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
PRESSED: dict[str, Any] = {"queue": False, "show_progress": "hidden", "trigger_mode": "once", "api_visibility": "private"}


@dataclass(frozen=True)
class Channels:
    """Elements that are written by the server and read by the page's script or shown as they are."""

    plan: gr.HTML
    marks: gr.HTML
    findings: gr.HTML
    outcome: gr.HTML
    goto: gr.HTML


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`, the Blocks that is open."""
    form = Form(desk.words, desk.drafts.start, desk.roots)
    sections = [section(form) for section in SECTIONS]
    with gr.Row(elem_id="head", equal_height=False):
        html_block(tag("div", tag("h1", "Train"), class_="page-title"))
    with gr.Row(elem_id="switches", equal_height=False):
        method, family = draw_switch(form.start.command)
    bar = _config_bar(desk)
    with gr.Row(elem_id="desk", equal_height=False):
        with gr.Column(elem_id="form-column", scale=3, min_width=0):
            html_block(_find_bar(), elem_id="find-bar")
            for section in sections:
                section.draw()
        with gr.Column(elem_id="plan-column", scale=2, min_width=0):
            plan = html_block(join(tag("h2", "Plan"), tag("p", "Looking…", class_="soft")), elem_id="plan", elem_classes=["card"])
            buttons = _buttons()
            outcome = html_block(elem_id="outcome")
    channels = Channels(plan, _channel("marks"), _channel("findings"), outcome, _channel("goto"))
    html_block(_index(form, sections), elem_id="index-holder", elem_classes=["channel"])
    actions = TrainingActions(desk, form, tuple(section.facts() for section in sections), Others(_prompts(sections), method, family, bar.preset))
    blocks.load(actions.load, None, [*everything(actions)], **PRESSED).then(actions.marks, None, channels.marks, **PRESSED)
    _wire_fields(actions, channels)
    _wire_switch(actions, channels)
    _wire_buttons(actions, channels, buttons)
    _wire_files(actions, channels, bar)
    _wire_preparation(sections, actions, channels)


def _wire_fields(actions: TrainingActions, channels: Channels) -> None:
    for name, widget in [*actions.form.fields.items(), (PROMPTS, actions.others.prompts)]:
        # A Textbox's `input` is silent for pasted and scripted text; its `change` also comes for what the server set, which the handler passes over.
        event = widget.change if isinstance(widget, gr.Textbox) else getattr(widget, "input")  # noqa: B009
        event(_typed(actions, name), widget, channels.marks, **LIVE)
    channels.marks.change(actions.plan, None, [channels.plan, channels.findings], **LIVE)
    act = gr.Textbox(elem_id="act", visible="hidden", label="Commands of the page's script")
    act.change(actions.act, act, [*everything(actions)], **PRESSED).then(actions.marks, None, channels.marks, **PRESSED)


def _wire_switch(actions: TrainingActions, channels: Channels) -> None:
    """Both rows of choices lead to a trainer; fields of other trainers are hidden by the page's script, which reads the marks."""
    method, family = actions.others.method, actions.others.family
    for row in (method, family):
        row.input(actions.switch, [method, family], [*everything(actions)], **LIVE).then(actions.marks, None, channels.marks, **LIVE)


def _typed(actions: TrainingActions, name: str) -> Callable[..., Any]:
    def typed(value: Any, request: gr.Request) -> Any:
        return actions.typed(name, value, request)

    return typed


def everything(actions: TrainingActions) -> set[Block]:
    """All fields; as a set, so that a handler gets their values by component."""
    return {*actions.form.fields.values(), *actions.others}


def _buttons() -> tuple[gr.Button, gr.Button, gr.Button]:
    with gr.Row(elem_id="foot"):
        check = gr.Button("Check", elem_id="check")
        show = gr.Button("Show command", elem_id="show-command")
        start = gr.Button("Start training", variant="primary", elem_id="start")
    return check, show, start


def _wire_buttons(actions: TrainingActions, channels: Channels, buttons: tuple[gr.Button, gr.Button, gr.Button]) -> None:
    check, show, start = buttons
    inputs = everything(actions)

    def checked(values: dict[Component, Any], request: gr.Request) -> Any:
        return actions.check(values, request)

    def commanded(values: dict[Component, Any], request: gr.Request) -> Any:
        return actions.show_command(values, request)

    def started(values: dict[Component, Any], request: gr.Request) -> Any:
        return actions.start(values, request)

    check.click(checked, inputs, [channels.plan, channels.findings, channels.outcome], **PRESSED)
    show.click(commanded, inputs, channels.outcome, **PRESSED)
    start.click(started, inputs, [channels.outcome, channels.goto], **PRESSED)


@dataclass(frozen=True)
class ConfigBar:
    """Widgets above the form: config files and presets."""

    path: gr.Textbox
    open: gr.Button
    save: gr.Button
    upload: gr.UploadButton
    preset: gr.Dropdown
    reset: gr.Button
    pasted: gr.Textbox
    paste: gr.Button


def _config_bar(desk: Desk) -> ConfigBar:
    with gr.Row(elem_id="config-bar", elem_classes=["card"], equal_height=False):
        path = gr.Textbox(
            label="Config file", placeholder="configs/my-lora.toml", elem_id="config-path", elem_classes=["path-file"], scale=5, min_width=220
        )
        opening = gr.Button("Open", elem_id="config-open", scale=0, min_width=72)
        saving = gr.Button("Save", elem_id="config-save", scale=0, min_width=72)
        upload = gr.UploadButton(
            "Upload…",
            file_types=[".toml", ".json", ".safetensors", ".sh", ".bat", ".ps1"],
            elem_id="config-upload",
            scale=0,
            min_width=96,
            type="filepath",
        )
        link = tag("a", "Download", href=f"{desk.options.root_path}/draft.toml", class_="button", id="config-download", download="config.toml")
        html_block(link, elem_id="download-holder")
        preset = gr.Dropdown(
            list(presets(preset_folder(desk.drafts.start.command.method))), value=None, label="Preset", elem_id="preset", scale=2, min_width=150
        )
        reset = gr.Button("Reset", elem_id="config-reset", scale=0, min_width=72)
    with gr.Accordion("Paste a command", open=False, elem_id="paste-box", elem_classes=["section"]):
        pasted = gr.Textbox(
            label="Command line",
            info="A training command from a guide or a shell, with launcher or without. Its options fill the form.",
            placeholder="accelerate launch sdxl_train_network.py --network_dim 16 ...",
            lines=3,
            max_lines=12,
            elem_id="pasted",
            elem_classes=["field", "wide"],
        )
        paste = gr.Button("Take the options", elem_id="paste", scale=0)
    return ConfigBar(path, opening, saving, upload, preset, reset, pasted, paste)


def _wire_files(actions: TrainingActions, channels: Channels, bar: ConfigBar) -> None:
    widgets = everything(actions)
    shown = [*widgets, channels.outcome]

    def said(answer: Callable[[], tuple[dict[Component, Any], Markup]]) -> dict[Component, Any]:
        try:
            values, sentence = answer()
        except TrainingError as failed:
            return {channels.outcome: told("bad", str(failed))}
        return {**values, channels.outcome: sentence}

    def opened(path: str, request: gr.Request) -> Any:
        return said(lambda: actions.open_path(path or "", request))

    def uploaded(path: str, request: gr.Request) -> Any:
        return said(lambda: actions.open_upload(path, request))

    def chosen(name: str, request: gr.Request) -> Any:
        return said(lambda: actions.open_preset(name, request))

    def taken(text: str, request: gr.Request) -> Any:
        return said(lambda: actions.open_command(text, request))

    def emptied(request: gr.Request) -> Any:
        return said(lambda: actions.reset(request))

    def saved(values: dict[Component, Any], request: gr.Request) -> Any:
        try:
            return actions.save(values[bar.path] or "", values, request)
        except TrainingError as failed:
            return told("bad", str(failed))

    for event, handler, inputs in (
        (bar.open.click, opened, bar.path),
        (bar.upload.upload, uploaded, bar.upload),
        (bar.preset.input, chosen, bar.preset),
        (bar.reset.click, emptied, None),
        (bar.paste.click, taken, bar.pasted),
    ):
        event(handler, inputs, shown, **PRESSED).then(actions.marks, None, channels.marks, **PRESSED)
    bar.save.click(saved, {*widgets, bar.path}, channels.outcome, **PRESSED)


def _wire_preparation(sections: Sequence[FormSection], actions: TrainingActions, channels: Channels) -> None:
    tool = next(section for section in sections if isinstance(section, DatasetPreparation))
    fields = actions.form.fields

    button, result = tool.button, tool.result
    if button is None or result is None:
        raise RuntimeError("the section that prepares a dataset is not drawn yet")

    def prepared(*values: Any) -> dict[Component, Any]:
        sentence, folders = tool.run(values)
        return {result: sentence, **{fields[name]: text for name, text in folders.items()}}

    button.click(prepared, tool.inputs, [result, *(fields[name] for name in tool.FILLS)], **PRESSED)


def _prompts(sections: Sequence[FormSection]) -> Component:
    drawn = next(section.prompts for section in sections if isinstance(section, SampleImages))
    if drawn is None:
        raise RuntimeError("the section of sample pictures is not drawn yet")
    return drawn


def _channel(name: str) -> gr.HTML:
    return html_block(elem_id=name, elem_classes=["channel"])


def _index(form: Form, sections: Sequence[FormSection]) -> Markup:
    """For the page's script: field, label, help, place and part of each option; and the parts that each trainer has."""
    places = {key: section.id for section in sections for key in section.keys}
    rows = [[*row, places[row[0]], form.parameters[row[0]].section] for row in form.index()]
    rows += [[PROMPTS, "Prompts", PROMPTS_HELP, section.id, ""] for section in sections if isinstance(section, SampleImages)]
    parts = {command.script: [section.name for section in command.descriptions] for command in COMMANDS if command.kind == "train"}
    compact = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
    return tag("span", data_index=compact(rows), data_trainers=compact(parts), hidden=True)


def _find_bar() -> Markup:
    find = tag(
        "input",
        id="find",
        type="search",
        placeholder="Find a setting by name, flag or help",
        aria_label="Find a setting",
        autocomplete="off",
        role="combobox",
        aria_expanded="false",
        aria_controls="find-results",
    )
    views = [
        tag("button", label, type="button", data_view=view, aria_pressed="true" if view == "basic" else "false")
        for view, label in (("basic", "Basic"), ("all", "All"), ("changed", "Changed"))
    ]
    steps = [
        tag("button", mark, type="button", data_act=act, aria_label=label, title=label, disabled=True)
        for act, mark, label in (("undo", "↶", "Undo"), ("redo", "↷", "Redo"))
    ]
    return join(
        tag("div", find, tag("ul", id="find-results", role="listbox", hidden=True), class_="find"),
        tag("div", views, class_="views", role="group", aria_label="View"),
        tag("div", steps, class_="views", role="group", aria_label="History"),
    )
