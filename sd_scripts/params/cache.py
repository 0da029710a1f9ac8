"""Options: what is computed once and kept, and how pictures are read."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Caching")
class Cache:
    """What is computed once and kept."""

    cache_latents: bool = param(
        False,
        "Encode every picture once and keep the result in memory. Much faster, less video memory; rules out colour changes and random crops.",
        label="Cache latents",
        advanced=False,
    )
    cache_latents_to_disk: bool = param(
        False,
        "Also keep the encoded pictures in files beside them, so that the next run starts at once. Takes about 0.1 MB a picture at 512.",
        label="Cache latents on disk",
    )
    vae_batch_size: int = param(
        1,
        "How many pictures are encoded at once. 0: as many as the batch size. More is faster and takes more video memory.",
        label="VAE batch size",
        min=0,
        step=1,
    )
    skip_cache_check: bool = param(
        False,
        "Trust cached files of the right size, whatever they were made from. Saves seconds with many pictures; stale files then go unnoticed.",
    )


@section("Data loading")
class Loader:
    """Processes that read pictures."""

    max_data_loader_n_workers: int = param(
        8,
        "Processes that read pictures ahead, at most one per CPU thread. 0: none, which is best with cached latents. Each takes memory.",
        label="Loader processes",
        min=0,
        step=1,
    )
    persistent_data_loader_workers: bool = param(
        False,
        "Keep the loader processes between epochs.",
        label="Keep loader processes",
        settled="They always live for the whole run.",
    )
