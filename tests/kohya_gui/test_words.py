"""Words and numbers as people read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_gui.text import Words, duration, every, languages, plural, read_words, size
from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import command

RANK = command("train_network").parameter("network_dim")


@pytest.mark.parametrize(
    ("bytes_", "words"), [(0, "0 bytes"), (999, "999 bytes"), (85_400_000, "85 MB"), (2_130_000_000, "2.1 GB"), (9_500_000, "9.5 MB")]
)
def test_sizes_have_units(bytes_: int, words: str) -> None:
    assert size(bytes_) == words


@pytest.mark.parametrize(("seconds", "words"), [(None, "measuring…"), (45, "45 s"), (540, "9 min"), (7500, "2 h 05 min"), (3599, "1 h 00 min")])
def test_durations_have_the_two_units_that_matter(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_counts_take_plurals_and_separators() -> None:
    assert (plural(1, "picture"), plural(2000, "picture"), every(1, "epoch"), every(50, "step"), every(None, "step")) == (
        "1 picture",
        "2,000 pictures",
        "every epoch",
        "every 50 steps",
        "",
    )


def test_a_language_says_what_it_has_and_english_the_rest(tmp_path: Path) -> None:
    (tmp_path / "de.json").write_text(json.dumps({"options": {"network_dim": {"label": "Rang"}}, "sections": {"Saving": "Sichern"}}), "utf-8")
    words = read_words("de", tmp_path)
    assert (words.label(RANK), words.help(RANK), words.title("Saving", "x"), words.title("LoRA", "LoRA")) == ("Rang", RANK.help, "Sichern", "LoRA")


def test_an_unknown_language_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Choose one of: en"):
        read_words("xx", tmp_path)
    assert languages(tmp_path) == ("en",)


def test_english_is_the_registry() -> None:
    assert Words().label(RANK) == RANK.label
