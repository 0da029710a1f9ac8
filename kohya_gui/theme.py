"""How the page looks: Gradio's theme with its colours handed to our own style sheet, and what every page loads in its head."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from kohya_gui.markup import Markup, join, tag

ASSETS = Path(__file__).parent / "assets"
STYLES = ("tokens.css", "shell.css", "form.css", "run.css", "runs.css", "board.css", "captions.css", "dataset.css", "settings.css")
SCRIPTS = (
    "shell.js",
    "form.js",
    "form_parts.js",
    "browse.js",
    "run.js",
    "runs.js",
    "pictures.js",
    "board.js",
    "captions.js",
    "dataset.js",
    "dataset_upload.js",
    "settings.js",
)
ALL_STYLES, ALL_SCRIPTS = "studio.css", "studio.js"

COLOURS = {
    "body_background_fill": "var(--ground)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--soft)",
    "background_fill_primary": "var(--surface)",
    "background_fill_secondary": "var(--ground)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--accent)",
    "color_accent_soft": "var(--accent-soft)",
    "block_background_fill": "var(--surface)",
    "block_border_color": "var(--line)",
    "block_label_text_color": "var(--ink)",
    "block_title_text_color": "var(--ink)",
    "block_info_text_color": "var(--soft)",
    "input_background_fill": "var(--field)",
    "input_background_fill_focus": "var(--field)",
    "input_border_color": "var(--line-strong)",
    "input_border_color_focus": "var(--accent)",
    "input_placeholder_color": "var(--faint)",
    "checkbox_background_color": "var(--field)",
    "checkbox_background_color_selected": "var(--accent-fill)",
    "checkbox_border_color": "var(--line-strong)",
    "checkbox_border_color_selected": "var(--accent-fill)",
    "button_primary_background_fill": "var(--accent-fill)",
    "button_primary_background_fill_hover": "var(--accent-fill-hover)",
    "button_primary_text_color": "var(--on-accent)",
    "button_primary_border_color": "var(--accent-fill)",
    "button_secondary_background_fill": "var(--surface)",
    "button_secondary_background_fill_hover": "var(--hover)",
    "button_secondary_text_color": "var(--ink)",
    "button_secondary_border_color": "var(--line-strong)",
    "link_text_color": "var(--accent)",
    "link_text_color_hover": "var(--accent)",
    "panel_background_fill": "var(--ground)",
    "panel_border_color": "var(--line)",
}
SHAPES = {
    "block_shadow": "none",
    "block_border_width": "0px",
    "block_radius": "8px",
    "block_padding": "0px",
    "container_radius": "8px",
    "input_radius": "8px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "input_border_width": "1px",
    "button_large_radius": "8px",
    "button_medium_radius": "8px",
    "button_small_radius": "8px",
    "button_border_width": "1px",
    "layout_gap": "16px",
    "form_gap_width": "0px",
}


def theme() -> gr.themes.Base:
    """Gradio's plainest theme, system fonts, every colour a variable of assets/tokens.css, which knows light and dark."""
    made = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], text_size=gr.themes.sizes.text_md)
    made.set(**{name: value for colour, fill in COLOURS.items() for name, value in ((colour, fill), (f"{colour}_dark", fill))})
    return made.set(**SHAPES)


def head(root_path: str) -> Markup:
    """Links to our style sheets and scripts; the mark in their address changes with their content, so they may be cached for good."""
    mark = version()
    styles = tag("link", rel="stylesheet", href=f"{root_path}/look/{ALL_STYLES}?v={mark}")
    scripts = tag("script", src=f"{root_path}/look/{ALL_SCRIPTS}?v={mark}", defer=True)
    first = Markup(
        "<script>window.STUDIO_BASE=" + repr(root_path) + ";try{window.STUDIO_THEME=localStorage.getItem('studio-theme')}catch(e){}</script>"
    )
    return join(first, tag("meta", name="color-scheme", content="light dark"), styles, scripts)


def bundle(name: str) -> str | None:
    """All style sheets or all scripts as one file, which costs a page one request; None for another name."""
    parts = {ALL_STYLES: STYLES, ALL_SCRIPTS: SCRIPTS}.get(name)
    return None if parts is None else "\n".join((ASSETS / part).read_text("utf-8") for part in parts)


def script_texts() -> Iterator[str]:
    """English sentences that our scripts say, for the catalogue of a language: whatever they give to `say` as one string in double quotes."""
    for name in SCRIPTS:
        for found in re.finditer(r'\bsay\("((?:[^"\\]|\\.)+)"', (ASSETS / name).read_text("utf-8")):
            yield json.loads(f'"{found[1]}"')


def version() -> str:
    """A short hash of all assets."""
    digest = hashlib.sha256()
    for name in (*STYLES, *SCRIPTS):
        digest.update((ASSETS / name).read_bytes())
    return digest.hexdigest()[:10]
