"""The Settings page: how the pages look, where things go, what a new form starts with, and tokens. The page's script fills it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import gradio as gr

from kohya_gui.configs import FIRST_SCRIPT
from kohya_gui.form.block import html_block
from kohya_gui.form.widgets import browse_button, shown
from kohya_gui.jobs.secrets import SECRETS_FILE, kept_ending
from kohya_gui.markup import Markup, join, tag
from kohya_gui.presets import listed
from kohya_gui.settings import OPTIONS, Settings
from kohya_gui.settings_file import SettingsFile
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.settings_actions import FOLDERS
from kohya_gui.tabs.shell import language_choice
from kohya_gui.text import say, words
from sd_scripts.params.commands import command
from sd_scripts.params.spec import Parameter

THEMES = ("", "light", "dark")


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page inside `blocks`."""
    html_block(lambda: _frame(desk), elem_id="settings")


def _frame(desk: Desk) -> Markup:
    title = tag("div", tag("h1", say("Settings")), tag("p", id="settings-path", class_="num"), class_="page-title")
    told = tag("div", id="settings-told", role="status", aria_live="polite")
    return join(title, told, _appearance(desk), tag("div", tag("p", say("Looking…"), class_="soft"), id="settings-work"))


def _appearance(desk: Desk) -> Markup:
    """What this browser alone remembers."""
    names = {"": say("As the system"), "light": say("Light"), "dark": say("Dark")}
    choices = [tag("label", tag("input", type="radio", name="look", value=value), tag("span", names[value])) for value in THEMES]
    language: Markup | None = None
    if len(desk.languages) > 1:
        language = tag("label", tag("span", say("Language"), class_="name"), language_choice(desk.languages), class_="field")
    look = tag("fieldset", tag("legend", say("Colours"), class_="name"), tag("div", choices, class_="choices"), class_="field")
    note = tag("p", say("Remembered by this browser; it counts at once."), class_="small soft")
    return tag("section", tag("h2", say("Appearance")), note, tag("div", look, language, class_="pair"), class_="card")


def content(desk: Desk, file: SettingsFile) -> Markup:
    """Everything that config.toml and the tokens' file say, as it is now."""
    settings = file.settings()
    save = tag(
        "div",
        tag("span", id="settings-changed", class_="soft"),
        tag("button", say("Put back"), type="button", class_="button", id="settings-back", disabled=True),
        tag("button", say("Save"), type="submit", class_="button primary", id="settings-save", disabled=True),
        id="settings-bar",
    )
    form = tag("form", _folders(settings), _new_form(settings, file), _pages(settings), save, id="settings-form", autocomplete="off")
    path = tag("p", say("Kept in {path}.", path=file.path), id="settings-file", class_="small soft")
    return join(form, _tokens(desk), _access(desk), path)


def _folders(settings: Settings) -> Markup:
    titles = {
        "output_dir": (say("Finished files"), say("Filled in as the folder for finished files.")),
        "datasets_dir": (say("Datasets"), say("Where pictures go that are dropped on the Dataset page.")),
        "models_dir": (say("Base models"), say("Where the file browser starts for base models.")),
        "runs_dir": (say("Runs"), say("One folder per training: what was asked, its log, its events. Counts from the next start of the program.")),
    }
    fields = [_text(name, *titles[name], value=str(getattr(settings, name)), is_folder=True) for name in FOLDERS]
    return tag("section", tag("h2", say("Folders")), tag("div", fields, class_="pair"), class_="card")


def _new_form(settings: Settings, file: SettingsFile) -> Markup:
    """The preset and the values that an empty form starts with."""
    presets = listed(command(FIRST_SCRIPT))
    if all(settings.preset != name for name, *_ in presets):
        presets = [[settings.preset, settings.preset], *presets]
    options = [tag("option", title, value=name, selected=name == settings.preset) for name, title, *_ in presets]
    select = tag("select", options, id="s-preset", name="preset")
    preset = _field("s-preset", say("Preset"), say("An empty LoRA form starts with it."), tag("div", select, class_="box"))
    own = file.own_defaults
    rows = [default_row(OPTIONS[name], name, value) for name, value in own.items() if name in OPTIONS]
    elsewhere = {name: value for name, value in settings.defaults.items() if name not in own}
    return tag(
        "section",
        tag("h2", say("A new form")),
        preset,
        tag("h3", say("Values of its own")),
        tag("p", say("They come after the preset. A form that is open stays as it is; Reset takes it back to them."), class_="small soft"),
        tag("ul", rows, id="settings-defaults"),
        _adding(),
        _from_kohya(elsewhere),
        _unknown(own),
        class_="card",
    )


def default_row(parameter: Parameter, name: str, value: object) -> Markup:
    """One option with its value, and a way to take it out."""
    text = shown(parameter, tuple(value) if isinstance(value, list) else value)
    label = words().label(parameter)
    entry = tag("input", type="text", value=str(text).lower() if isinstance(text, bool) else text, aria_label=say("Value of {option}", option=label))
    drop = tag("button", "✕", type="button", class_="icon", data_drop=True, aria_label=say("Take {option} out", option=label))
    return tag("li", tag("span", label, " ", tag("code", name)), entry, drop, data_name=name)


