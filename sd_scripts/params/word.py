"""Options: a new word whose vectors are learnt (textual inversion)."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Word to learn")
class LearntWord:
    """The word, and what it starts from."""

    token_string: str | None = param(
        None,
        "The word to learn, such as sks-cat. It must stand in the captions; in any case of letters, but as a word of its own.",
        label="Word",
        advanced=False,
    )
    init_word: str | None = param(
        None,
        "What the word starts as: a known word or a few, such as cat. Empty: random vectors, which take much longer.",
        label="Starts as",
        advanced=False,
    )
    num_vectors_per_token: int = param(
        1,
        "How many vectors the word has. More hold more detail, and take as many of a prompt's 75 places.",
        label="Vectors",
        min=1,
        max=75,
        step=1,
        advanced=False,
    )


@section("Word beside the adapter")
class PivotalTuning:
    """How a word is learnt along with an adapter, and where it is saved."""

    embedding_lr: float | None = param(
        None,
        "Learning rate of the word. Empty: that of the text encoder.",
        label="Rate of the word",
        min=0,
        exclusive_min=True,
        when={"token_string": True},
        own=True,
    )
    bundle_embedding: bool = param(
        False,
        "Put the word into the LoRA file too, as A1111 and Forge read it; diffusers then refuses the file. It is always saved beside it too.",
        label="Word in the LoRA file",
        when={"token_string": True},
        own=True,
    )


@section("Textual inversion")
class TextualInversion:
    """Where a textual inversion goes on from, and captions that are made for it."""

    weights: str | None = param(
        None,
        "An embedding to train on, .pt, .bin or .safetensors. It must have the same number of vectors.",
        label="Train on",
        path="file",
    )
    use_object_template: bool = param(
        False,
        'Instead of the captions, sentences like "a photo of a sks-cat", another one at each step. For things and persons.',
        label="Sentences about a thing",
    )
    use_style_template: bool = param(
        False,
        'Instead of the captions, sentences like "a painting in the style of sks-art", another one at each step. For styles.',
        label="Sentences about a style",
    )


@section("File of an embedding")
class EmbeddingFile:
    """The kind of file that an embedding is saved in."""

    save_model_as: Literal["ckpt", "pt", "safetensors"] | None = param(
        "pt", "File format. All are read by A1111, Forge and ComfyUI; safetensors is safe and carries the settings.", label="File format"
    )
