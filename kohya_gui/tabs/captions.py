"""The Captions page: pictures with their captions, found, edited one by one or many at once. The script of the page fills what is drawn here."""

from __future__ import annotations

import gradio as gr

from kohya_gui.caption_text import ENCODINGS
from kohya_gui.form.block import html_block
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.text import say
from sd_scripts.survey.caption_files import OTHER_EXTENSIONS


def draw(desk: Desk, blocks: gr.Blocks) -> None:
    """Build the page; which folder it shows is in its address, or what the user had open."""
    html_block(lambda: tag("div", tag("h1", say("Captions")), tag("p", id="captions-count", class_="num"), class_="page-title"))
    html_block(_page, elem_id="captions")


def _page() -> Markup:
    told = tag("div", id="captions-told", role="status", aria_live="polite")
    empty = tag("div", tag("h2", say("Looking…")), id="captions-empty", class_="card empty")
    above = tag("div", _toolbar(), _bar(), _editor(), id="captions-above")
    work = tag("div", _side(), tag("section", above, _grid(), class_="captions-main"), id="captions-work", hidden=True)
    return join(_place(), told, empty, work, _shortcuts())


def _place() -> Markup:
    """Which folder, and which files are its captions."""
    folder = tag(
        "div",
        tag("label", say("Folder of pictures"), for_="captions-folder", class_="small", data_testid="block-info"),
        tag("span", _input("captions-folder", placeholder=say("The folder of the form")), class_="input-container"),
        class_="path-folder captions-field",
    )
    ending = tag(
        "label",
        tag("span", say("Ending of captions"), class_="small"),
        _input("captions-extension", list="captions-endings", size="9"),
        tag("datalist", [tag("option", value=ending) for ending in OTHER_EXTENSIONS], id="captions-endings"),
        class_="captions-field short",
    )
    opening = tag("button", say("Open"), type="submit", class_="button")
    form = tag("button", say("Back to the form's folder"), type="button", class_="link", id="captions-form", hidden=True)
    return tag("form", folder, ending, opening, form, id="captions-place", class_="card")


def _side() -> Markup:
    """Trigger words and tags."""
    trigger = tag(
        "div",
        tag("h2", tag("label", say("Trigger words"), for_="captions-trigger")),
        _input("captions-trigger", list="captions-triggers"),
        tag("datalist", id="captions-triggers"),
        tag("p", id="captions-tokens", class_="small soft"),
        tag("p", id="captions-lacking", class_="small soft"),
        tag(
            "div",
            tag("button", say("Show them"), type="button", class_="link", data_only="lacking"),
            tag("button", say("Put in front"), type="button", class_="link", data_do="trigger"),
            id="captions-lacking-do",
            class_="small row",
            hidden=True,
        ),
        class_="side-part",
    )
    find = tag(
        "input",
        type="search",
        id="captions-tagfind",
        placeholder=say("Find a tag"),
        aria_label=say("Find a tag"),
        autocomplete="off",
    )
    tags = tag(
        "div",
        tag("h2", say("Tags"), " ", tag("span", id="captions-tags-count", class_="soft num")),
        find,
        tag("ul", id="captions-tags", aria_label=say("Tags of the captions that are shown")),
        class_="side-part",
    )
    notes = tag("ul", id="captions-notes", class_="small soft")
    return tag("details", tag("summary", say("Tags and trigger words")), trigger, tags, notes, id="captions-side", class_="card", open=True)


def _toolbar() -> Markup:
    find = tag(
        "div",
        tag("input", type="search", id="captions-find", placeholder=say("Find in captions"), aria_label=say("Find in captions"), autocomplete="off"),
        _switch("captions-regex", ".*", say("The search is a pattern (regular expression)")),
        _switch("captions-case", "Aa", say("Capital and small letters differ")),
        class_="captions-find",
    )
    kinds = tag("div", id="captions-kinds", class_="views", role="group", aria_label=say("Which captions"))
    steps = tag(
        "div",
        tag("button", "↶", type="button", data_step="undo", aria_label=say("Undo"), disabled=True),
        tag("button", "↷", type="button", data_step="redo", aria_label=say("Redo"), disabled=True),
        class_="views",
        role="group",
        aria_label=say("History"),
    )
    change = tag("button", say("Change all shown"), type="button", class_="button", id="captions-change", aria_expanded="false")
    keys = tag("button", "?", type="button", class_="button", id="captions-keys", aria_label=say("Keys"), title=say("Keys"))
    return tag(
        "div", tag("div", find, steps, change, keys, class_="row"), tag("div", kinds, tag("div", id="captions-filter"), class_="row"), class_="bar"
    )


