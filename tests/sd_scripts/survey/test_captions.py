"""Captions: every recorded case, draw for draw, and that no text breaks the rules."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.survey.captions import counted_text, process_caption, tag_frequency
from sd_scripts.survey.datasets import CaptionRules

GOLDEN_FOLDER = Path(__file__).parents[2] / "golden"
GOLDEN = json.loads((GOLDEN_FOLDER / "captions.json").read_text("utf-8"))
DEVIATIONS = {
    row["case"]: row["value"]
    for row in tomllib.loads((GOLDEN_FOLDER / "deviations.toml").read_text("utf-8"))["deviation"]
    if row["file"] == "captions.json"
}


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in GOLDEN["cases"]])
def test_a_recorded_caption_comes_out_the_same_draw_for_draw(case):
    source = random.Random(case["seed"])
    rules = CaptionRules(**case["options"])
    outputs = [
        process_caption(
            case["caption"],
            rules,
            random=source,
            epoch=case["epoch"],
            step=case["step"],
            max_train_steps=case["max_train_steps"],
            replacements=case["replacements"],
        )
        for _ in case["outputs"]
    ]
    assert outputs == DEVIATIONS.get(case["id"], case["outputs"])


def test_tags_are_counted_once_per_file_lower_case_and_split_at_commas():
    golden = GOLDEN["tag_frequency"]
    assert {golden["dir"]: tag_frequency(golden["captions"])} == golden["result"]


def test_class_tokens_stand_in_for_a_blank_caption_and_take_the_prefix():
    text = process_caption(
        " ", CaptionRules(caption_prefix="photo of"), random=random.Random(0), epoch=1, step=0, max_train_steps=1, class_tokens="sks cat"
    )
    assert text == "photo of sks cat"


def test_only_the_first_line_counts_unless_wildcards_are_on():
    assert counted_text("one\ntwo", CaptionRules()) == "one"
    assert counted_text("one\ntwo", CaptionRules(enable_wildcard=True)) == "one\ntwo"


RULES = st.builds(
    CaptionRules,
    shuffle_caption=st.booleans(),
    caption_separator=st.sampled_from((",", ";", ".", " ", "")),
    keep_tokens=st.integers(0, 5),
    keep_tokens_separator=st.sampled_from(("", "|||", ",")),
    secondary_separator=st.sampled_from((None, "", ";;")),
    enable_wildcard=st.booleans(),
    caption_prefix=st.none() | st.text(max_size=4),
    caption_suffix=st.none() | st.text(max_size=4),
    caption_dropout_rate=st.floats(0, 1),
    caption_dropout_every_n_epochs=st.integers(0, 3),
    caption_tag_dropout_rate=st.floats(0, 1),
    token_warmup_min=st.integers(0, 9),
    token_warmup_step=st.one_of(st.floats(0, 1), st.integers(0, 100)),
)


@given(st.text("ab,;.|{} \n", max_size=40) | st.text(max_size=40), RULES, st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 200))
def test_no_caption_breaks_the_rules_and_equal_draws_give_equal_texts(caption, rules, seed, epoch, step):
    texts = {process_caption(caption, rules, random=random.Random(seed), epoch=epoch, step=step, max_train_steps=200) for _ in range(2)}
    assert len(texts) == 1


def test_every_deviation_is_of_a_recorded_case_and_differs_from_it():
    recorded = {case["id"]: case["outputs"] for case in GOLDEN["cases"]}
    assert DEVIATIONS
    assert all(recorded[case] != value for case, value in DEVIATIONS.items())
