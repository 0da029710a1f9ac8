"""Seeds of draws."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.survey.randomness import seed_for


@given(st.integers(0, 2**63), st.text(max_size=8), st.integers(0, 100), st.integers(0, 10_000), st.integers(-1, 512))
def test_a_seed_fits_every_generator(seed, stream, epoch, step, index):
    value = seed_for(seed, stream, epoch=epoch, step=step, index=index)
    assert 0 <= value < 2**63
    random.Random(value)


def test_positions_that_look_alike_have_different_seeds():
    positions = [
        {"seed": 1, "stream": "flip"},
        {"seed": 1, "stream": "flip1"},
        {"seed": 11, "stream": "flip"},
        {"seed": 1, "stream": "flip", "epoch": 1},
        {"seed": 1, "stream": "flip", "step": 1},
        {"seed": 1, "stream": "flip", "index": 1},
        {"seed": 1, "stream": "flip", "epoch": 11},
        {"seed": 1, "stream": "flip", "epoch": 1, "step": 1},
    ]
    assert len({seed_for(**position) for position in positions}) == len(positions)


def test_a_seed_is_the_same_forever():
    assert seed_for(42, "noise", epoch=2, step=17, index=3) == 7500270804790990900
