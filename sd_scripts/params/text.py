"""Options: how captions are encoded."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Text encoder")
class ClipText:
    """How captions become CLIP embeddings."""

    clip_skip: int | None = param(
        None,
        "Take the text encoder's output from this layer, counted from the end. 1 or empty: the last, as original models do; 2: as most anime models.",
        label="CLIP skip",
        min=0,
        max=12,
        step=1,
    )
    max_token_length: Literal[150, 225] | None = param(
        None,
        "How many tokens of a caption are read. Empty: 75, about 50 words; longer captions cost a little time and memory.",
        label="Caption length in tokens",
    )
    weighted_captions: bool = param(
        False, "Read (word:1.2) in captions as emphasis, as web UIs do in prompts. Brackets that mean themselves then need a backslash."
    )
    no_token_padding: bool = param(
        False, "Do not fill short captions up to 75 tokens. Leave it off unless you know why: the base models learned with padding.", own=True
    )
