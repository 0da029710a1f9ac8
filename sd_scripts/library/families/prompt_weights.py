"""Emphasis in prompts: `(word)`, `[word]` and `(word:1.3)`, as web UIs and kohya's previews read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sd_scripts.library.families.clip import word_ids

STRONGER = 1.1
WEAKER = 1 / STRONGER
_PIECES = re.compile(r"\\[\\()\[\]]|[()\[\]]|:\s*[+-]?[.\d]+\s*\)|[^\\()\[\]:]+|.", re.DOTALL)
_CLOSING_WEIGHT = re.compile(r":\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)")


def parse_weights(prompt: str) -> list[tuple[str, float]]:
    """A prompt as texts with their weights, neighbours of equal weight joined; never empty.

    Round brackets multiply by 1.1, square ones divide by it, `(text:x)` multiplies by x; they nest. A backslash takes a bracket's or backslash's
    meaning away. Brackets that are never closed reach to the end, closing ones that were never opened are text.
    """
    texts: list[str] = []
    weights: list[float] = []
    opened: list[tuple[str, int]] = []

    def close(bracket: str, factor: float) -> bool:
        for place in reversed(range(len(opened))):
            if opened[place][0] == bracket:
                start = opened.pop(place)[1]
                weights[start:] = [weight * factor for weight in weights[start:]]
                return True
        return False

    for piece in _PIECES.findall(prompt):
        number = _CLOSING_WEIGHT.fullmatch(piece)
        if piece in "([":
            opened.append((piece, len(texts)))
        elif (number and close("(", float(number[1]))) or (piece == ")" and close("(", STRONGER)) or (piece == "]" and close("[", WEAKER)):
            continue
        else:
            texts.append(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece)
            weights.append(1.0)
    for bracket, start in opened:
        factor = STRONGER if bracket == "(" else WEAKER
        weights[start:] = [weight * factor for weight in weights[start:]]
    return _joined(texts, weights) or [("", 1.0)]


def weighted_words(prompt: str, defined: Mapping[str, Sequence[int]] | None = None) -> tuple[list[int], list[float]]:
    """Ids of a prompt's words, without start, end and padding, and one weight per id. `defined` as in `clip.word_ids`."""
    ids: list[int] = []
    weights: list[float] = []
    for text, weight in parse_weights(prompt):
        words = word_ids(text, defined)
        ids += words
        weights += [weight] * len(words)
    return ids, weights


def _joined(texts: list[str], weights: list[float]) -> list[tuple[str, float]]:
    joined: list[tuple[str, float]] = []
    for text, weight in zip(texts, weights, strict=True):
        if joined and joined[-1][1] == weight:
            joined[-1] = (joined[-1][0] + text, weight)
        else:
            joined.append((text, weight))
    return joined
