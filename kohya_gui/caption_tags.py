"""Tags of a caption as they stand in its file, blanks and separators included, so that a change of one leaves the others as they are.

Where a caption is split is `sd_scripts.survey.captions`' matter. Braces of wildcards are not split: what stands in them is drawn as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

from sd_scripts.survey.captions import joint, raw_tags, sections
from sd_scripts.survey.datasets import CaptionRules

PART, TAG, MARK, END = range(4)
"""What follows a piece, from the weakest on: the secondary separator, the separator, the mark that keeps tags in place, the line's end."""
_BRACES = re.compile(r"\{[^{}]+\}")
_STAND_IN = "\0"


@dataclass(frozen=True, slots=True)
class Piece:
    """A tag with the blanks around it and the separator that follows; `rank` says which that is."""

    text: str
    before: str = ""
    after: str = ""
    joint: str = ""
    rank: int = END


Pieces = list[Piece]


def key(tag: str) -> str:
    """What makes two tags the same: case does not count."""
    return tag.casefold()


def parse(line: str, rules: CaptionRules) -> Pieces:
    """The pieces of one line; `render` gives it back, letter by letter."""
    masked = _masked(line, rules)
    made: Pieces = []
    parts = sections(masked, rules)
    place = 0
    for at, part in enumerate(parts):
        tags = raw_tags(part, rules)
        for number, tag in enumerate(tags):
            bits = tag.split(rules.secondary_separator) if rules.secondary_separator else [tag]
            last = (MARK, rules.keep_tokens_separator) if at + 1 < len(parts) else (END, "")
            after_tag = (TAG, rules.caption_separator) if number + 1 < len(tags) else last
            for index, bit in enumerate(bits):
                rank, text = (PART, rules.secondary_separator or "") if index + 1 < len(bits) else after_tag
                made.append(_piece(line[place : place + len(bit)], text, rank))
                place += len(bit) + len(text)
    return made


def render(pieces: Sequence[Piece]) -> str:
    """The line that the pieces are."""
    return "".join(f"{piece.before}{piece.text}{piece.after}{piece.joint}" for piece in pieces)


def tags_of(line: str, rules: CaptionRules) -> list[str]:
    """The tags of a line, without blanks and empty ones: what `parse` gives, for counting in many captions."""
    if rules.enable_wildcard and "{" in line:
        return [piece.text for piece in parse(line, rules) if piece.text]
    tags = [tag for part in sections(line, rules) for tag in raw_tags(part, rules)]
    if rules.secondary_separator:
        tags = [bit for tag in tags for bit in tag.split(rules.secondary_separator)]
    return [text for tag in tags if (text := tag.strip())]


def read_lines(body: str, rules: CaptionRules) -> list[str]:
    """The lines of a caption that are trained with: all that are not blank with wildcards on, else the first of these."""
    lines = [line for line in body.splitlines() if line.strip()]
    return lines if rules.enable_wildcard else lines[:1]


def on_read_lines(body: str, rules: CaptionRules, change: Callable[[str], str]) -> str:
    """The caption with `change` made to each line that is trained with; a caption without text is one blank line."""
    lines = body.splitlines(keepends=True)
    read = [at for at, line in enumerate(lines) if line.strip()]
    if not read:
        return change("") or body
    for at in read if rules.enable_wildcard else read[:1]:
        line = lines[at]
        bare = line.splitlines()[0]
        lines[at] = change(bare) + line[len(bare) :]
    return "".join(lines)


def add(line: str, rules: CaptionRules, words: Sequence[str], *, place: Literal["front", "back"]) -> str:
    """The line with those of `words` that are not among its tags, in front of all or behind all."""
    pieces = parse(line, rules)
    there = {key(piece.text) for piece in pieces}
    new = [word for word in words if key(word) not in there]
    for word in reversed(new) if place == "front" else new:
        pieces = _in_front(pieces, word, rules) if place == "front" else _behind(pieces, word, rules)
    return render(pieces)


def remove(line: str, rules: CaptionRules, words: Sequence[str]) -> str:
    """The line without tags that are among `words`."""
    unwanted = {key(word) for word in words}
    return render(_without(parse(line, rules), lambda piece: key(piece.text) in unwanted))


def to_front(line: str, rules: CaptionRules, words: Sequence[str]) -> str:
    """The line with those of `words` that are among its tags in front of all others, in the order of `words`, spelled as in the line."""
    pieces = parse(line, rules)
    spelled = {key(piece.text): piece.text for piece in reversed(pieces) if piece.text}
    moved = [spelled[key(word)] for word in words if key(word) in spelled]
    if [piece.text for piece in pieces[: len(moved)]] == moved:
        return line
    wanted = {key(word) for word in moved}
    rest = _without(pieces, lambda piece: key(piece.text) in wanted)
    for word in reversed(moved):
        rest = _in_front(rest, word, rules)
    return render(rest)


def rename(line: str, rules: CaptionRules, old: str, new: str) -> str:
    """The line with the tag `old` called `new`; without the tag, where `new` is blank. No tag comes twice by it."""
    if not new.strip():
        return remove(line, rules, [old])
    pieces = parse(line, rules)
    if all(key(piece.text) != key(old) for piece in pieces):
        return line
    renamed = [replace(piece, text=new.strip()) if key(piece.text) == key(old) else piece for piece in pieces]
    first = next(at for at, piece in enumerate(renamed) if key(piece.text) == key(new.strip()))
    return render(_without(renamed, lambda piece: key(piece.text) == key(new.strip()), keep=first))


