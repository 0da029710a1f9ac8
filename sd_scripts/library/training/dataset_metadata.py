"""What a weight file's header says about the pictures: counts, folders and metadata files (last part of their path), tags and buckets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from sd_scripts.params.config import Config
from sd_scripts.survey.buckets import aspect_error, choose
from sd_scripts.survey.captions import counted_text, tag_frequency
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.items import Item, Scan
from sd_scripts.survey.plan import Plan

Tags = dict[str, dict[str, int]]


def images_of(blueprint: Blueprint, scan: Scan) -> tuple[int, int]:
    """Pictures with their repeats, training and regularisation; the latter before they are balanced."""
    counts = _images(scan)
    return _total(blueprint, counts, is_reg=False), _total(blueprint, counts, is_reg=True)


def dataset_metadata(config: Config, plan: Plan, blueprint: Blueprint, scan: Scan) -> dict[str, object]:
    """The entries about the data: a list of datasets where they come from a dataset config, flat entries where they come from folders."""
    if blueprint.source == "dataset_config":
        return _listed(blueprint, scan)
    return _flat(config, plan, blueprint, scan)


def tags_by_folder(blueprint: Blueprint, items: Iterable[Item]) -> Tags:
    """How many pictures have each tag, by folder; repeats do not count."""
    texts: dict[str, list[str]] = {}
    for item in items:
        subset = blueprint.datasets[item.dataset].subsets[item.subset]
        texts.setdefault(subset.name, []).append(counted_text(item.caption, subset.captions))
    return {folder: tag_frequency(captions) for folder, captions in texts.items()}


def bucket_info(dataset: Dataset, items: Iterable[Item]) -> dict[str, object] | None:
    """Used buckets with their pictures times repeats, and the mean distance of a picture's aspect ratio from its bucket's; None without."""
    if not dataset.enable_bucket:
        return None
    counts: Counter[tuple[int, int]] = Counter()
    errors = []
    for item in items:
        if item.repeats:
            bucket = choose(item.size, dataset).bucket
            counts[bucket] += item.repeats
            errors.append(abs(aspect_error(bucket, item.size)))
    buckets = {str(index): {"resolution": list(bucket), "count": count} for index, (bucket, count) in enumerate(sorted(counts.items()))}
    return {"buckets": buckets, "mean_img_ar_error": sum(errors) / len(errors) if errors else 0.0}


def _listed(blueprint: Blueprint, scan: Scan) -> dict[str, object]:
    counts, datasets, tags, folders = _images(scan), [], Counter[tuple[str, str]](), {}
    for index, dataset in enumerate(blueprint.datasets):
        members = [item for item in scan.items if item.dataset == index]
        frequency = tags_by_folder(blueprint, members)
        tags.update({(folder, tag): count for folder, by_tag in frequency.items() for tag, count in by_tag.items()})
        datasets.append(_dataset(dataset, index, counts=counts, frequency=frequency, members=members))
        for number, subset in enumerate(dataset.subsets):
            if not subset.is_reg:
                folders[_free_name(subset.name, folders)] = _folder(subset, counts[index, number])
    merged: Tags = {}
    for (folder, tag), count in tags.items():
        merged.setdefault(folder, {})[tag] = count
    return {"ss_datasets": json.dumps(datasets), "ss_tag_frequency": json.dumps(merged), "ss_dataset_dirs": json.dumps(folders)}


def _dataset(dataset: Dataset, index: int, *, counts: Counter[tuple[int, int]], frequency: Tags, members: list[Item]) -> dict[str, object]:
    numbers = list(enumerate(dataset.subsets))
    return {
        "is_dreambooth": all(subset.metadata_file is None for subset in dataset.subsets),
        "batch_size_per_device": dataset.batch_size,
        "num_train_images": sum(subset.num_repeats * counts[index, number] for number, subset in numbers if not subset.is_reg),
        "num_reg_images": sum(subset.num_repeats * counts[index, number] for number, subset in numbers if subset.is_reg),
        "resolution": list(dataset.resolution),
        "enable_bucket": dataset.enable_bucket,
        **_limits(dataset),
        "tag_frequency": frequency,
        "bucket_info": bucket_info(dataset, members),
        "resize_interpolation": dataset.resize_interpolation,
        "subsets": [_subset(subset, counts[index, number]) for number, subset in numbers],
    }


def _subset(subset: Subset, images: int) -> dict[str, object]:
    rules = subset.captions
    return {
        "img_count": images,
        "num_repeats": subset.num_repeats,
        "color_aug": subset.color_aug,
        "flip_aug": subset.flip_aug,
        "random_crop": subset.random_crop,
        "shuffle_caption": rules.shuffle_caption,
        "keep_tokens": rules.keep_tokens,
        "keep_tokens_separator": rules.keep_tokens_separator,
        "secondary_separator": rules.secondary_separator,
        "enable_wildcard": rules.enable_wildcard,
        "caption_prefix": rules.caption_prefix,
        "caption_suffix": rules.caption_suffix,
        "resize_interpolation": subset.resize_interpolation,
        "image_dir": subset.image_dir.name,
        **_source(subset),
    }


def _source(subset: Subset) -> dict[str, object]:
    if subset.metadata_file is not None:
        return {"metadata_file": subset.metadata_file.name}
    return {"class_tokens": subset.class_tokens, "is_reg": subset.is_reg}


def _flat(config: Config, plan: Plan, blueprint: Blueprint, scan: Scan) -> dict[str, object]:
    dataset, counts = blueprint.datasets[0], _images(scan)
    folders: dict[bool, dict[str, object]] = {False: {}, True: {}}
    for number, subset in enumerate(dataset.subsets):
        named = folders[subset.is_reg]
        named[_free_name(subset.name, named)] = _folder(subset, counts[0, number])
    names = ("color_aug", "flip_aug", "random_crop", "shuffle_caption", "enable_bucket", "bucket_no_upscale")
    return {
        "ss_batch_size_per_device": dataset.batch_size,
        "ss_total_batch_size": dataset.batch_size * plan.processes * plan.accumulation,
        "ss_resolution": dataset.resolution,
        **{f"ss_{name}": config.value(name) for name in names},
        **{f"ss_{name}": limit for name, limit in _limits(dataset).items()},
        "ss_keep_tokens": config.value("keep_tokens"),
        "ss_dataset_dirs": json.dumps(folders[False]),
        "ss_reg_dataset_dirs": json.dumps(folders[True]),
        "ss_tag_frequency": json.dumps(tags_by_folder(blueprint, scan.items)),
        "ss_bucket_info": json.dumps(bucket_info(dataset, scan.items)),
    }


def _limits(dataset: Dataset) -> dict[str, int | None]:
    used = dataset.enable_bucket
    return {"min_bucket_reso": dataset.min_bucket_reso if used else None, "max_bucket_reso": dataset.max_bucket_reso if used else None}


def _folder(subset: Subset, images: int) -> dict[str, int]:
    return {"n_repeats": subset.num_repeats, "img_count": images}


def _free_name(name: str, taken: Mapping[str, object]) -> str:
    """`name`, or with a number behind it where folders of the same name lie in different places."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _images(scan: Scan) -> Counter[tuple[int, int]]:
    """Usable pictures by (dataset, subset)."""
    return Counter((item.dataset, item.subset) for item in scan.items)


def _total(blueprint: Blueprint, counts: Counter[tuple[int, int]], *, is_reg: bool) -> int:
    numbered = [(index, number, subset) for index, dataset in enumerate(blueprint.datasets) for number, subset in enumerate(dataset.subsets)]
    return sum(subset.num_repeats * counts[index, number] for index, number, subset in numbered if subset.is_reg == is_reg)
