"""Options: what a text encoder makes of the captions, computed once and kept."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Caching of captions")
class TextCache:
    """What a text encoder makes of the captions, computed once and kept: for families that have such files."""

    cache_text_encoder_outputs: bool = param(
        False,
        "Encode every caption once and keep the result in memory. Faster, and the text encoders leave the video memory; they cannot be trained then.",
        label="Cache captions",
    )
    cache_text_encoder_outputs_to_disk: bool = param(
        False,
        "Also keep the encoded captions in files beside the pictures, so that the next run starts at once. About 0.6 MB a picture.",
        label="Cache captions on disk",
    )
    text_encoder_cache_variants: int = param(
        1,
        "How many versions of each caption are encoded where captions change by chance (shuffling, wildcards, tag dropout): 8 is plenty. "
        "Each takes time at the start, and memory.",
        label="Versions of a caption",
        min=1,
        step=1,
        own=True,
        when={"cache_text_encoder_outputs": True},
    )
