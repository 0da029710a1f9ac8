"""Rules on pictures, buckets, captions and caches."""

from __future__ import annotations

import pytest

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.resolution import parse_resolution
from sd_scripts.params.rules import caching, pictures

LORA = command("train_network")


def found(rule, **values) -> list[tuple[str, str]]:
    return [(problem.field, problem.severity) for problem in rule(make_config(LORA, values))]


def test_a_run_needs_pictures():
    assert found(pictures.data_is_named) == [("train_data_dir", "error")]
    assert found(pictures.data_is_named, dataset_config="d.toml") == []


def test_a_dataset_file_replaces_the_folders():
    assert found(pictures.data_is_named, dataset_config="d.toml", train_data_dir="a") == [("train_data_dir", "warning")]


@pytest.mark.parametrize(("text", "size"), [("512", (512, 512)), ("512,768", (512, 768)), (" 512 , 768 ", (512, 768))])
def test_resolution_is_width_then_height_or_one_number(text, size):
    assert parse_resolution(text) == size


@pytest.mark.parametrize("text", ["512x768", "", "a", "512,", "1,2,3", "0", "-512", "512.5"])
def test_other_resolutions_are_refused(text):
    with pytest.raises(ConfigError):
        parse_resolution(text)


def test_a_resolution_with_x_is_mended():
    problem = next(pictures.resolution_is_readable(make_config(LORA, {"resolution": "512x768"})))
    assert '"512,768"' in problem.fix


def test_folders_need_a_resolution():
    assert found(pictures.resolution_is_readable) == [("resolution", "error")]
    assert found(pictures.resolution_is_readable, dataset_config="d.toml") == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"bucket_reso_steps": 32}, "bucket_reso_steps"),
        ({"bucket_reso_steps": -1}, "bucket_reso_steps"),
        ({"min_bucket_reso": 1024, "max_bucket_reso": 512}, "min_bucket_reso"),
        ({"min_bucket_reso": 640}, "min_bucket_reso"),
        ({"max_bucket_reso": 448}, "max_bucket_reso"),
    ],
)
def test_bucket_limits_hold(values, field):
    request = {"resolution": "512,512", **values}
    assert found(pictures.bucket_limits_hold, enable_bucket=True, **request) == [(field, "error")]
    assert found(pictures.bucket_limits_hold, **request) == []


def test_bucket_limits_are_rounded_outwards_to_whole_steps():
    assert found(pictures.bucket_limits_hold, enable_bucket=True, resolution="260", min_bucket_reso=300, max_bucket_reso=300) == []


def test_bucket_limits_are_unused_without_upscaling():
    assert found(pictures.bucket_limits_hold, enable_bucket=True, bucket_no_upscale=True, resolution="512", max_bucket_reso=448) == []


@pytest.mark.parametrize("cache", ["cache_latents", "cache_latents_to_disk"])
@pytest.mark.parametrize("change", ["color_aug", "random_crop"])
def test_cached_latents_exclude_changes(cache, change):
    assert found(pictures.cached_latents_do_not_change, **{cache: True, change: True}) == [(change, "error")]


def test_cached_latents_allow_mirroring():
    assert found(pictures.cached_latents_do_not_change, cache_latents=True, flip_aug=True) == []


@pytest.mark.parametrize("files", ["cache_latents_to_disk", "cache_text_encoder_outputs_to_disk"])
def test_only_files_are_checked(files):
    def told(**values):
        return [problem.field for problem in caching.only_files_are_checked(make_config(command("sdxl_train_network"), values))]

    assert told(skip_cache_check=True, cache_latents=True) == ["skip_cache_check"]
    assert told(skip_cache_check=True, **{files: True}) == []


def test_kept_tokens_need_shuffling():
    assert found(pictures.kept_tokens_need_shuffling, keep_tokens=1) == [("keep_tokens", "warning")]
    assert found(pictures.kept_tokens_need_shuffling, keep_tokens=1, shuffle_caption=True) == []


def test_a_caption_ending_has_a_dot():
    assert found(pictures.caption_extension_is_an_ending, caption_extension="txt") == [("caption_extension", "warning")]
    assert found(pictures.caption_extension_is_an_ending, caption_extension="") == []


def test_the_old_spelling_is_named():
    assert found(pictures.caption_extension_is_an_ending, caption_extention=".txt") == [("caption_extention", "warning")]
