"""Cuts around faces."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.survey.faces import Face, cut_around, face_of, range_of

SIDES = st.integers(64, 2000)


@pytest.mark.parametrize(
    ("name", "face"),
    [
        ("cat_310_220_96_110.png", Face(310, 220, 96, 110)),
        ("my_cat_1_2_3_4.webp", Face(1, 2, 3, 4)),
        ("1_2_3_4.png", None),
        ("cat_1_2_3_x.png", None),
        ("cat_1_2_0_0.png", None),
        ("cat.png", None),
    ],
)
def test_the_name_tells_where_the_face_is(name, face):
    assert face_of(Path(name)) == face


@pytest.mark.parametrize("text", ["2.0", "4,2", "0,1", "a,b", "1,2,3", ""])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ValueError, match=""):
        range_of(text)


@given(size=st.tuples(SIDES, SIDES), target=st.tuples(st.integers(64, 512), st.integers(64, 512)), data=st.data(), anywhere=st.booleans())
def test_a_cut_lies_within_the_picture(size, target, data, anywhere):
    face = Face(data.draw(st.integers(0, size[0])), data.draw(st.integers(0, size[1])), data.draw(st.integers(1, size[0])), 50)
    cut = cut_around(face, size, target, (1.5, 4.0), random=Random(data.draw(st.integers(0, 99))), anywhere=anywhere)
    assert 0 <= cut.left <= cut.resized[0] - target[0]
    assert 0 <= cut.top <= cut.resized[1] - target[1]


def test_the_face_is_in_the_middle_and_as_large_as_was_asked_for():
    """A face of 100 pixels, and a cut of three times its size: at scale 256 / 300, centred on the face."""
    cut = cut_around(Face(400, 300, 100, 80), (800, 600), (256, 256), (3.0, 3.0), random=Random(0), anywhere=False)
    scale = 256 / 300
    assert cut.resized == (round(800 * scale), round(600 * scale))
    assert (cut.left, cut.top) == (round(400 * scale) - 128, round(300 * scale) - 128)


def test_factors_are_drawn_between_the_two():
    face = Face(400, 300, 100, 80)
    widths = [cut_around(face, (800, 600), (128, 128), (2.0, 2.7), random=Random(n), anywhere=False).resized[0] for n in range(200)]
    largest, smallest = 800 * 128 / 200, 800 * 128 / 270
    assert min(widths) < smallest + 8 < largest - 8 < max(widths)
    assert all(smallest - 1 <= width <= largest + 1 for width in widths)
