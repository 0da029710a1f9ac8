"""Captions that change by chance, as a fixed number of versions each: what can be encoded once and kept. How a caption changes is captions.py's."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from sd_scripts.survey.captions import is_dropped, process_caption
from sd_scripts.survey.datasets import CaptionRules
from sd_scripts.survey.randomness import seed_for


def varies(rules: CaptionRules) -> bool:
    """Whether a caption has more than one text, apart from being left out as a whole."""
    return rules.shuffle_caption or rules.enable_wildcard or rules.caption_tag_dropout_rate > 0 or rules.token_warmup_step > 0


def may_be_dropped(rules: CaptionRules) -> bool:
    """Whether whole captions are left out now and then."""
    return rules.caption_dropout_rate > 0 or rules.caption_dropout_every_n_epochs > 0


def variant(raw: str, rules: CaptionRules, number: int, *, class_tokens: str | None = None) -> str:
    """The text of version `number` of a caption: the same in every run, whatever its seed, so that files of versions are found again.

    `rules` must be without a tag warm-up, whose text depends on the step.
    """
    kept = replace(rules, caption_dropout_rate=0.0, caption_dropout_every_n_epochs=0)
    random = Random(seed_for(0, f"caption variant {raw}", index=number))
    return process_caption(raw, kept, random=random, epoch=1, step=0, max_train_steps=1, class_tokens=class_tokens)


def chosen_variant(raw: str, rules: CaptionRules, count: int, *, random: Random, epoch: int, class_tokens: str | None = None) -> str:
    """The text of one step where captions have `count` versions: a version by chance, or nothing where the caption is left out."""
    if is_dropped(rules, random, epoch):
        return ""
    return variant(raw, rules, random.randrange(count) if varies(rules) else 0, class_tokens=class_tokens)


def all_variants(raw: str, rules: CaptionRules, count: int, *, class_tokens: str | None = None) -> tuple[str, ...]:
    """Every text that `chosen_variant` may give, the empty one last where captions may be left out."""
    texts = [variant(raw, rules, number, class_tokens=class_tokens) for number in range(count if varies(rules) else 1)]
    return tuple(dict.fromkeys([*texts, ""] if may_be_dropped(rules) else texts))
