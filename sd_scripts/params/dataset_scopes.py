"""Which keys a dataset config file has, and in which of its tables each may stand. Their types are those of the options of the same meaning."""

from __future__ import annotations

from typing import Literal

Scope = Literal["general", "dataset", "subset"]

OPTION_OF = {"batch_size": "train_batch_size", "num_repeats": "dataset_repeats"}
"""Keys whose option has another name on the command line; all others are called the same."""

DATASET_KEYS = (
    "batch_size",
    "resolution",
    "enable_bucket",
    "min_bucket_reso",
    "max_bucket_reso",
    "bucket_reso_steps",
    "bucket_no_upscale",
    "network_multiplier",
    "validation_seed",
    "validation_split",
)
SHARED_KEYS = (
    "num_repeats", "shuffle_caption", "color_aug", "flip_aug", "random_crop", "enable_wildcard", "keep_tokens", "keep_tokens_separator",
    "secondary_separator", "caption_separator", "caption_prefix", "caption_suffix", "face_crop_aug_range", "token_warmup_min", "token_warmup_step",
    "custom_attributes", "caption_dropout_rate", "caption_tag_dropout_rate", "caption_dropout_every_n_epochs", "caption_extension", "cache_info",
    "class_tokens", "resize_interpolation",
)  # fmt: skip
SUBSET_KEYS = ("image_dir", "is_reg", "alpha_mask", "metadata_file", "conditioning_data_dir")
KEYS_OF: dict[Scope, tuple[str, ...]] = {
    "general": DATASET_KEYS + SHARED_KEYS,
    "dataset": (*DATASET_KEYS, *SHARED_KEYS, "subsets"),
    "subset": SHARED_KEYS + SUBSET_KEYS,
}
