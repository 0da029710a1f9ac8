"""Rules on a word that is learnt."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sd_scripts.params.config import Config
from sd_scripts.params.network import Network
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.rules.rule import Rule, were_given
from sd_scripts.params.text_cache import TextCache
from sd_scripts.params.word import LearntWord, PivotalTuning, TextualInversion

_UNUSABLE = re.compile(r"[\s,()\[\]{}|\\:]")


def learnt_word(config: Config) -> str | None:
    """The word that is learnt in this run, in lower case; None for none."""
    word = config[LearntWord].token_string if LearntWord in config else None
    return word.lower() if word else None


def word_can_stand_in_a_prompt(config: Config) -> Iterator[Problem]:
    """There is a word where one is trained, without marks that mean something in captions and prompts."""
    word = config[LearntWord].token_string
    if not word:
        if Network not in config:
            yield error("token_string", "No word is given.", "Name the word to learn, such as sks-cat.")
        for name in were_given(config, "init_word", "num_vectors_per_token"):
            if Network in config:
                yield warning(name, "It has no effect without token_string.", "Name the word to learn, or leave this out.")
        return
    found = _UNUSABLE.search(word)
    if found:
        mark = "a space" if found[0].isspace() else found[0]
        yield error("token_string", f"{word} holds {mark}, which separates words or means something in prompts.", "Use letters, digits, - and _.")


def word_can_be_bundled(config: Config) -> Iterator[Problem]:
    """In a bundle the word is part of a key, which dots divide."""
    if PivotalTuning not in config:
        return
    word = config[LearntWord].token_string
    if not word:
        for name in were_given(config, "embedding_lr", "bundle_embedding"):
            yield warning(name, "It has no effect without token_string.", "Name the word to learn, or leave this out.")
    elif config[PivotalTuning].bundle_embedding and "." in word:
        yield error("token_string", f"{word} holds a dot, which divides names in a bundle.", "Choose another word, or turn bundle_embedding off.")


def captions_come_from_one_place(config: Config) -> Iterator[Problem]:
    """Two sets of sentences at once."""
    if TextualInversion in config and config[TextualInversion].use_object_template and config[TextualInversion].use_style_template:
        yield error("use_style_template", "use_object_template is on too, and only one set of sentences can be used.", "Turn one of them off.")


def start_is_named_once(config: Config) -> Iterator[Problem]:
    """A file to go on from makes the first word unnecessary."""
    if TextualInversion in config and config[TextualInversion].weights and "init_word" in config.given:
        yield warning("init_word", "It has no effect, because weights says what the word starts as.", "Leave one of them out.")


def captions_are_not_kept(config: Config) -> Iterator[Problem]:
    """What the text encoder says changes with the word."""
    if learnt_word(config) and TextCache in config and config[TextCache].cache_text_encoder_outputs:
        yield error("cache_text_encoder_outputs", "It keeps captions as they are, but token_string changes what they mean.", "Turn one of them off.")


RULES: tuple[Rule, ...] = (word_can_stand_in_a_prompt, word_can_be_bundled, captions_come_from_one_place, start_is_named_once, captions_are_not_kept)
"""All rules of this file."""
