"""Preview pictures side by side as one PNG: what the model drew before, and what it draws now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from kohya_gui.jobs.monitor import Sample
from kohya_gui.jobs.states import replace_file

_CELL, _GAP, _TEXT, _FONT = 256, 16, 40, 14
_GROUND, _INK = (250, 250, 250), (30, 30, 30)
_WIDTH_CHARACTERS = 34


def before_and_after(samples: Sequence[Sample], path: Path, *, base: Path) -> Path | None:
    """Write a picture with a row per prompt, its first sample left and its last one right; return its path.

    Args:
        samples: of one run, any order; their paths may be relative to `base`.
        path: the PNG to write; replaced as a whole if it exists.
        base: the run's working directory.

    Returns:
        `path`, or None if no prompt has two samples of different steps whose files are there.
    """
    rows = [(first, last) for first, last in _pairs(samples) if (base / first.path).is_file() and (base / last.path).is_file()]
    if not rows:
        return None
    sheet = Image.new("RGB", (3 * _GAP + 2 * _CELL, _GAP + len(rows) * (_CELL + _TEXT + _GAP)), _GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    for row, pair in enumerate(rows):
        top = _GAP + row * (_CELL + _TEXT + _GAP)
        for column, (word, sample) in enumerate(zip(("before", "after"), pair, strict=True)):
            left = _GAP + column * (_CELL + _GAP)
            sheet.paste(_cell(base / sample.path), (left, top + _TEXT))
            draw.text((left, top), f"{word} (step {sample.step})", _INK, font)
            draw.text((left, top + _FONT + 4), _shortened(sample.prompt), _INK, font)
    fresh = path.with_name(f".{path.name}.part")
    sheet.save(fresh, "PNG")
    replace_file(fresh, path)
    return path


def _pairs(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    by_prompt: dict[int, list[Sample]] = {}
    for sample in samples:
        by_prompt.setdefault(sample.index, []).append(sample)
    ordered = [sorted(group, key=lambda sample: sample.step) for _, group in sorted(by_prompt.items())]
    return [(group[0], group[-1]) for group in ordered if group[0].step != group[-1].step]


def _cell(path: Path) -> Image.Image:
    """The picture in the middle of a square cell; small ones are enlarged to fill it."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
    scale = _CELL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    cell = Image.new("RGB", (_CELL, _CELL), _GROUND)
    cell.paste(picture.resize(size, Image.Resampling.LANCZOS), ((_CELL - size[0]) // 2, (_CELL - size[1]) // 2))
    return cell


def _shortened(prompt: str) -> str:
    """The prompt without kohya's options, short enough for a cell; letters that the font has not are drawn as boxes."""
    text = prompt.partition(" --")[0].strip()
    return text if len(text) <= _WIDTH_CHARACTERS else f"{text[: _WIDTH_CHARACTERS - 1]}…"
