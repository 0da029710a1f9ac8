"""Options: what the saved file says about itself."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Metadata")
class Metadata:
    """What the saved file says about itself."""

    metadata_title: str | None = param(None, "Title in the file's metadata. Empty: the output name.", label="Title")
    metadata_author: str | None = param(None, "Author in the file's metadata.", label="Author")
    metadata_description: str | None = param(None, "Description in the file's metadata.", label="Description", multiline=True)
    metadata_license: str | None = param(None, "Licence in the file's metadata.", label="Licence")
    metadata_tags: str | None = param(None, "Tags in the file's metadata, separated by commas.", label="Tags")
    metadata_usage_hint: str | None = param(None, "How to use the LoRA, in the file's metadata.", label="Usage hint")
    metadata_trigger_phrase: str | None = param(
        None, "The words that call what was learned, in the file's metadata. Some programs fill them in.", label="Trigger phrase"
    )
    metadata_thumbnail: str | None = param(None, "A small picture that is stored in the file: a path, or a data URL.", label="Thumbnail", path="file")
    metadata_merged_from: str | None = param(None, "Models that this one was merged from.", label="Merged from")
    metadata_preprocessor: str | None = param(None, "Preparation that pictures need.", label="Preprocessor")
    metadata_is_negative_embedding: str | None = param(None, "Whether it belongs in a negative prompt.", label="Negative embedding")
