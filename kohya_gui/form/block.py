"""A piece of HTML in the page, without Gradio's own padding and styles."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from kohya_gui.markup import Markup


def html_block(value: Markup | str = "", *, elem_id: str | None = None, elem_classes: Sequence[str] = ()) -> gr.HTML:
    """An HTML component that shows `value` as it is; text from outside must have passed `markup.tag`."""
    return gr.HTML(str(value), elem_id=elem_id, elem_classes=list(elem_classes), padding=False, apply_default_css=False)
