"""Options: from a caption file to the text of a step."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Captions")
class Captions:
    """How a caption file becomes the text of a step."""

    caption_extension: str = param(
        ".caption",
        "Ending of the caption files that stand beside the pictures, usually .txt. Empty means .caption.",
        label="Caption file ending",
        advanced=False,
        suggestions=(".txt", ".caption", ".cap"),
    )
    caption_extention: str | None = param(
        None, "Old spelling of caption_extension, read only where that one is not given.", label="Caption file ending (old spelling)"
    )
    caption_separator: str = param(",", "What stands between the tags of a caption.", label="Tag separator")
    secondary_separator: str | None = param(
        None, "A second separator: tags joined by it are shuffled and dropped as one, and it then becomes the tag separator.", suggestions=(";;;",)
    )
    keep_tokens: int = param(
        0,
        "How many tags at the start of a caption stay in place when tags are shuffled or dropped: 1 keeps your trigger word first.",
        label="Keep first tags",
        min=0,
        step=1,
    )
    keep_tokens_separator: str = param(
        "",
        "A mark in captions: tags before it (and after a second one) stay in place. It counts instead of the number of first tags.",
        suggestions=("|||",),
    )
    shuffle_caption: bool = param(
        False, "Put the tags of a caption in a new order each time, so that no tag leans on its place. Senseless for sentences.", label="Shuffle tags"
    )
    enable_wildcard: bool = param(
        False, "Read {a|b} in captions as a choice made anew each time, and several lines as alternatives.", label="Wildcards"
    )
    caption_prefix: str | None = param(None, "Text put before every caption.")
    caption_suffix: str | None = param(None, "Text put after every caption.")
    token_warmup_min: int = param(1, "How many tags a caption has at the start of the tag warm-up.", label="Tag warm-up: first tags", min=1, step=1)
    token_warmup_step: float = param(
        0.0,
        "Captions grow from that many tags to all within this many steps; below 1, within this share of the run. 0: off.",
        label="Tag warm-up: length",
        min=0,
    )


@section("Caption dropout")
class CaptionDropout:
    """Captions and tags that are left out at random."""

    caption_dropout_rate: float = param(
        0.0,
        "Share of captions left out at random, from 0 to 1. About 0.1 teaches the look without words, so the LoRA acts on every prompt.",
        min=0,
        max=1,
        step=0.05,
    )
    caption_dropout_every_n_epochs: int = param(
        0, "Leave out all captions in every n-th epoch. 0: never.", label="Caption dropout every n epochs", min=0, step=1
    )
    caption_tag_dropout_rate: float = param(
        0.0, "Share of single tags left out at random, from 0 to 1. Kept first tags stay.", label="Tag dropout rate", min=0, max=1, step=0.05
    )
