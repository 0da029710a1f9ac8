"""Values that stand for another one: blank, 0 or an old spelling, resolved once so that every reader of a section sees what counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_CAPTION_EXTENSION = ".caption"
DEFAULT_MULTIRES_DISCOUNT = 0.3


def resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with stand-ins replaced: a blank caption extension and its old spelling, caching on disk alone, zeros that mean something else."""
    values = dict(given)
    extension = values.get("caption_extension", values.get("caption_extention"))
    if extension is not None:
        values["caption_extension"] = extension or DEFAULT_CAPTION_EXTENSION
    if values.get("cache_latents_to_disk"):
        values["cache_latents"] = True
    if values.get("cache_text_encoder_outputs_to_disk"):
        values["cache_text_encoder_outputs"] = True
    if values.get("vae_batch_size") == 0:
        values["vae_batch_size"] = values.get("train_batch_size", 1)
    if values.get("multires_noise_discount") == 0:
        values["multires_noise_discount"] = DEFAULT_MULTIRES_DISCOUNT
    for name in OFF_AT_ZERO:
        if values.get(name) == 0:
            del values[name]
    return values


OFF_AT_ZERO = (
    "min_snr_gamma",
    "scale_weight_norms",
    "noise_offset",
    "adaptive_noise_scale",
    "multires_noise_iterations",
    "ip_noise_gamma",
    "v_pred_like_loss",
    "network_dropout",
    "rank_dropout",
    "module_dropout",
    "stop_text_encoder_training",
    "save_every_n_epochs",
    "save_every_n_steps",
    "save_n_epoch_ratio",
    "save_last_n_epochs",
    "save_last_n_steps",
    "save_last_n_epochs_state",
    "save_last_n_steps_state",
    "sample_every_n_steps",
    "sample_every_n_epochs",
    "max_train_epochs",
)
"""Options for which 0 means what "not set" means. A seed of 0 is a seed."""
