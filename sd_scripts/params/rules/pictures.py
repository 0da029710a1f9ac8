"""Rules on pictures, buckets, captions and caches."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import ConfigError
from sd_scripts.params.cache import Cache
from sd_scripts.params.captions import CaptionDropout, Captions
from sd_scripts.params.config import Config
from sd_scripts.params.dataset import Folders
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.images import Augmentation, Images
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.params.resolution import parse_resolution
from sd_scripts.params.rules.rule import Rule, as_problem, were_given


def data_is_named(config: Config) -> Iterator[Problem]:
    """Pictures come from folders or from a dataset file, and the file counts first."""
    folders = config[Folders]
    if not folders.train_data_dir and not folders.dataset_config:
        yield error("train_data_dir", "No pictures are given.", "Name the folder of your pictures, or a dataset file with dataset_config.")
    if folders.dataset_config:
        for name in were_given(config, "train_data_dir", "reg_data_dir", "in_json", "class_tokens"):
            yield warning(name, "It has no effect, because a dataset file is given.", "Remove one of the two.")


def resolution_is_readable(config: Config) -> Iterator[Problem]:
    """Folders need a training size."""
    text = config[Images].resolution
    if text is None:
        if not config[Folders].dataset_config:
            yield error("resolution", "No training size is given.", f"Write {FAMILIES[config.command.family].usual_sizes}.")
        return
    try:
        parse_resolution(text)
    except ConfigError as refused:
        yield as_problem(refused)


def bucket_limits_hold(config: Config) -> Iterator[Problem]:
    """Bucket sides go in whole steps from the smallest to the largest, and the training size lies between."""
    images = config[Images]
    if not images.enable_bucket:
        return
    family = FAMILIES[config.command.family]
    if images.bucket_reso_steps % family.bucket_divisor:
        fix = f"Write {family.bucket_divisor}, or a multiple of it."
        yield error("bucket_reso_steps", f"{images.bucket_reso_steps} is not a multiple of {family.bucket_divisor}, which {family.title} needs.", fix)
    if images.min_bucket_reso > images.max_bucket_reso:
        yield error("min_bucket_reso", f"{images.min_bucket_reso} is above max_bucket_reso, {images.max_bucket_reso}.", "Exchange them.")
    elif images.resolution and not images.bucket_no_upscale:
        yield from _around_resolution(images)


def _around_resolution(images: Images) -> Iterator[Problem]:
    try:
        size = parse_resolution(images.resolution or "")
    except ConfigError:
        return
    step = max(1, images.bucket_reso_steps)  # kohya rounds the limits outwards to whole steps
    if images.min_bucket_reso // step * step > min(size):
        fix = f"Lower it to {min(size)} or less."
        yield error("min_bucket_reso", f"{images.min_bucket_reso} is above the shorter side of the training size, {min(size)}.", fix)
    if -(-images.max_bucket_reso // step) * step < max(size):
        fix = f"Raise it to {max(size)} or more."
        yield error("max_bucket_reso", f"{images.max_bucket_reso} is below the longer side of the training size, {max(size)}.", fix)


def cached_latents_do_not_change(config: Config) -> Iterator[Problem]:
    """A cached picture cannot be changed any more, except mirrored, which is cached too."""
    cache = config[Cache]
    if not (cache.cache_latents or cache.cache_latents_to_disk):
        return
    if config[Augmentation].color_aug:
        yield error("color_aug", "Cached latents cannot change colour.", "Turn it or the caching of latents off.", {"color_aug": False})
    if config[Images].random_crop:
        yield error("random_crop", "Cached latents cannot be cropped anew.", "Turn it or the caching of latents off.", {"random_crop": False})


def kept_tokens_need_shuffling(config: Config) -> Iterator[Problem]:
    """Tags stay in place anyway unless something moves or drops them."""
    captions = config[Captions]
    drops = CaptionDropout in config and config[CaptionDropout].caption_tag_dropout_rate
    moves = captions.shuffle_caption or drops or captions.token_warmup_step
    if moves or config[Folders].dataset_config:
        return
    for name in ("keep_tokens", "keep_tokens_separator"):
        if getattr(captions, name):
            yield warning(
                name, "It has no effect: tags are neither shuffled nor dropped.", "Set shuffle_caption, or leave it out.", {"shuffle_caption": True}
            )


def caption_extension_is_an_ending(config: Config) -> Iterator[Problem]:
    """An ending begins with a dot, and has one spelling."""
    ending = config[Captions].caption_extension
    if not ending.startswith("."):
        yield warning(
            "caption_extension",
            f"{ending!r} has no dot: the caption of cat.png would be cat{ending}.",
            f"Write .{ending}",
            {"caption_extension": f".{ending}"},
        )
    if "caption_extention" in config.given:
        message = "It is an old spelling." if "caption_extension" not in config.given else "It has no effect: caption_extension is given too."
        yield warning("caption_extention", message, "Write caption_extension.")


RULES: tuple[Rule, ...] = (
    data_is_named,
    resolution_is_readable,
    bucket_limits_hold,
    cached_latents_do_not_change,
    kept_tokens_need_shuffling,
    caption_extension_is_an_ending,
)