def _adding() -> Markup:
    names = sorted(OPTIONS)
    offered = tag("datalist", [tag("option", words().label(OPTIONS[name]), value=name) for name in names], id="settings-options")
    entry = tag("input", type="text", id="settings-option", list="settings-options", placeholder=say("Option, e.g. network_dim"), spellcheck="false")
    return tag(
        "div",
        tag("label", say("Add an option"), for_="settings-option", class_="visually-hidden"),
        entry,
        offered,
        tag("button", say("Add"), type="button", class_="button", id="settings-add"),
        tag("button", say("Add what the form changes"), type="button", class_="link", id="settings-from-form"),
        class_="row",
    )


def _from_kohya(elsewhere: Mapping[str, object]) -> Markup | None:
    if not elsewhere:
        return None
    lines = ", ".join(f"{name} = {value}" for name, value in elsewhere.items())
    return tag("p", say("From kohya's keys in the same file, which are edited there: {lines}", lines=lines), class_="small soft")


def _unknown(own: Mapping[str, object]) -> Markup | None:
    names = ", ".join(name for name in own if name not in OPTIONS)
    return tag("p", say("No trainer has these options, so they have no effect: {names}", names=names), class_="told warn") if names else None


def _pages(settings: Settings) -> Markup:
    help_ = say("How often the page of a run asks for news, in seconds.")
    return tag(
        "section", tag("h2", say("Page of a run")), _text("poll_seconds", say("Asks every"), help_, value=f"{settings.poll_seconds:g}"), class_="card"
    )


def _tokens(desk: Desk) -> Markup:
    rows = [
        _token(desk, "HF_TOKEN", "Hugging Face", say("For models that need a login, and for uploads to the hub.")),
        _token(desk, "WANDB_API_KEY", "Weights & Biases", say("For curves on wandb.ai.")),
    ]
    place = desk.settings.runs_dir / SECRETS_FILE
    note = tag(
        "p",
        say("They are kept in {path}, which only its owner may read, and never appear in a config, a command, a log or on a page.", path=place),
        class_="small soft",
    )
    return tag("section", tag("h2", say("Tokens")), note, rows, class_="card")


def _token(desk: Desk, variable: str, title: str, help_: str) -> Markup:
    ending = kept_ending(desk.settings.runs_dir, variable)
    if variable in os.environ:
        state = say("The environment variable {name} of the program is set; it counts before a kept one.", name=variable)
    elif ending is None:
        state = say("None is kept.")
    else:
        state = say("One is kept; it ends in {letters}.", letters=ending) if ending else say("One is kept.")
    forget = tag("button", say("Forget"), type="button", class_="button stop", data_forget=variable) if ending is not None else None
    entry = tag("input", type="password", id=f"t-{variable}", autocomplete="new-password", spellcheck="false", placeholder=say("A new token"))
    keep = tag("button", say("Keep"), type="submit", class_="button")
    box = tag("form", tag("div", entry, keep, forget, class_="box"), data_token=variable)
    return _field(f"t-{variable}", title, join(help_, " ", tag("b", state)), box)


def _access(desk: Desk) -> Markup:
    """Who may see what. Read only."""
    folders = [tag("li", str(folder), class_="mono small") for folder in desk.roots.folders if folder.is_dir()]
    hosts = ", ".join(desk.settings.allowed_hosts) or say("none")
    login = say("with a login") if desk.options.username else say("without a login")
    where = (
        say("A public link leads to this page.")
        if desk.options.share
        else say("Listening on {address}, {login}.", address=desk.options.listen, login=login)
    )
    why = say(
        "These are not changed from here, so that nobody who has only the page can widen what it shows: they are allowed_roots and "
        "allowed_hosts in config.toml."
    )
    return tag(
        "section",
        tag("h2", say("Access")),
        tag("p", where),
        tag("h3", say("Folders that the page may use")),
        tag("ul", folders, class_="plain"),
        tag("p", say("Further host names: {hosts}", hosts=hosts)),
        tag("p", why, class_="small soft"),
        class_="card",
    )


def _text(name: str, label: str, help_: str, *, value: str, is_folder: bool = False) -> Markup:
    mode: dict[str, str] = {} if is_folder else {"inputmode": "decimal"}
    entry = tag("input", type="text", id=f"s-{name}", name=name, value=value, spellcheck="false", **mode)
    box = tag("div", entry, browse_button(label) if is_folder else None, class_="box")
    return _field(f"s-{name}", label, help_, box, kind="path-folder" if is_folder else "")


def _field(id_: str, label: str, help_: str, control: Markup, *, kind: str = "") -> Markup:
    name = tag("label", label, for_=id_, class_="name")
    return tag("div", name, tag("p", help_, class_="info"), control, class_=f"field {kind}".strip())
