"""Tags of a caption: what is not changed stays letter by letter, and tags are those that training reads."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kohya_gui.caption_tags import add, in_order, on_read_lines, parse, read_lines, remove, rename, render, tags_of, tidied, to_front
from sd_scripts.survey.captions import process_caption
from sd_scripts.survey.datasets import CaptionRules

PLAIN = CaptionRules()
MARKED = CaptionRules(keep_tokens_separator="|||", secondary_separator=";;;")
RULES = st.sampled_from(
    [
        PLAIN,
        MARKED,
        CaptionRules(caption_separator=". "),
        CaptionRules(caption_separator=""),
        CaptionRules(enable_wildcard=True),
        CaptionRules(keep_tokens=2, secondary_separator=";;;", enable_wildcard=True),
    ]
)
LINES = st.lists(st.sampled_from(["a", "b b", " ", ",", ", ", "|||", ";;;", ". ", "{x, y|z}", "{", "\0", "猫", "\t"]), max_size=12).map("".join)
WORDS = st.lists(st.sampled_from(["a", "b b", "new", "猫"]), max_size=3, unique=True)


@given(LINES, RULES)
@example("a, b ||| c;;;d,e ||| f", MARKED)
def test_a_line_that_is_taken_apart_is_put_together_again(line: str, rules: CaptionRules) -> None:
    assert render(parse(line, rules)) == line


@given(LINES, RULES)
def test_counting_sees_the_same_tags_as_changing(line: str, rules: CaptionRules) -> None:
    assert tags_of(line, rules) == [piece.text for piece in parse(line, rules) if piece.text]


@given(LINES, RULES, WORDS)
def test_a_change_that_changes_nothing_keeps_every_letter(line: str, rules: CaptionRules, words: list[str]) -> None:
    there = [word for word in words if word.casefold() in {tag.casefold() for tag in tags_of(line, rules)}]
    absent = [word for word in words if word not in there]
    assert remove(line, rules, absent) == line
    assert to_front(line, rules, absent) == line
    assert add(line, rules, there, place="front") == line == add(line, rules, there, place="back")
    assert rename(line, rules, "nowhere", "x") == line
    once = in_order(line, rules)
    assert in_order(once, rules) == once
    clean = tidied(line, rules)
    assert tidied(clean, rules) == clean


@given(LINES, RULES, WORDS)
def test_other_tags_keep_their_order(line: str, rules: CaptionRules, words: list[str]) -> None:
    unwanted = {word.casefold() for word in words}
    tags = tags_of(line, rules)
    others = [tag for tag in tags if tag.casefold() not in unwanted]
    assert tags_of(remove(line, rules, words), rules) == others
    moved = tags_of(to_front(line, rules, words), rules)
    assert [tag for tag in moved if tag.casefold() not in unwanted] == others
    if rules.caption_separator:
        assert tags_of(add(line, rules, words, place="back"), rules)[: len(tags)] == tags
        assert sorted(tags_of(in_order(line, rules), rules)) == sorted(tags)


@given(LINES, st.sampled_from([PLAIN, MARKED, CaptionRules(keep_tokens=1, secondary_separator=";;;")]))
def test_tags_are_those_that_training_writes(line: str, rules: CaptionRules) -> None:
    """Training's own way through the caption, told to rearrange without a shuffle that changes anything, gives the same tags."""
    told = CaptionRules(
        **{name: getattr(rules, name) for name in ("keep_tokens", "keep_tokens_separator", "secondary_separator")}, token_warmup_step=1
    )
    text = process_caption(line, told, random=random.Random(0), epoch=1, step=1, max_train_steps=1)
    assert [tag for part in text.split(",") if (tag := part.strip())] == tags_of(line, rules)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a, b, c", "sks, a, b, c"),
        ("a,b,c", "sks,a,b,c"),
        ("", "sks"),
        ("  a", "  sks, a"),
        (", a", "sks, a"),
        ("a, SKS", "a, SKS"),
    ],
)
def test_a_tag_is_put_in_front_as_the_line_is_written(before: str, after: str) -> None:
    assert add(before, PLAIN, ["sks"], place="front") == after


@pytest.mark.parametrize(
    ("before", "after"), [("a, b", "a, b, x, y"), ("a,b", "a,b,x,y"), ("a, ", "a, x, y"), ("a,", "a, x, y"), ("", "x, y"), ("a  ", "a, x, y  ")]
)
def test_tags_are_put_behind(before: str, after: str) -> None:
    assert add(before, PLAIN, ["x", "y"], place="back") == after


@pytest.mark.parametrize(
    ("before", "after", "rules"),
    [
        ("a, b, c", "a, c", PLAIN),
        ("B, a", "a", PLAIN),
        ("a,b", "a", PLAIN),
        ("b", "", PLAIN),
        ("a, b b", "a, b b", PLAIN),
        ("x ||| b, c", "x ||| c", MARKED),
        ("x ||| b", "x ||| ", MARKED),
        ("x, b ||| c", "x ||| c", MARKED),
        ("x, a;;;b, c", "x, a, c", MARKED),
        ("x, b;;;a, c", "x, a, c", MARKED),
    ],
)
def test_a_removed_tag_takes_the_weaker_separator_with_it(before: str, after: str, rules: CaptionRules) -> None:
    assert remove(before, rules, ["b"]) == after


def test_a_tag_moves_to_the_front_spelled_as_it_was() -> None:
    assert to_front("a, b, Cat", PLAIN, ["cat"]) == "Cat, a, b"
    assert to_front("a, b, c", PLAIN, ["c", "b"]) == "c, b, a"
    assert to_front("a, b", PLAIN, ["a"]) == "a, b"


def test_a_tag_is_renamed_and_never_doubled() -> None:
    assert rename("a, b, c", PLAIN, "B", "x") == "a, x, c"
    assert rename("a, b, c", PLAIN, "b", "C") == "a, C"
    assert rename("a, b", PLAIN, "b", " ") == "a"


def test_order_leaves_what_training_keeps_in_place() -> None:
    assert in_order("z, c, b, a", CaptionRules(keep_tokens=1)) == "z, a, b, c"
    assert in_order("z, y ||| b,a ||| x, w", MARKED) == "z, y ||| a,b ||| x, w"
    assert in_order("c;;;a, b", MARKED) == "b, c;;;a"
    assert in_order("a, b, c", PLAIN, {"c": 9, "b": 2}) == "c, b, a"


def test_doubles_and_empty_tags_go() -> None:
    assert tidied("a, b,, A, c, ", PLAIN) == "a, b, c"


def test_only_lines_that_training_reads_are_changed() -> None:
    def shout(line: str) -> str:
        return line.upper()

    wild = CaptionRules(enable_wildcard=True)
    assert on_read_lines("\n a \nb\n\nc", PLAIN, shout) == "\n A \nb\n\nc"
    assert on_read_lines("\n a \nb\n\nc", wild, shout) == "\n A \nB\n\nC"
    assert read_lines("\n a \nb\n\nc", PLAIN) == [" a "]
    assert on_read_lines("\n", PLAIN, lambda line: line + "x") == "x"


def test_what_a_wildcard_draws_is_not_split() -> None:
    wild = CaptionRules(enable_wildcard=True)
    assert tags_of("{red, blue|green} cat, x", wild) == ["{red, blue|green} cat", "x"]
    assert tags_of("{red, blue} cat", PLAIN) == ["{red", "blue} cat"]