def _bar() -> Markup:
    """What can be done to the chosen pictures, and the form of what is to be done."""
    edits = [
        ("add", say("Add tags")),
        ("remove", say("Remove tags")),
        ("to_front", say("Move to front")),
        ("replace", say("Replace")),
        ("sort", say("Sort")),
        ("tidy", say("Remove doubles")),
        ("create", say("Create missing")),
        ("recode", say("Mend encoding")),
    ]
    kinds = [tag("button", label, type="button", data_do=kind, aria_pressed="false") for kind, label in edits]
    words = tag("label", tag("span", say("Tags"), class_="small"), _input("edit-words"), class_="captions-field", data_for="add remove to_front")
    text = tag("label", tag("span", say("Text"), class_="small"), _input("edit-text"), class_="captions-field", data_for="create")
    place = _choice("edit-place", say("Where"), (("front", say("In front")), ("back", say("At the end"))), "add")
    how = _choice("edit-how", say("Search for"), (("text", say("Text")), ("tag", say("Whole tag")), ("regex", say("Pattern"))), "replace")
    find = tag("label", tag("span", say("Find"), class_="small"), _input("edit-find"), class_="captions-field", data_for="replace")
    put = tag("label", tag("span", say("Put in its place"), class_="small"), _input("edit-put"), class_="captions-field", data_for="replace")
    case = tag(
        "label",
        tag("input", type="checkbox", id="edit-case"),
        tag("span", say("Capital and small letters differ")),
        class_="check",
        data_for="replace",
    )
    order = _choice("edit-common", say("Order"), (("", say("Alphabetical")), ("common", say("Most common first"))), "sort")
    encoding = _choice("edit-encoding", say("Read as"), tuple((name, name) for name in ENCODINGS), "recode")
    buttons = (
        tag("button", say("Change"), type="submit", class_="button primary", id="edit-apply", disabled=True),
        tag("button", say("Close"), type="button", class_="button", id="edit-close"),
    )
    form = tag(
        "form",
        tag("div", words, text, how, find, put, place, order, encoding, case, buttons, class_="row"),
        tag("div", id="edit-told", role="status", class_="small"),
        tag("div", id="edit-examples", tabindex="0", role="region", aria_label=say("What changes")),
        id="edit-form",
        hidden=True,
    )
    clear = tag("button", say("Choose none"), type="button", class_="link", id="captions-none")
    head = tag(
        "div",
        tag("b", id="captions-scope", class_="num"),
        clear,
        tag("div", kinds, class_="edits", role="group", aria_label=say("What to do")),
        class_="row",
    )
    return tag("div", head, form, id="captions-bar", class_="card", role="region", aria_label=say("Change many captions"), hidden=True)


def _editor() -> Markup:
    head = tag(
        "div",
        tag("b", id="editor-name", class_="clip"),
        tag("span", id="editor-at", class_="soft num small"),
        tag("button", "‹", type="button", class_="button", data_go="-1", aria_label=say("Previous picture")),
        tag("button", "›", type="button", class_="button", data_go="1", aria_label=say("Next picture")),
        tag("button", say("Close"), type="button", class_="button", id="editor-close"),
        class_="row",
    )
    text = tag("textarea", id="editor-text", aria_label=say("Caption"), spellcheck="true", rows="6")
    foot = tag(
        "div",
        tag("button", say("Save and next"), type="button", class_="button primary", id="editor-next"),
        tag("span", id="editor-told", role="status", class_="small soft"),
        class_="row",
    )
    words = tag("div", head, text, tag("div", id="editor-conflict"), foot, tag("div", id="editor-tags", class_="row"), class_="words")
    unread = tag("figcaption", tag("p", say("No preview")), tag("a", say("Show on the Dataset page"), class_="link"), id="editor-unread", hidden=True)
    picture = tag("figure", tag("img", id="editor-picture", alt=""), unread)
    return tag("div", picture, words, id="captions-editor", class_="card", role="region", aria_label=say("Edit a caption"), hidden=True)


def _grid() -> Markup:
    grid = tag("div", id="captions-grid", role="listbox", tabindex="0", aria_multiselectable="true", aria_label=say("Pictures with their captions"))
    none = tag(
        "div", tag("p"), tag("button", say("Show all"), type="button", class_="button", data_clear=True), id="captions-nothing", class_="card empty"
    )
    return join(none, grid)


def _shortcuts() -> Markup:
    rows = (
        ("← → ↑ ↓", say("Go from picture to picture")),
        ("Home End PgUp PgDn", say("Go to the first, the last, a page up or down")),
        ("Enter", say("Edit the caption")),
        ("Ctrl+Enter", say("Save and edit the next one")),
        ("Alt+↑ Alt+↓", say("Save and edit the previous or next one")),
        ("Esc", say("Leave the text (it is saved), then choose none")),
        ("Space", say("Choose a picture, or not")),
        ("Shift+arrows", say("Choose from here to there")),
        ("Ctrl+A", say("Choose all that are shown")),
        ("A R F H", say("Add tags, remove tags, move to the front, replace")),
        ("/", say("Find in captions")),
        ("Ctrl+Z Ctrl+Y", say("Undo and redo, outside of a text")),
        ("?", say("These keys")),
    )
    lines = [tag("div", tag("dt", [join(tag("kbd", key), " ") for key in keys.split(" ")]), tag("dd", words)) for keys, words in rows]
    close = tag("button", say("Close"), type="button", class_="button", data_close=True)
    return tag("dialog", tag("h2", say("Keys")), tag("dl", lines), close, id="captions-help", aria_label=say("Keys"))


def _input(id_: str, **more: str) -> Markup:
    return tag("input", type="text", id=id_, autocomplete="off", spellcheck="false", **more)


def _switch(id_: str, sign: str, label: str) -> Markup:
    return tag("button", sign, type="button", id=id_, class_="switch-button", aria_pressed="false", aria_label=label, title=label)


def _choice(id_: str, label: str, options: tuple[tuple[str, str], ...], for_: str) -> Markup:
    choices = [tag("option", words, value=value) for value, words in options]
    return tag("label", tag("span", label, class_="small"), tag("select", choices, id=id_), class_="captions-field short", data_for=for_)
