"""Curves of timesteps: quantile and distribution are inverse to each other, and stay in the range that is trained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.params.noise import Timesteps
from sd_scripts.survey.timestep_curves import QUANTILES, SHARES_BELOW, timestep_at, timestep_range


@pytest.mark.parametrize("curve", QUANTILES)
@given(uniform=st.floats(0.001, 0.999), power=st.floats(0, 5), std=st.floats(0.2, 3))
def test_a_quantile_is_the_inverse_of_its_distribution(curve, uniform, power, std):
    config = Timesteps(timestep_curve=curve, timestep_curve_power=power, timestep_curve_std=std, timestep_curve_mean=-0.5)
    assert SHARES_BELOW[curve](QUANTILES[curve](uniform, config), config) == pytest.approx(uniform, abs=1e-6)


@pytest.mark.parametrize("curve", QUANTILES)
@given(uniform=st.floats(0, 1, exclude_max=True), low=st.integers(0, 900), width=st.integers(1, 100))
def test_every_draw_is_in_the_range(curve, uniform, low, width):
    config = Timesteps(timestep_curve=curve, min_timestep=low, max_timestep=low + width)
    assert low <= timestep_at(config, uniform) < low + width


def test_low_noise_and_high_noise_favour_their_ends():
    middle = {curve: timestep_at(Timesteps(timestep_curve=curve), 0.5) for curve in QUANTILES}
    assert middle["low_noise"] < 300 < middle["uniform"] == 500 < 700 < middle["high_noise"]
    assert timestep_at(Timesteps(timestep_curve="logit_normal", timestep_curve_mean=-1.0), 0.5) == pytest.approx(269, abs=1)


def test_an_empty_range_is_its_upper_end():
    assert timestep_range(Timesteps(min_timestep=700, max_timestep=700)) == (700, 701)
    assert timestep_range(Timesteps(min_timestep=1000, max_timestep=1000)) == (999, 1000)
