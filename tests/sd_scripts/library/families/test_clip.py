"""The tokenizer and its chunks, against ids recorded from the reference programs."""

import json

import pytest
import torch

from sd_scripts.library.families.clip import BOS, CHUNK, EOS, caption_chunks, join_chunks, word_ids
from tests.tiny_models import GOLDEN

TOKENS = json.loads((GOLDEN / "loss.json").read_text("utf-8"))["tokens"]
PUBLISHED = {
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "A Photo of a CAT!!": [320, 1125, 539, 320, 2368, 748],
    "1girl, solo, (masterpiece:1.2), long hair": [272, 1611, 267, 5797, 267, 263, 12066, 281, 272, 269, 273, 2361, 1538, 2225],
    "café ☕ 日本語": [15304, 26561, 39121, 44353, 34002, 508],
    " don't   stop": [847, 713, 1691],
    "shs_person": [16184, 318, 2533],
    "": [],
}


@pytest.mark.parametrize("text", PUBLISHED)
def test_words_have_clips_ids(text):
    assert word_ids(text) == PUBLISHED[text]


@pytest.mark.parametrize("case", TOKENS, ids=lambda case: f"{case['max_token_length']}-{case['text'][:12]}")
def test_a_caption_becomes_the_recorded_chunks(case):
    chunks = (case["max_token_length"] or 75) // 75
    ids = caption_chunks([case["text"]], max_chunks=chunks, pad_id=EOS)
    assert list(ids.shape) == case["ids_shape"]
    assert ids.flatten().tolist() == case["ids"]


def test_open_clip_pads_with_zero_after_the_end_mark():
    ids = caption_chunks(["a photo of a cat"], max_chunks=2, pad_id=0)[0]
    assert ids[0, :8].tolist() == [BOS, 320, 1125, 539, 320, 2368, EOS, 0]
    assert ids[1, :3].tolist() == [BOS, EOS, 0]


def test_a_full_chunk_ends_with_the_end_mark_also_where_padding_is_zero():
    ids = caption_chunks([" ".join(["cat"] * 75)], max_chunks=2, pad_id=0)[0]
    assert ids[0, -2:].tolist() == [2368, EOS]
    assert ids[1, :3].tolist() == [BOS, EOS, 0]


def test_words_beyond_the_last_chunk_are_cut():
    ids = caption_chunks([" ".join(["cat"] * 100)], max_chunks=1, pad_id=EOS)
    assert ids[0, 0].tolist() == [BOS, *[2368] * 75, EOS]


def test_without_padding_the_longest_caption_sets_the_length():
    ids = caption_chunks(["a cat", "a photo of a cat"], max_chunks=1, pad_id=EOS, pad=False)
    assert ids[:, 0].tolist() == [[BOS, 320, 2368, EOS, EOS, EOS, EOS], [BOS, 320, 1125, 539, 320, 2368, EOS]]


def test_without_padding_empty_captions_are_two_marks():
    assert caption_chunks(["", ""], max_chunks=3, pad_id=EOS, pad=False).tolist() == [[[BOS, EOS]], [[BOS, EOS]]]


def test_without_padding_a_long_caption_takes_only_the_chunks_it_needs():
    assert caption_chunks([" ".join(["cat"] * 80), "cat"], max_chunks=3, pad_id=EOS, pad=False).shape == (2, 2, CHUNK)


def test_joined_chunks_keep_the_first_start_and_the_last_end_mark():
    ids = torch.arange(2 * CHUNK).view(1, 2, CHUNK)
    joined = join_chunks(ids[..., None].float(), ids, pad_id=EOS)[0, :, 0]
    assert joined.tolist() == [0.0, *range(1, 76), *range(78, 153), 153.0]


def test_an_empty_later_chunk_of_open_clip_starts_with_padding():
    ids = caption_chunks(["cat"], max_chunks=2, pad_id=0)
    joined = join_chunks(ids[..., None].float(), ids, pad_id=0)[0, :, 0].tolist()
    assert joined[:3] == [BOS, 2368, EOS]
    assert joined[76:] == [0.0] * 76
