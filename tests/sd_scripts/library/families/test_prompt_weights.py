"""Emphasis in prompts, against the recorded readings of the reference programs."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.library.families.clip import CHUNK, EOS, chunk_words
from sd_scripts.library.families.prompt_weights import parse_weights, weighted_words
from tests.tiny_models import GOLDEN

RECORDED = json.loads((GOLDEN / "loss.json").read_text("utf-8"))


@pytest.mark.parametrize("case", RECORDED["prompt_attention"], ids=lambda case: case["text"] or "empty")
def test_brackets_are_read_as_recorded(case):
    pieces = parse_weights(case["text"])
    assert [text for text, _ in pieces] == [text for text, _ in case["result"]]
    assert [weight for _, weight in pieces] == pytest.approx([weight for _, weight in case["result"]])


@pytest.mark.parametrize("case", RECORDED["tokens"], ids=lambda case: f"{case['max_token_length']}-{case['text'][:12]}")
def test_weighted_ids_are_the_recorded_ones(case):
    words, weights = weighted_words(case["text"])
    chunks = (case["max_token_length"] or 75) // 75
    ids = chunk_words([words], chunks=chunks, pad_id=EOS).flatten().tolist()
    recorded = case["weighted_ids"][: 2 * CHUNK]  # longer lists are cut in the recording
    assert ids[: len(recorded)] == recorded
    head = [1.0, *weights[:19], *[1.0] * 19][: len(case["weights_head"])]
    assert head == pytest.approx(case["weights_head"])


@given(st.text(alphabet="ab ()[]:1.5\\", max_size=30))
def test_any_prompt_can_be_read(prompt):
    pieces = parse_weights(prompt)
    assert pieces
    assert all(left[1] != right[1] for left, right in pairwise(pieces))


@given(st.text(alphabet="abc ,.:-", max_size=30))
def test_a_prompt_without_brackets_stays_as_it_is(prompt):
    assert parse_weights(prompt) == [(prompt, 1.0)]
