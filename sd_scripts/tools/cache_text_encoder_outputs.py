"""Encode every caption of a training beforehand: `python -m sd_scripts.tools.cache_text_encoder_outputs --config_file training.toml`.

It takes the training's own options (`--script NAME` says which training, if it is not a LoRA), also through accelerate's launcher on several devices.
What is there already and fits is left as it is.
"""

from __future__ import annotations

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.base import Family
from sd_scripts.library.training.caches import Filling, cached_texts
from sd_scripts.tools.caching import run


def fill(filling: Filling, family: Family) -> str:
    """Make the files that are missing, and say how many are there."""
    cache = cached_texts(filling, family)
    if cache is None:
        raise ConfigError("cache_text_encoder_outputs_to_disk", f"{family.name} models have no caption files.", fix="They are encoded as they come.")
    return f"{len(cache.kept)} captions: {cache.made} encoded, {len(cache.kept) - cache.made} there already"


if __name__ == "__main__":
    raise SystemExit(run(fill, "cache_text_encoder_outputs_to_disk"))
