"""Options: picture size, buckets and augmentation."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Picture size and buckets")
class Images:
    """Target size, buckets and cropping."""

    resolution: str | None = param(
        None,
        'Training size as "width,height" in pixels, or one number for a square: 512 for SD 1.x, 768 for SD 2.x. Time and memory grow with the area.',
        advanced=False,
        suggestions=("512,512", "640,640", "768,768"),
    )
    enable_bucket: bool = param(
        False,
        "Sort pictures of different shapes into groups of equal size, so that little is cut off. Without it all are cropped to the training size.",
        label="Use buckets",
        advanced=False,
    )
    min_bucket_reso: int = param(
        256,
        "Shortest side of a bucket in pixels. Unused with no upscaling.",
        label="Smallest bucket side",
        min=64,
        step=64,
        when={"enable_bucket": True},
    )
    max_bucket_reso: int = param(
        1024,
        "Longest side of a bucket in pixels. Unused with no upscaling.",
        label="Largest bucket side",
        min=64,
        step=64,
        when={"enable_bucket": True},
    )
    bucket_reso_steps: int = param(
        64,
        "Bucket sides are multiples of this many pixels, itself a multiple of 64. Smaller cuts less off, but gives more buckets and smaller batches.",
        label="Bucket step",
        min=1,
        step=64,
        when={"enable_bucket": True},
    )
    bucket_no_upscale: bool = param(
        False,
        "Never enlarge a picture: small ones keep their size and get buckets of their own, large ones are shrunk to the training area.",
        label="No upscaling",
        when={"enable_bucket": True},
    )
    resize_interpolation: Literal["lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area"] | None = param(
        None, "How pictures are resized. Empty: area when shrinking, Lanczos when enlarging.", label="Resizing method"
    )
    random_crop: bool = param(
        False, "Cut a different part of a picture each time instead of the centre. Not possible with cached latents.", when={"cache_latents": False}
    )
    face_crop_aug_range: str | None = param(
        None,
        "Cut pictures around a face so that the cut is this many times as large, drawn anew each time: 2.0,4.0. Names tell where the face is: "
        "name_x_y_width_height.png, its centre and size in pixels. Not with buckets or cached latents.",
        label="Cut around faces",
        when={"enable_bucket": False},
    )


@section("Augmentation")
class Augmentation:
    """Changes made to pictures while training."""

    flip_aug: bool = param(
        False,
        "Show each picture mirrored half of the time. Good for few pictures, wrong for faces, lettering and anything with a left and a right.",
        label="Mirror",
    )
    color_aug: bool = param(
        False, "Change hue and brightness a little each time. Not possible with cached latents.", label="Vary colours", when={"cache_latents": False}
    )
