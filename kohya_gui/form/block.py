"""A piece of HTML in the page, without Gradio's own padding and styles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import gradio as gr

from kohya_gui.markup import Markup

Draw = Callable[[], Markup]
# Not a subclass with an attribute: Gradio writes a type stub beside every module that derives a component.
_DRAWN: WeakKeyDictionary[object, Draw] = WeakKeyDictionary()


def html_block(value: Markup | str | Draw = "", *, elem_id: str | None = None, elem_classes: Sequence[str] = ()) -> gr.HTML:
    """An HTML component that shows `value` as it is; text from outside must have passed `markup.tag`.

    What never changes but has words in it is given as a function whose words go through `text.say`: the page is built once, in English, and the
    function is asked again where a reader has another language.
    """
    shown = value if isinstance(value, str) else value()
    block = gr.HTML(str(shown), elem_id=elem_id, elem_classes=list(elem_classes), padding=False, apply_default_css=False)
    if not isinstance(value, str):
        _DRAWN[block] = value
    return block


def draw_of(block: object) -> Draw | None:
    """How a block is drawn anew in another language; None for one that stays as it is."""
    return _DRAWN.get(block)
