"""Which bucket a picture belongs to, and how it is scaled and cut to fit: kohya's rules, so that sizes agree with every earlier training.

Sizes are (width, height) in pixels throughout. Nothing here opens a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from sd_scripts.errors import ConfigError
from sd_scripts.survey.datasets import Dataset, Size


@dataclass(frozen=True, slots=True)
class BucketChoice:
    """`bucket`: size of the picture that is trained on. `resized`: size that it is scaled to first, never smaller than the bucket.

    `crop` is (left, top) of the centred cut, in pixels of the resized picture.
    """

    bucket: Size
    resized: Size
    crop: tuple[int, int]


def adjust_limits(resolution: Size, min_size: int, max_size: int, step: int) -> tuple[int, int]:
    """`min_size` rounded down and `max_size` rounded up to multiples of `step`: the limits of a bucket's sides.

    Raises:
        ConfigError: the resolution does not lie between them.
    """
    low, high = max(step, min_size // step * step), -(-max_size // step) * step
    sides = f"{resolution[0]},{resolution[1]}"
    if low > min(resolution):
        raise ConfigError(
            "min_bucket_reso", f"{min_size} is above the smaller side of the resolution {sides}.", fix=f"Use {min(resolution)} or less."
        )
    if high < max(resolution):
        raise ConfigError("max_bucket_reso", f"{max_size} is below the larger side of the resolution {sides}.", fix=f"Use {max(resolution)} or more.")
    return low, high


@lru_cache(maxsize=64)
def bucket_resolutions(resolution: Size, min_size: int, max_size: int, step: int) -> tuple[Size, ...]:
    """All buckets for a resolution, sorted: sides are multiples of `step` between the limits, and no area exceeds the resolution's."""
    area = resolution[0] * resolution[1]
    square = math.isqrt(area) // step * step
    buckets = {(square, square)}
    for width in range(min_size, max_size + 1, step):
        height = min(max_size, area // width // step * step)
        if height >= min_size:
            buckets |= {(width, height), (height, width)}
    return tuple(sorted(buckets))


def choose(size: Size, dataset: Dataset, *, random_crop: bool = False) -> BucketChoice:
    """The bucket of a picture of `size` in `dataset`, and how the picture gets there.

    Without buckets every picture is scaled to cover the resolution and cut; with `random_crop` a larger one is cut without scaling.
    """
    if dataset.enable_bucket:
        if dataset.bucket_no_upscale:
            return _without_upscaling(size, dataset.resolution, dataset.bucket_reso_steps)
        return _nearest(size, dataset.resolution, (dataset.min_bucket_reso, dataset.max_bucket_reso), dataset.bucket_reso_steps)
    bucket = dataset.resolution
    fits_inside = size[0] >= bucket[0] and size[1] >= bucket[1]
    return _centred(bucket, size if random_crop and fits_inside else _cover(size, bucket))


def aspect_error(bucket: Size, size: Size) -> float:
    """Aspect ratio (width / height) of the bucket minus that of a picture of `size`."""
    return bucket[0] / bucket[1] - size[0] / size[1]


def size_crop(bucket: Size, size: Size) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the picture's whole view inside the bucket, in bucket pixels: what cache files call `crop_ltrb`."""
    width, height = float(bucket[0]), float(bucket[1])
    aspect = size[0] / size[1]
    if bucket[0] / bucket[1] > aspect:
        width = height * aspect
    else:
        height = width / aspect
    left, top = (bucket[0] - width) // 2, (bucket[1] - height) // 2
    return left, top, left + width, top + height


@lru_cache(maxsize=4096)
def _nearest(size: Size, resolution: Size, limits: tuple[int, int], step: int) -> BucketChoice:
    buckets = bucket_resolutions(resolution, *limits, step)
    aspect = size[0] / size[1]
    bucket = size if size in buckets else min(buckets, key=lambda wh: abs(wh[0] / wh[1] - aspect))
    return _centred(bucket, _cover(size, bucket))


@lru_cache(maxsize=4096)
def _without_upscaling(size: Size, resolution: Size, step: int) -> BucketChoice:
    """Only large pictures are scaled, down to the resolution's area; the bucket is what remains, cut to multiples of `step`."""
    resized = size
    area = resolution[0] * resolution[1]
    if size[0] * size[1] > area:
        resized = _shrunk(size[0] / size[1], area, step)
    bucket = (_floored(resized[0], step), _floored(resized[1], step))
    if resized[0] < bucket[0] or resized[1] < bucket[1]:
        resized = _cover(resized, bucket)  # a side under one step has no bucket to shrink into, so this one picture is enlarged
    return _centred(bucket, resized)


def _shrunk(aspect: float, area: int, step: int) -> Size:
    """Size of about `area` with one side a multiple of `step`: of the two ways, the one that keeps the aspect ratio better."""
    width = math.sqrt(area * aspect)
    height = area / width
    by_width, by_height = _floored(int(width + 0.5), step), _floored(int(height + 0.5), step)
    from_width = (by_width, max(1, int(by_width / aspect + 0.5)))
    from_height = (max(1, int(by_height * aspect + 0.5)), by_height)
    errors = [abs(_floored(w, step) / _floored(h, step) - aspect) for w, h in (from_width, from_height)]
    return from_width if errors[0] < errors[1] else from_height


def _floored(side: int, step: int) -> int:
    return max(step, side // step * step)


def _cover(size: Size, bucket: Size) -> Size:
    """The smallest size of the same shape that covers `bucket`."""
    if size[0] / size[1] > bucket[0] / bucket[1]:
        scale = bucket[1] / size[1]
    else:
        scale = bucket[0] / size[0]
    return max(bucket[0], int(size[0] * scale + 0.5)), max(bucket[1], int(size[1] * scale + 0.5))


def _centred(bucket: Size, resized: Size) -> BucketChoice:
    return BucketChoice(bucket, resized, ((resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2))
