"""How a caption becomes the text of a step: prefix, dropout, wildcards, shuffling, tags dropped or still to come. kohya's rules, in kohya's order.

Files are read in `caption_files`; here is only text.
"""

from __future__ import annotations

import math
import random as python_random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sd_scripts.survey.datasets import CaptionRules

_WILDCARD = re.compile(r"\{([^}]+)\}")
_BRACES = (("{{", "\0("), ("}}", "\0)"))


def process_caption(
    raw: str,
    rules: CaptionRules,
    *,
    random: python_random.Random,
    epoch: int,
    step: int,
    max_train_steps: int,
    class_tokens: str | None = None,
    replacements: Mapping[str, str | Sequence[str]] | None = None,
) -> str:
    """The text that one picture is trained with at one step.

    Args:
        raw: text of the caption file, lines separated by a newline.
        rules: the subset's rules.
        random: source of all draws. Order: dropout of the caption (only with a rate), line, wildcards from left to right, shuffle, one per
            tag for dropout, replacement.
        epoch: 1-based, for dropout every n epochs.
        step: optimizer steps done, for the tag warm-up.
        max_train_steps: length of the run, for a tag warm-up given as a share of it.
        class_tokens: used where `raw` is blank.
        replacements: text to put in the place of another (textual inversion); the key "" replaces everything, a sequence is drawn from.
    """
    caption = whole_text(raw, rules, class_tokens)
    if is_dropped(rules, random, epoch):
        return ""
    caption = _one_line(caption, rules, random)
    if rules.shuffle_caption or rules.token_warmup_step > 0 or rules.caption_tag_dropout_rate > 0:
        caption = _rearranged(caption, rules, random, step=step, max_train_steps=max_train_steps)
    if rules.secondary_separator:
        caption = caption.replace(rules.secondary_separator, rules.caption_separator)
    return _replaced(caption, replacements or {}, random)


def whole_text(raw: str, rules: CaptionRules, class_tokens: str | None = None) -> str:
    """A caption, or the class tokens where it is blank, with what the rules put before and behind it."""
    return _with_affixes(raw if raw.strip() else class_tokens or raw, rules)


def sections(caption: str, rules: CaptionRules) -> list[str]:
    """The parts between marks that keep tags in place: what stays in front, what moves, what stays behind. One part where there is no mark."""
    mark = rules.keep_tokens_separator
    return caption.split(mark, 2) if mark else [caption]


def raw_tags(text: str, rules: CaptionRules) -> list[str]:
    """The tags of one part as they stand between the separators, blanks included."""
    return text.split(rules.caption_separator) if rules.caption_separator else [text]


def joint(rules: CaptionRules) -> str:
    """What stands between two tags that are joined: the separator and a blank."""
    separator = rules.caption_separator
    return separator if separator[-1:].isspace() else f"{separator} "


def counted_text(raw: str, rules: CaptionRules) -> str:
    """What of a caption counts as its text in statistics: all lines with wildcards on, else the first."""
    return raw if rules.enable_wildcard else raw.split("\n", 1)[0].strip()


def tag_frequency(captions: Iterable[str]) -> dict[str, int]:
    """How often each tag comes, in order of appearance. Tags are split at commas, whatever the separator: files carry it this way."""
    return dict(Counter(tag for caption in captions for tag in (part.strip().lower() for part in caption.split(",")) if tag))


def _with_affixes(caption: str, rules: CaptionRules) -> str:
    if rules.caption_prefix:
        caption = f"{rules.caption_prefix} {caption}"
    return f"{caption} {rules.caption_suffix}" if rules.caption_suffix else caption


def is_dropped(rules: CaptionRules, random: python_random.Random, epoch: int) -> bool:
    """Whether the whole caption is left out, by chance (one draw, only with a rate) or in this epoch (1-based)."""
    by_chance = rules.caption_dropout_rate > 0 and random.random() < rules.caption_dropout_rate
    return by_chance or (rules.caption_dropout_every_n_epochs > 0 and epoch % rules.caption_dropout_every_n_epochs == 0)


def _one_line(caption: str, rules: CaptionRules, random: python_random.Random) -> str:
    lines = caption.split("\n")
    if not rules.enable_wildcard:
        return lines[0]
    caption = random.choice(lines) if len(lines) > 1 else caption
    for braces, stand_in in _BRACES:
        caption = caption.replace(braces, stand_in)
    caption = _WILDCARD.sub(lambda match: random.choice(match.group(1).split("|")), caption)
    for braces, stand_in in _BRACES:
        caption = caption.replace(stand_in, braces[0])
    return caption


def _rearranged(caption: str, rules: CaptionRules, random: python_random.Random, *, step: int, max_train_steps: int) -> str:
    head, tags, tail = _split(caption, rules)
    tags = tags[: _tags_by_now(len(tags), rules, step, max_train_steps)]
    if rules.shuffle_caption:
        random.shuffle(tags)
    if rules.caption_tag_dropout_rate > 0:
        tags = [tag for tag in tags if random.random() >= rules.caption_tag_dropout_rate]
    return joint(rules).join(head + tags + tail)


def _split(caption: str, rules: CaptionRules) -> tuple[list[str], list[str], list[str]]:
    """Tags that stay in front, tags that move, tags that stay behind."""
    parts = sections(caption, rules)
    if len(parts) > 1:
        kept = [[tag for tag in _tags(part, rules) if tag] for part in parts]
        return kept[0], kept[1], kept[2] if len(kept) > 2 else []
    tags = _tags(caption.strip(), rules)
    return tags[: rules.keep_tokens], tags[rules.keep_tokens :], []


def _tags(text: str, rules: CaptionRules) -> list[str]:
    return [tag.strip() for tag in raw_tags(text, rules)]


def _tags_by_now(count: int, rules: CaptionRules, step: int, max_train_steps: int) -> int:
    warmup = rules.token_warmup_step
    if 0 < warmup < 1:
        warmup = math.floor(warmup * max_train_steps)
    if step >= warmup:
        return count
    return max(0, math.floor(step * (count - rules.token_warmup_min) / warmup) + rules.token_warmup_min)


def _replaced(caption: str, replacements: Mapping[str, str | Sequence[str]], random: python_random.Random) -> str:
    for old, new in replacements.items():
        text = new if isinstance(new, str) else random.choice(new)
        caption = caption.replace(old, text) if old else text
    return caption
