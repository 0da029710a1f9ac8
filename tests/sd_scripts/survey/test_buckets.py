"""Buckets: kohya's tables and choices, and what every picture can rely on."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.errors import ConfigError
from sd_scripts.survey.buckets import adjust_limits, aspect_error, bucket_resolutions, choose, size_crop
from sd_scripts.survey.datasets import Dataset

GOLDEN_FOLDER = Path(__file__).parents[2] / "golden"
GOLDEN = json.loads((GOLDEN_FOLDER / "buckets.json").read_text("utf-8"))
DEVIATIONS = {
    row["case"]: row["value"]
    for row in tomllib.loads((GOLDEN_FOLDER / "deviations.toml").read_text("utf-8"))["deviation"]
    if row["file"] == "buckets.json"
}


def _dataset(setting: dict[str, Any]) -> Dataset:
    return Dataset(
        resolution=tuple(setting["resolution"]),
        enable_bucket=True,
        min_bucket_reso=setting["min"],
        max_bucket_reso=setting["max"],
        bucket_reso_steps=setting["step"],
        bucket_no_upscale=setting["no_upscale"],
    )


def _name(setting: dict[str, Any], size: list[int]) -> str:
    upscale = "no_upscale" if setting["no_upscale"] else "upscale"
    return f"{setting['resolution'][0]}x{setting['resolution'][1]} step {setting['step']} {upscale}: {size[0]}x{size[1]}"


SELECTED = [pytest.param(setting, row, id=_name(setting, row[0])) for setting in GOLDEN["select"] for row in setting["rows"]]


@pytest.mark.parametrize("table", GOLDEN["bucket_tables"], ids=str)
def test_the_table_of_buckets_is_kohyas(table):
    buckets = bucket_resolutions(tuple(table["resolution"]), table["min"], table["max"], table["step"])
    assert [list(bucket) for bucket in buckets] == table["buckets"]
    assert len(buckets) == table["count"]


@pytest.mark.parametrize("case", GOLDEN["adjust_min_max"], ids=str)
def test_limits_are_rounded_to_the_step_or_refused(case):
    arguments = (tuple(case["resolution"]), case["min"], case["max"], case["step"])
    if case["adjusted"] is None:
        with pytest.raises(ConfigError, match="min_bucket_reso"):
            adjust_limits(*arguments)
    else:
        assert list(adjust_limits(*arguments)) == case["adjusted"]


@pytest.mark.parametrize(("setting", "row"), SELECTED)
def test_the_choice_for_a_picture_is_kohyas(setting, row):
    size, bucket, resized, ar_error, crop, ltrb = row
    choice = choose(tuple(size), _dataset(setting))
    if _name(setting, size) in DEVIATIONS:
        assert [list(choice.bucket), list(choice.resized)] == DEVIATIONS[_name(setting, size)]
        return
    assert [list(choice.bucket), list(choice.resized), list(choice.crop)] == [bucket, resized, crop]
    assert aspect_error(choice.bucket, tuple(size)) == pytest.approx(ar_error, abs=1e-9)
    assert size_crop(choice.bucket, tuple(size)) == pytest.approx(ltrb, rel=1e-8)


def test_a_maximum_below_the_resolution_is_refused():
    with pytest.raises(ConfigError, match="max_bucket_reso"):
        adjust_limits((1024, 1024), 256, 900, 64)


def test_without_buckets_a_picture_is_scaled_to_cover_the_resolution_and_cut_in_the_middle():
    choice = choose((1000, 500), Dataset(resolution=(512, 512)))
    assert (choice.bucket, choice.resized, choice.crop) == ((512, 512), (1024, 512), (256, 0))


def test_without_buckets_random_crop_cuts_from_the_unscaled_picture():
    dataset = Dataset(resolution=(512, 512))
    assert choose((1000, 700), dataset, random_crop=True).resized == (1000, 700)
    assert choose((1000, 300), dataset, random_crop=True).resized == choose((1000, 300), dataset).resized


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Any dataset with buckets whose limits were adjusted."""
    step = draw(st.sampled_from((8, 16, 32, 64, 128)))
    resolution = (draw(st.integers(step, 2048)), draw(st.integers(step, 2048)))
    low, high = adjust_limits(resolution, draw(st.integers(1, min(resolution))), draw(st.integers(max(resolution), 4096)), step)
    return Dataset(
        resolution=resolution,
        enable_bucket=True,
        min_bucket_reso=low,
        max_bucket_reso=high,
        bucket_reso_steps=step,
        bucket_no_upscale=draw(st.booleans()),
    )


@given(datasets(), st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)))
def test_every_picture_gets_one_bucket_within_the_limits_and_covers_it(dataset, size):
    choice = choose(size, dataset)
    step = dataset.bucket_reso_steps
    assert all(side > 0 and side % step == 0 for side in choice.bucket)
    assert all(resized >= side for resized, side in zip(choice.resized, choice.bucket, strict=True))
    assert all(0 <= offset <= resized - side for offset, resized, side in zip(choice.crop, choice.resized, choice.bucket, strict=True))
    if not dataset.bucket_no_upscale:
        assert choice.bucket in bucket_resolutions(dataset.resolution, dataset.min_bucket_reso, dataset.max_bucket_reso, step)


def test_every_deviation_is_of_a_recorded_case_and_differs_from_it():
    recorded = {_name(setting, row[0]): row[1:3] for setting in GOLDEN["select"] for row in setting["rows"]}
    assert DEVIATIONS
    assert all(recorded[case] != value for case, value in DEVIATIONS.items())
