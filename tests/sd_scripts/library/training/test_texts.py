"""Captions are encoded once where their embeddings cannot change, and at every step where they can."""

from __future__ import annotations

import pytest
import torch

from sd_scripts.library.families.base import TextEmbeddings
from sd_scripts.library.training import texts
from sd_scripts.library.training.texts import Texts, captions_repeat
from sd_scripts.survey.datasets import CaptionRules


class Encoder:
    """A family's text side: the embedding of a caption is its length; it counts what it encodes."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode_text(self, captions):
        """(batch, 1, 1) lengths."""
        self.encoded += captions
        return TextEmbeddings(torch.tensor([[[float(len(caption))]] for caption in captions]), torch.tensor([[1.0] for _ in captions]))


@pytest.mark.parametrize("keep", [False, True])
def test_embeddings_come_in_the_order_of_the_captions(keep):
    embeddings = Texts(Encoder(), keep=keep)(["a", "abc", "a"])
    assert embeddings.prompt_embeds.flatten().tolist() == [1.0, 3.0, 1.0]
    assert embeddings.pooled.shape == (3, 1)


def test_a_kept_caption_is_encoded_once():
    encoder = Encoder()
    kept = Texts(encoder, keep=True)
    kept(["a", "b", "a"])
    kept(["b"])
    assert encoder.encoded == ["a", "b"]


def test_no_more_are_kept_than_memory_has_room_for(monkeypatch):
    monkeypatch.setattr(texts, "MOST_KEPT", 1)
    encoder = Encoder()
    kept = Texts(encoder, keep=True)
    kept(["a", "b"])
    kept(["a", "b"])
    assert encoder.encoded == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("rules", "repeat"),
    [
        (CaptionRules(), True),
        (CaptionRules(caption_dropout_rate=0.1), True),
        (CaptionRules(shuffle_caption=True), False),
        (CaptionRules(caption_tag_dropout_rate=0.1), False),
        (CaptionRules(enable_wildcard=True), False),
        (CaptionRules(token_warmup_step=10), False),
    ],
)
def test_texts_repeat_unless_something_changes_their_tags(rules, repeat):
    assert captions_repeat([rules]) is repeat
