"""The About page: what this is, which versions run, where things are kept, and how to report that something is wrong."""

from __future__ import annotations

import platform
import sys

import gradio as gr

from kohya_gui.diagnostics import device_lines, program_version, versions
from kohya_gui.form.block import html_block
from kohya_gui.form.switch import METHODS
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.shell import NAME
from kohya_gui.text import say
from sd_scripts.params.commands import COMMANDS
from sd_scripts.params.families import FAMILIES


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    html_block(lambda: _page(desk), elem_id="about")


def _page(desk: Desk) -> Markup:
    title = tag("div", tag("h1", say("About")), tag("p", say("{program} {version}", program=NAME, version=program_version())), class_="page-title")
    panels = tag(
        "div",
        tag("section", tag("h2", say("This machine")), _facts(_machine()), class_="card"),
        tag("section", tag("h2", say("Where things are")), _facts(_places(desk)), class_="card"),
        id="about-panels",
    )
    return join(title, _what(shared=desk.options.share), panels, _report(desk.options.root_path))


def _what(*, shared: bool) -> Markup:
    trained = [row for row in COMMANDS if row.kind == "train"]
    families = ", ".join(dict.fromkeys(FAMILIES[row.family].title for row in trained))
    methods = ", ".join(dict.fromkeys(say(METHODS[row.method]) for row in trained))
    what = say(
        "Trains image models on your own pictures and your own machine. Methods: {methods}. Models: {families}.", methods=methods, families=families
    )
    files = say("It reads and writes the option names, config files, folders and weight files of the kohya programs.")
    leaves = (
        say("What this page shows goes through a relay to whoever has the public link and the login.")
        if shared
        else say("Nothing leaves this machine: the page asks no other server.")
    )
    hub = say("The trainer downloads only what is named by its Hugging Face id, and uploads only where you ask for it.")
    licence = say("Licence: {name}. Its text is the file LICENSE beside the program.", name="Apache-2.0")
    return tag("section", tag("h2", say("What this is")), tag("p", what, " ", files), tag("p", leaves, " ", hub), tag("p", licence), class_="card")


def _machine() -> list[tuple[str, str]]:
    return [
        (say("Device"), "; ".join(device_lines())),
        (say("System"), f"{platform.system()} {platform.release()}"),
        ("Python", sys.version.split()[0]),
        *versions(),
    ]


def _places(desk: Desk) -> list[tuple[str, str]]:
    folders = ", ".join(str(folder) for folder in desk.roots.folders if folder.is_dir())
    settings = desk.settings
    rows = [
        (say("Runs"), str(settings.runs_dir)),
        (say("Finished files"), str(settings.output_dir)),
        (say("Settings"), str(settings.source or "")),
        (say("Folders that the page may use"), folders),
    ]
    return [*rows, (say("Keys of config.toml without a use"), ", ".join(settings.ignored))] if settings.ignored else rows


def _report(root: str) -> Markup:
    """How to get help: the page of the run for one training, this text for the installation."""
    run = say("Something is wrong with one training: open its run and choose “Report” there. It holds the settings and the end of the log.")
    rest = say(
        "Something else is wrong: send this text along. Read it first: tokens are taken out and your home folder is written as ~, but names of "
        "your runs are in it. Nothing is sent by itself."
    )
    buttons = tag(
        "div",
        tag(
            "button", say("Show the text"), type="button", class_="button", id="diagnostics-show", aria_expanded="false", aria_controls="diagnostics"
        ),
        tag("button", say("Copy"), type="button", class_="button", data_copy="#diagnostics", hidden=True),
        tag("a", say("Save as a file"), href=f"{root}/diagnostics?download=true", class_="button", hidden=True),
        class_="buttons",
    )
    text = tag("pre", id="diagnostics", tabindex="0", hidden=True, aria_label=say("Diagnostics"))
    return tag("section", tag("h2", say("If something is wrong")), tag("p", run), tag("p", rest), buttons, text, class_="card", id="about-report")


def _facts(rows: list[tuple[str, str]]) -> Markup:
    return tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in rows], class_="facts")
