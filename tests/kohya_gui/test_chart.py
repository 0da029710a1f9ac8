"""Charts as SVG."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from kohya_gui.chart import Frame, Series, line_chart, nice_ticks, thinned

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


@given(VALUES)
def test_every_point_lies_within_the_frame(values: list[float]) -> None:
    svg = line_chart([Series("loss", [(i + 1, y) for i, y in enumerate(values)], "raw")], Frame(), title="Loss")
    for pair in re.search(r'points="([^"]*)"', svg)[1].split():
        x, y = map(float, pair.split(","))
        assert 52 <= x <= 630
        assert 8 <= y <= 214


@given(VALUES, st.integers(1, 50))
def test_thinning_keeps_the_last_step_and_the_mean_of_what_it_joins(values: list[float], limit: int) -> None:
    points = thinned([(float(i), y) for i, y in enumerate(values)], limit)
    assert len(points) <= limit
    assert points[-1][0] == len(values) - 1


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e4))
def test_ticks_lie_inside_and_are_few(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span, 4)
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    assert len(ticks) <= 6


def test_an_empty_chart_says_so() -> None:
    assert "Nothing measured yet." in line_chart([], Frame(), title="Loss")


def test_a_chart_has_a_title_for_those_who_cannot_see_it() -> None:
    assert "<title>Loss by step</title>" in line_chart([Series("loss", [(1, 1.0), (2, 0.5)], "raw")], Frame(), title="Loss by step")
