"""What a run trains on, as data: datasets, their subsets, and the rules for captions. Names of fields are kohya's dataset-config keys.

`blueprint` makes these from a request; `items.scan` looks at the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sd_scripts.params.problem import Problem

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True, slots=True)
class CaptionRules:
    """How the text of a caption file becomes the text of a step; see `captions.process_caption` for the order in which the rules apply."""

    shuffle_caption: bool = False
    caption_separator: str = ","
    keep_tokens: int = 0
    keep_tokens_separator: str = ""
    secondary_separator: str | None = None
    enable_wildcard: bool = False
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    caption_dropout_rate: float = 0.0
    caption_dropout_every_n_epochs: int = 0
    caption_tag_dropout_rate: float = 0.0
    token_warmup_min: int = 1
    token_warmup_step: float = 0.0


@dataclass(frozen=True, slots=True)
class Subset:
    """One folder of pictures with its own options. `image_dir` exists. `class_tokens` is the caption of a picture without one.

    `face_crop_aug_range` cuts pictures whose names tell of a face around it, see `faces`. With `diff_output_preservation` the pictures teach what
    the model predicted before training. `conditioning_data_dir` holds a mask for each picture. With a `metadata_file` its pictures and captions are
    those of that file, and `image_dir` is where the paths in it begin.
    """

    image_dir: Path
    metadata_file: Path | None = None
    num_repeats: int = 1
    class_tokens: str | None = None
    is_reg: bool = False
    caption_extension: str = ".caption"
    flip_aug: bool = False
    color_aug: bool = False
    random_crop: bool = False
    face_crop_aug_range: tuple[float, float] | None = None
    diff_output_preservation: bool = False
    resize_interpolation: str | None = None
    cache_info: bool = False
    alpha_mask: bool = False
    conditioning_data_dir: Path | None = None
    captions: CaptionRules = CaptionRules()

    @property
    def name(self) -> str:
        """What weight files and messages call it: the metadata file's or the folder's own name."""
        return (self.metadata_file or self.image_dir).name


@dataclass(frozen=True, slots=True)
class Dataset:
    """Subsets that share a batch size and a resolution. A batch never mixes datasets, nor buckets.

    `resolution` is (width, height). `min_bucket_reso` and `max_bucket_reso` are already multiples of `bucket_reso_steps`; like it and
    `bucket_no_upscale` they mean nothing unless `enable_bucket`. `network_multiplier` is the adapter's strength while these pictures are trained on.
    """

    resolution: Size
    batch_size: int = 1
    enable_bucket: bool = False
    min_bucket_reso: int = 256
    max_bucket_reso: int = 1024
    bucket_reso_steps: int = 64
    bucket_no_upscale: bool = False
    resize_interpolation: str | None = None
    validation_split: float = 0.0
    validation_seed: int | None = None
    network_multiplier: float = 1.0
    subsets: tuple[Subset, ...] = ()


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All datasets of a run. `problems` holds what was odd but no reason to refuse; `source` says where they were asked for."""

    datasets: tuple[Dataset, ...]
    source: Literal["folders", "dataset_config"] = "folders"
    problems: tuple[Problem, ...] = field(default=(), compare=False)

    def field_of(self, subset: Subset) -> str:
        """The option that names `subset`, for a message about it."""
        if self.source == "dataset_config":
            return "dataset_config"
        if subset.metadata_file is not None:
            return "in_json"
        return "reg_data_dir" if subset.is_reg else "train_data_dir"
