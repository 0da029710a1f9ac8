"""Latents and encoded captions made before the first step, each process its share; what made them then leaves the accelerator."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor
from tqdm import tqdm

from sd_scripts.errors import Stopped
from sd_scripts.library.cache import LatentsCache
from sd_scripts.library.cache_files import weights_identity
from sd_scripts.library.data.dataset import Listing
from sd_scripts.library.families.base import Family
from sd_scripts.library.families.clip import CHUNK_WORDS
from sd_scripts.library.text_cache import TextCache
from sd_scripts.library.training.control import Control
from sd_scripts.library.training.report import Report
from sd_scripts.library.training.runtime import Runtime
from sd_scripts.params.cache import Cache
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.text import ClipText
from sd_scripts.params.text_cache import TextCache as TextCacheOptions
from sd_scripts.params.training import Training

CAPTIONS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Filling:
    """What filling a cache needs besides the model."""

    config: Config
    listing: Listing
    runtime: Runtime
    report: Report
    control: Control

    @property
    def share(self) -> tuple[int, int]:
        """Rank and processes."""
        return self.runtime.rank, self.runtime.processes

    def progress(self, what: str) -> Callable[[int, int], None]:
        """Tells how far it is, and stops on request. `what` is for the terminal."""
        bar = tqdm(desc=f"caching {what}", disable=not self.runtime.is_main, mininterval=1.0)

        def on_progress(done: int, total: int) -> None:
            self.report.phase("caching", done, total)
            bar.total = total
            bar.update(done - bar.n)
            if done == total:
                bar.close()
            alone = self.runtime.processes == 1  # others would wait for this process's share; together they stop after the first step
            for request in self.control.pending() & {"stop", "pause"} if alone else ():
                self.control.served(request)
                raise Stopped("stopped on request before the first step")

        return on_progress

    def tell_adopted(self, count: int, what: str, made_by: str) -> None:
        """Warn once of another program's files that are used."""
        if count:
            text = f"{count} cached {what} are another program's. They fit in size and age, but may be another {made_by}'s."
            self.report.warn("cache", text, "Delete them if so.")


def cached_latents(filling: Filling, family: Family) -> LatentsCache | None:
    """Latents of all pictures, found or made now; the VAE leaves the accelerator afterwards. None if they are not to be cached."""
    config, runtime = filling.config, filling.runtime
    options = config[Cache]
    if not (options.cache_latents or options.cache_latents_to_disk):
        return None
    facts = FAMILIES[config.command.family]
    cache = LatentsCache(
        filling.listing,
        suffix=facts.cache_suffix,
        stride=facts.latent_stride,
        channels=facts.latent_channels,
        vae_hash=weights_identity(family.vae),
        to_disk=options.cache_latents_to_disk,
        skip_check=options.skip_cache_check,
    )
    filling.report.phase("caching", 0, len(filling.listing.items))
    batch_size = options.vae_batch_size or config[Training].train_batch_size
    cache.fill(family.image_moments, batch_size=batch_size, share=filling.share, on_progress=filling.progress("latents"))
    _share_out(cache, runtime)
    filling.tell_adopted(len(cache.adopted), "latents", "VAE")
    if runtime.device.type != "cpu":
        family.vae.to("cpu")
    return cache


def cached_texts(filling: Filling, family: Family) -> TextCache | None:
    """All captions encoded, found or made now; the text encoders leave the accelerator afterwards. None if they are not to be cached."""
    config, runtime = filling.config, filling.runtime
    layout = FAMILIES[config.command.family].text_cache
    if layout is None or TextCacheOptions not in config or not config[TextCacheOptions].cache_text_encoder_outputs:
        return None
    options, text = config[TextCacheOptions], config[ClipText]
    chunks = (text.max_token_length or CHUNK_WORDS) // CHUNK_WORDS
    cache = TextCache(
        filling.listing,
        layout,
        widths=tuple(cast(Any, encoder).config.hidden_size for encoder in family.text_encoders),
        tokens=CHUNK_WORDS * chunks + 2,
        identity=weights_identity(*family.text_encoders) + json.dumps(asdict(text)),
        to_disk=options.cache_text_encoder_outputs_to_disk,
        variants=options.text_encoder_cache_variants,
        skip_check=config[Cache].skip_cache_check,
    )
    filling.report.phase("caching", 0, len(filling.listing.items))
    cache.fill(_encoder(family, runtime), batch_size=CAPTIONS_AT_ONCE, share=filling.share, on_progress=filling.progress("captions"))
    _share_out(cache, runtime)
    filling.tell_adopted(len(cache.adopted), "captions", "model")
    if runtime.device.type != "cpu":
        for encoder in family.text_encoders:
            encoder.to("cpu")
    return cache


def _share_out(cache: LatentsCache | TextCache, runtime: Runtime) -> None:
    """Every process gets what each found or made, and the counts of all."""
    parts = runtime.gathered((cache.kept, cache.made, cache.adopted))
    cache.update(kept for kept, _, _ in parts)
    cache.made = sum(made for _, made, _ in parts)
    cache.adopted = [path for _, _, adopted in parts for path in adopted]


def _encoder(family: Family, runtime: Runtime) -> Callable[[Sequence[str]], tuple[Tensor, Tensor]]:
    def encode(captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), runtime.autocast():
            made = family.encode_text(captions)
        if made.pooled is None:
            raise TypeError(f"{family.name} has files of encoded captions, but no pooled embedding")
        return made.prompt_embeds, made.pooled

    return encode
