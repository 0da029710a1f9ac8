"""Line charts as small SVGs: at most a few hundred points, readable as text, drawn the same on every poll. Colours are the page's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kohya_gui.markup import Markup, join, tag
from kohya_gui.text import say

Points = Sequence[tuple[float, float]]
"""(x, y) by rising x; y finite."""

MOST_DOTS = 60
"""Points of a line that are marked; more of them would be a band."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line. `style` is a class of the style sheet: raw, smooth, rate-0 ... With `dots` its few points are marked; a lone one always is."""

    label: str
    points: Points
    style: str
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """Size of the drawing in its own units, and the margins for the axes' words. `marks` and `ticks` are (x, label): vertical lines, and marks
    on the axis."""

    width: int = 640
    height: int = 240
    left: int = 52
    bottom: int = 26
    top: int = 8
    right: int = 10
    y_label: str = ""
    x_max: float | None = None
    from_zero: bool = False
    marks: Sequence[tuple[float, str]] = ()
    ticks: Sequence[tuple[float, str]] = ()


def line_chart(series: Sequence[Series], frame: Frame, *, title: str) -> Markup:
    """An `<svg>` with axes, or nothing to see yet. `title` is what a screen reader says."""
    points = [point for row in series for point in row.points]
    if not points:
        return tag("div", say("Nothing measured yet."), class_="chart-empty soft small", style=f"aspect-ratio:{frame.width}/{frame.height}")
    x_low, x_high = 0.0, frame.x_max or max(point[0] for point in points) or 1.0
    y_low, y_high = _y_range([point[1] for point in points], frame.from_zero)
    x = _scale(x_low, x_high, frame.left, frame.width - frame.right)
    y = _scale(y_low, y_high, frame.height - frame.bottom, frame.top)
    grid = [_y_tick(value, y(value), frame) for value in nice_ticks(y_low, y_high, 4)]
    grid += [_x_tick(value, x(value), frame) for value in nice_ticks(x_low, x_high, 6) if value == int(value)]
    marks = [
        tag("line", tag("title", label), x1=_n(x(at)), x2=_n(x(at)), y1=frame.top, y2=frame.height - frame.bottom, class_="mark")
        for at, label in frame.marks
    ]
    base = frame.height - frame.bottom
    marks += [tag("path", tag("title", label), d=f"M{_n(x(at))} {base}l-4 7h8z", class_="tick") for at, label in frame.ticks]
    lines = [
        tag("polyline", points=" ".join(f"{_n(x(a))},{_n(y(b))}" for a, b in row.points), class_=f"line {row.style}", data_label=row.label)
        for row in series
        if row.points
    ]
    lines += [
        tag("circle", cx=_n(x(a)), cy=_n(y(b)), r=3, class_=f"dot {row.style}")
        for row in series
        if len(row.points) == 1 or (row.dots and len(row.points) <= MOST_DOTS)
        for a, b in row.points
    ]
    return tag(
        "svg",
        tag("title", title),
        grid,
        marks,
        lines,
        viewBox=f"0 0 {frame.width} {frame.height}",
        class_="chart",
        role="img",
        data_x=f"{x_low:g} {x_high:g} {frame.left} {frame.width - frame.right}",
        data_y=f"{y_low:.6g} {y_high:.6g} {frame.height - frame.bottom} {frame.top}",
    )


def legend(series: Sequence[Series], more: Sequence[tuple[str, str]] = ()) -> Markup:
    """Names of the lines with their colours; `more` are (class, name) of other marks in the picture."""
    keys = [(row.style, row.label) for row in series if row.points]
    return tag("div", [tag("span", tag("i", class_=f"key {style}"), label) for style, label in [*keys, *more]], class_="legend small")


def thinned(points: Points, limit: int) -> list[tuple[float, float]]:
    """At most `limit` points: neighbours are averaged, so a wild line stays a fair picture of itself."""
    if len(points) <= limit:
        return list(points)
    group = math.ceil(len(points) / limit)
    chunks = (points[start : start + group] for start in range(0, len(points), group))
    return [(chunk[-1][0], sum(point[1] for point in chunk) / len(chunk)) for chunk in chunks]


def nice_ticks(low: float, high: float, wanted: int) -> list[float]:
    """About `wanted` round numbers between low and high."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / wanted
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _y_range(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    """Outliers of a loss would press everything else flat: the top is the 99th percentile and a bit."""
    ranked = sorted(values)
    low, high = ranked[0], max(ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))], ranked[len(ranked) // 2])
    if from_zero:
        low = min(0.0, low)
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (low if from_zero else low - pad), high + pad


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    edge = min(start, end), max(start, end)
    return lambda value: min(max(start + (value - low) / span * (end - start), edge[0]), edge[1])


def _y_tick(value: float, at: float, frame: Frame) -> Markup:
    line = tag("line", x1=frame.left, x2=frame.width - frame.right, y1=_n(at), y2=_n(at), class_="grid")
    return join(line, tag("text", f"{value:.3g}", x=frame.left - 8, y=_n(at + 4), text_anchor="end"))


def _x_tick(value: float, at: float, frame: Frame) -> Markup:
    return tag("text", f"{value:,.0f}", x=_n(at), y=frame.height - 8, text_anchor="middle")


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
