"""The frame of every page: side bar, top bar and the marks of states."""

from __future__ import annotations

import gradio as gr

from kohya_gui.form.block import html_block
from kohya_gui.markup import Markup, join, tag

NAME = "LoRA Studio"
STROKE = 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"'

ICONS = {
    "brand": '<rect x="3" y="3" width="18" height="18" rx="5" fill="currentColor" opacity=".16"/><path d="M7 16.5 11 8l3 6 1.5-2.5 1.5 5"/>',
    "train": '<path d="M4 18V9M10 18V5M16 18v-6M21 18H3"/>',
    "runs": '<path d="M4 6h16M4 12h16M4 18h10"/>',
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
PAGES = (("train", "Train", "/"), ("runs", "Runs", "/runs"), ("about", "About", "/about"))


def icon(name: str) -> Markup:
    """A line drawing in the text's colour, hidden from screen readers."""
    return Markup(f'<svg viewBox="0 0 24 24" {STROKE}>{ICONS[name]}</svg>')


def state_badge(state: str) -> Markup:
    """A run's state as word, colour and mark."""
    mark = f'<svg viewBox="0 0 16 16" {STROKE}>{MARKS.get(state, MARKS["queued"])}</svg>'
    return tag("span", Markup(mark), state, class_=f"state {state}")


def shell(page: str, *, root_path: str, user: str | None = None, shared: bool = False) -> None:
    """Draw the frame. `page` is the key of the page that is open, "" for none of the side bar's; `shared` says that a public link leads here."""
    gr.Navbar(visible=False)
    html_block(_frame(page, root_path, user, shared=shared), elem_id="shell")


def _frame(page: str, root_path: str, user: str | None, *, shared: bool) -> Markup:
    links = [
        tag("a", icon(key), label, href=root_path + path, class_="nav", aria_current="page" if key == page else None) for key, label, path in PAGES
    ]
    brand = tag("a", icon("brand"), NAME, href=f"{root_path}/", class_="brand")
    where = "A public link leads to this page." if shared else "Everything stays on this machine."
    side = tag("nav", brand, links, tag("div", where, class_="foot"), id="side", aria_label="Pages")
    out = tag("a", f"Log out {user}", href=f"{root_path}/logout", class_="user") if user else None
    bar = tag(
        "header",
        tag("button", icon("menu"), id="menu", class_="icon", type="button", aria_label="Menu", aria_controls="side", aria_expanded="false"),
        tag("div", id="live"),
        out,
        tag("button", icon("theme"), id="theme", class_="icon", type="button", aria_label="Light or dark"),
        id="bar",
    )
    return join(
        tag("a", "Skip to the page", href="#page", class_="skip"),
        side,
        bar,
        tag("div", id="lost", role="status", hidden=True),
        tag("span", id="page", tabindex="-1"),
    )
