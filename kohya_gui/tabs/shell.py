"""The frame of every page: side bar, top bar and the marks of states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.markup import Markup, join, tag
from kohya_gui.text import Words, say, words

NAME = "LoRA Studio"
STROKE = 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"'

ICONS = {
    "brand": '<rect x="3" y="3" width="18" height="18" rx="5" fill="currentColor" opacity=".16"/><path d="M7 16.5 11 8l3 6 1.5-2.5 1.5 5"/>',
    "train": '<path d="M4 18V9M10 18V5M16 18v-6M21 18H3"/>',
    "runs": '<path d="M4 6h16M4 12h16M4 18h10"/>',
    "dataset": '<path d="M4 4h7v7H4zM14 4h6v7h-6zM4 14h7v6H4zM17 14v6M14 17h6"/>',
    "captions": '<path d="M4 5h16v9H9l-5 4z"/><path d="M8 9h8M8 11.500h5"/>',
    "tensorboard": '<path d="M3 20h18M5 16l4-5 4 3 6-8"/>',
    "settings": '<path d="M4 7h10M18 7h2M4 17h2M10 17h10"/><circle cx="16" cy="7" r="2"/><circle cx="8" cy="17" r="2"/>',
    "about": '<circle cx="12" cy="12" r="9"/><path d="M12 11v5M12 8v.01"/>',
    "menu": '<path d="M4 7h16M4 12h16M4 17h16"/>',
    "theme": '<circle cx="12" cy="12" r="8"/><path d="M12 4v16a8 8 0 0 0 0-16Z" fill="currentColor"/>',
}
MARKS = {
    "queued": '<circle cx="8" cy="8" r="6"/>',
    "starting": '<path d="M8 2a6 6 0 1 1-6 6"/>',
    "running": '<path d="M5 3l8 5-8 5z" fill="currentColor"/>',
    "stopping": '<rect x="4" y="4" width="8" height="8" rx="1"/>',
    "finished": '<path d="M3 8.5l3.5 3.5L13 4.5"/>',
    "failed": '<path d="M4 4l8 8M12 4l-8 8"/>',
    "stopped": '<rect x="4" y="4" width="8" height="8" rx="1" fill="currentColor"/>',
    "paused": '<path d="M5.5 3v10M10.5 3v10"/>',
    "interrupted": '<path d="M9 1.5 4.5 9H8l-1 5.5L11.500 7H8z"/>',
}
PAGES = (
    ("train", "Train", "/"),
    ("runs", "Runs", "/runs"),
    ("dataset", "Dataset", "/dataset"),
    ("captions", "Captions", "/captions"),
    ("tensorboard", "TensorBoard", "/tensorboard"),
    ("settings", "Settings", "/settings"),
    ("about", "About", "/about"),
)
"""The side bar: key (of the icon too), label, address."""


@dataclass(frozen=True)
class Frame:
    """What the frames of all pages have in common. `user` is "" without a login; `shared` says that a public link leads here."""

    root_path: str = ""
    user: str = ""
    shared: bool = False
    languages: Mapping[str, Words] = field(default_factory=dict)


def icon(name: str) -> Markup:
    """A line drawing in the text's colour, hidden from screen readers."""
    return Markup(f'<svg viewBox="0 0 24 24" {STROKE}>{ICONS[name]}</svg>')


def state_badge(state: str) -> Markup:
    """A run's state as word, colour and mark."""
    mark = f'<svg viewBox="0 0 16 16" {STROKE}>{MARKS.get(state, MARKS["queued"])}</svg>'
    return tag("span", Markup(mark), say(state), class_=f"state {state}")


def shell(page: str, frame: Frame) -> None:
    """Draw the frame. `page` is the key of the page that is open, "" for none of the side bar's."""
    gr.Navbar(visible=False)
    html_block(lambda: _frame(page, frame), elem_id="shell")


def language_choice(languages: Mapping[str, Words], *, id_: str | None = None) -> Markup:
    """The list of languages; the page's script keeps what is chosen in a cookie and loads the page anew."""
    now = words().language
    options = [tag("option", row.name, value=code, lang=code, selected=code == now) for code, row in languages.items()]
    return tag("select", options, id=id_, class_="language", aria_label=say("Language"), data_language=True)


def _frame(page: str, frame: Frame) -> Markup:
    links = [
        tag("a", icon(key), say(label), href=frame.root_path + path, class_="nav", aria_current="page" if key == page else None)
        for key, label, path in PAGES
    ]
    brand = tag("a", icon("brand"), NAME, href=f"{frame.root_path}/", class_="brand")
    where = say("A public link leads to this page.") if frame.shared else say("Everything stays on this machine.")
    side = tag("nav", brand, links, tag("div", where, class_="foot"), id="side", aria_label=say("Pages"))
    menu = {"id": "menu", "class_": "icon", "type": "button", "aria_label": say("Menu"), "aria_controls": "side", "aria_expanded": "false"}
    bar = tag(
        "header",
        tag("button", icon("menu"), **menu),
        tag("div", id="live"),
        language_choice(frame.languages, id_="language") if len(frame.languages) > 1 else None,
        tag("button", icon("theme"), id="theme", class_="icon", type="button", aria_label=say("Light or dark")),
        tag("a", say("Log out {name}", name=frame.user), href=f"{frame.root_path}/logout", class_="user") if frame.user else None,
        id="bar",
    )
    return join(
        tag("a", say("Skip to the page"), href="#page", class_="skip"),
        side,
        bar,
        tag("div", id="lost", role="status", hidden=True),
        tag("span", id="page", tabindex="-1"),
    )
