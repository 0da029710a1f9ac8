"""Encode every picture of a training beforehand: `python -m sd_scripts.tools.cache_latents --config_file training.toml`.

It takes the training's own options (`--script NAME` says which training, if it is not a LoRA), also through accelerate's launcher on several devices.
What is there already and fits is left as it is, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from sd_scripts.errors import DataError
from sd_scripts.library.families.base import Family
from sd_scripts.library.training.caches import Filling, cached_latents
from sd_scripts.tools.caching import run


def fill(filling: Filling, family: Family) -> str:
    """Make the files that are missing, and say how many are there."""
    cache = cached_latents(filling, family)
    if cache is None:
        raise DataError("Nothing is to be cached.", fix="Give the options of a training.")
    return f"{len(cache.kept)} pictures: {cache.made} encoded, {len(cache.kept) - cache.made} there already"


if __name__ == "__main__":
    raise SystemExit(run(fill, "cache_latents_to_disk"))