def tidied(line: str, rules: CaptionRules) -> str:
    """The line without empty tags and without those that came before."""
    pieces = parse(line, rules)
    met: set[str] = set()
    unwanted = []
    for piece in pieces:
        unwanted.append(not piece.text or key(piece.text) in met)
        met.add(key(piece.text))
    return render(_drop(pieces, unwanted)) if any(unwanted) else line


def in_order(line: str, rules: CaptionRules, counts: Mapping[str, int] | None = None) -> str:
    """The line with its tags in alphabetical order; with `counts` by key, most common ones first. Tags that training keeps in place stay."""
    units = _units(parse(line, rules))
    slots = [at for at in _movable(units, rules) if any(piece.text for piece in units[at])]

    def rank(unit: Pieces) -> tuple[int, str]:
        return -(counts or {}).get(key(unit[0].text), 0), key(unit[0].text)

    ordered = sorted((units[at] for at in slots), key=rank)
    made = list(units)
    for at, unit in zip(slots, ordered, strict=True):
        made[at] = _refitted(unit, units[at])
    return render([piece for unit in made for piece in unit])


def _masked(line: str, rules: CaptionRules) -> str:
    """The line with what is drawn as a whole made invisible to splitting, at the same length."""
    if not rules.enable_wildcard:
        return line
    return _BRACES.sub(lambda match: _STAND_IN * len(match.group()), line)


def _piece(text: str, joint: str, rank: int) -> Piece:
    bare = text.strip()
    start = len(text) - len(text.lstrip())
    return Piece(bare, text[:start], text[start + len(bare) :], joint, rank)


def _gap(pieces: Sequence[Piece], rules: CaptionRules) -> str:
    """The blanks that stand behind separators in this line; what training writes where there is none."""
    seen = Counter(piece.before for previous, piece in pairwise(pieces) if previous.rank == TAG and piece.text)
    return seen.most_common(1)[0][0] if seen else joint(rules)[len(rules.caption_separator) :]


def _in_front(pieces: Pieces, word: str, rules: CaptionRules) -> Pieces:
    first = pieces[0]
    if not first.text:
        return [replace(first, text=word), *pieces[1:]]
    return [Piece(word, first.before, "", rules.caption_separator, TAG), replace(first, before=_gap(pieces, rules)), *pieces[1:]]


def _behind(pieces: Pieces, word: str, rules: CaptionRules) -> Pieces:
    last = pieces[-1]
    if not last.text:
        return [*pieces[:-1], replace(last, text=word, before=last.before or (_gap(pieces, rules) if len(pieces) > 1 else ""))]
    return [*pieces[:-1], replace(last, after="", joint=rules.caption_separator, rank=TAG), Piece(word, _gap(pieces, rules), last.after)]


def _without(pieces: Pieces, unwanted: Callable[[Piece], bool], *, keep: int = -1) -> Pieces:
    return _drop(pieces, [bool(piece.text) and unwanted(piece) and at != keep for at, piece in enumerate(pieces)])


def _drop(pieces: Pieces, unwanted: Sequence[bool]) -> Pieces:
    """Take pieces out, each with one of the separators beside it: the weaker one, so that parts and marks stay where they are."""
    made: Pieces = []
    before: str | None = None
    for piece, gone in zip(pieces, unwanted, strict=True):
        kept = piece if before is None else replace(piece, before=before)
        before = None
        opens = not made or made[-1].rank == MARK
        if not gone:
            made.append(kept)
        elif opens and piece.rank >= MARK:
            made.append(Piece("", kept.before, "", piece.joint, piece.rank))
        elif not opens and piece.rank > made[-1].rank:
            made[-1] = replace(made[-1], after=piece.after, joint=piece.joint, rank=piece.rank)
        elif opens or piece.rank < made[-1].rank:
            before = kept.before
    return made


def _units(pieces: Sequence[Piece]) -> list[Pieces]:
    """Pieces that move together: those between separators."""
    units: list[Pieces] = [[]]
    for piece in pieces:
        units[-1].append(piece)
        if piece.rank != PART:
            units.append([])
    return [unit for unit in units if unit]


def _movable(units: Sequence[Pieces], rules: CaptionRules) -> range:
    """Indexes of the units that training may shuffle."""
    marks = [at for at, unit in enumerate(units) if unit[-1].rank == MARK]
    if marks:
        return range(marks[0] + 1, marks[1] + 1 if len(marks) > 1 else len(units))
    return range(rules.keep_tokens, len(units))


def _refitted(unit: Pieces, slot: Pieces) -> Pieces:
    """A unit in the place of another: the blanks around it and its separator are the place's."""
    made = [replace(unit[0], before=slot[0].before), *unit[1:]]
    made[-1] = replace(made[-1], after=slot[-1].after, joint=slot[-1].joint, rank=slot[-1].rank)
    return made


LINE_CHANGES: Mapping[str, Callable[..., str]] = {
    "front": partial(add, place="front"),
    "back": partial(add, place="back"),
    "remove": remove,
    "to_front": to_front,
}
"""Changes of a line by a list of tags."""
