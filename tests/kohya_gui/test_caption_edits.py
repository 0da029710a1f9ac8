"""Changes of many captions: what each does to one text, what is refused, and whose trigger words are missing."""

from __future__ import annotations

import time

import pytest

from kohya_gui.caption_edits import Around, Edit, changed, finds, lacks, pattern, read_edit, split_words, title
from sd_scripts.errors import ConfigError
from sd_scripts.survey.datasets import CaptionRules

PLAIN = Around(CaptionRules())
WILD = Around(CaptionRules(enable_wildcard=True))


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (Edit("front", "sks, cat"), "a, b", "sks, cat, a, b"),
        (Edit("back", "b, c"), "a, b", "a, b, c"),
        (Edit("back", "x"), "", "x"),
        (Edit("remove", "b\n c"), "a, b c, b", "a, b c"),
        (Edit("remove", "b"), "", ""),
        (Edit("to_front", "b"), "a, b", "b, a"),
        (Edit("sort"), "b, a", "a, b"),
        (Edit("tidy"), "a, a", "a"),
        (Edit("replace", find="CAT", put="dog"), "a cat, cats", "a dog, dogs"),
        (Edit("replace", find="CAT", put="dog", case=True), "a cat", "a cat"),
        (Edit("replace", find="cat", put=r"\1", how="text"), "a cat", r"a \1"),
        (Edit("replace", find=r"(\w+) cat$", put=r"cat \1", how="regex"), "a red cat\nb cat", "a cat red\ncat b"),
        (Edit("replace", find="cat", put="dog", how="tag"), "cat, a cat", "dog, a cat"),
        (Edit("replace", find="cat", put="", how="tag"), "cat, a cat", "a cat"),
        (Edit("create", "new"), " ", "new"),
        (Edit("create", "new"), "old", "old"),
    ],
)
def test_a_change_of_one_text(edit: Edit, before: str, after: str) -> None:
    assert changed(edit, before, PLAIN) == after


def test_each_line_is_a_caption_with_wildcards_and_only_the_first_one_without() -> None:
    assert changed(Edit("front", "sks"), "a\nb", WILD) == "sks, a\nsks, b"
    assert changed(Edit("front", "sks"), "a\nb", PLAIN) == "sks, a\nb"
    assert changed(Edit("sort"), "b, a\nd, c", Around(CaptionRules())) == "a, b\nd, c"


def test_typed_tags_are_split_as_captions_are() -> None:
    assert split_words("a. b. a", CaptionRules(caption_separator=".")) == ["a", "b"]
    assert split_words("a b", CaptionRules(caption_separator="")) == ["a b"]


@pytest.mark.parametrize(
    ("body", "lacking"),
    [("a photo of SKS  cat", False), ("sks cats", True), ("asks cat", True), ("cat, sks", True), ("sks\ncat", True), ("", True)],
)
def test_trigger_words_count_as_whole_words_in_any_case(body: str, lacking: bool) -> None:
    assert lacks(body, Around(CaptionRules(), trigger="sks cat")) is lacking


def test_trigger_words_may_be_several_tags_and_of_any_script() -> None:
    assert not lacks("cat in the sun, sks", Around(CaptionRules(), trigger="sks, cat"))
    assert not lacks("黒猫の写真", Around(CaptionRules(), trigger="猫"))
    assert not lacks("anything", PLAIN)


def test_prefix_suffix_and_class_tokens_count_as_training_reads_them() -> None:
    assert not lacks("a cat", Around(CaptionRules(caption_prefix="sks"), trigger="sks"))
    assert not lacks("a cat", Around(CaptionRules(caption_suffix="sks"), trigger="sks"))
    assert not lacks(" ", Around(CaptionRules(), "sks cat", trigger="sks"))
    assert lacks("a cat", Around(CaptionRules(), "sks cat", trigger="sks"))
    assert lacks("sks\ncat", Around(CaptionRules(enable_wildcard=True), trigger="sks"))


def test_the_fix_puts_missing_trigger_words_in_front_of_what_training_reads() -> None:
    edit = Edit("trigger")
    assert changed(edit, "a\nb", Around(CaptionRules(enable_wildcard=True), trigger="sks")) == "sks, a\nsks, b"
    assert changed(edit, "cat, a", Around(CaptionRules(), trigger="sks, cat")) == "sks, cat, a"
    assert changed(edit, "", Around(CaptionRules(), "cat", trigger="sks")) == "sks, cat"
    assert changed(edit, "a sks", Around(CaptionRules(), trigger="sks")) == "a sks"


def test_class_tokens_are_the_text_of_new_captions_unless_one_is_typed() -> None:
    assert changed(Edit("create"), "", Around(CaptionRules(), "sks cat")) == "sks cat"
    assert changed(Edit("create"), "", PLAIN) == ""


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"kind": "erase"}, "no such change"),
        ({"kind": "front", "words": "  "}, "No tag is given"),
        ({"kind": "replace", "find": ""}, "nothing to search for"),
        ({"kind": "replace", "find": "(", "how": "regex"}, "is not a pattern"),
        ({"kind": "replace", "find": "a" * 30_000}, "longer than 20,000"),
        ({"kind": "recode", "words": "rot13"}, "not an encoding"),
        ({"kind": ["front"]}, "no such change"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(data: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_edit(data)


def test_a_group_that_is_not_there_is_named_before_anything_changes() -> None:
    with pytest.raises(ConfigError, match="cannot be put in"):
        changed(read_edit({"kind": "replace", "find": "a", "put": r"\1", "how": "regex"}), "a", PLAIN)


def test_an_edit_is_read_as_asked() -> None:
    asked = {"kind": "replace", "find": "a", "put": "b", "how": "tag", "case": True}
    assert read_edit(asked) == Edit("replace", find="a", put="b", how="tag", case=True)
    assert title("replace", "a", 1200) == "“a” replaced (captions: 1,200)"


def test_a_pattern_that_never_ends_is_stopped() -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError, match="takes too long"):
        finds(pattern(r"(a|aa)+$", case=False), "a" * 60 + "b")
    assert time.monotonic() - started < 60
