"""Captions as ids of CLIP text encoders, and their hidden states. Tokenizer and chunks live in families/clip.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.clip import CHUNK_WORDS, fitted_chunks, join_chunks, word_ids
from sd_scripts.library.families.prompt_weights import weighted_words
from sd_scripts.library.transfer import to_device
from sd_scripts.params.text import ClipText

MAX_CHUNKS = 3


Defined = Mapping[str, Sequence[int]]
"""Words that are not the tokenizer's own, in lower case, with their ids."""


def caption_words(captions: Sequence[str], config: ClipText, defined: Defined) -> tuple[list[list[int]], list[list[float]]]:
    """Ids of each caption's words, and with `weighted_captions` their weights; without it brackets are words like others, and there are none."""
    if not config.weighted_captions:
        return [word_ids(caption, defined) for caption in captions], []
    pairs = [weighted_words(caption, defined) for caption in captions]
    return [ids for ids, _ in pairs], [weights for _, weights in pairs]


def caption_ids(words: Sequence[list[int]], config: ClipText, *, pad_id: int) -> Tensor:
    """Captions' words as (batch, chunks, 77) ids, int64: one chunk per 75 tokens of `max_token_length`.

    With `no_token_padding` the length is that of the longest caption here, so it depends on which captions share a batch. `pad_id` follows the
    end mark; published configurations of the encoders hold another number, which no program uses.
    """
    chunks = (config.max_token_length or CHUNK_WORDS) // CHUNK_WORDS
    return fitted_chunks(words, max_chunks=chunks, pad_id=pad_id, pad=not config.no_token_padding)


def prompt_words(prompts: Sequence[str], config: ClipText, defined: Defined) -> tuple[list[list[int]], list[list[float]], int]:
    """Ids of each prompt's words, their weights from emphasis like `(word:1.2)`, and how many chunks of 75 the longest of them needs.

    That is at least as many as in training, at most 3.
    """
    pairs = [weighted_words(prompt, defined) for prompt in prompts]
    needed = -(-max(len(ids) for ids, _ in pairs) // CHUNK_WORDS)
    chunks = min(MAX_CHUNKS, max(needed, (config.max_token_length or CHUNK_WORDS) // CHUNK_WORDS))
    return [list(ids) for ids, _ in pairs], [list(weights) for _, weights in pairs], chunks


def joined(hidden: Tensor, input_ids: Tensor, *, pad_id: int) -> Tensor:
    """Hidden states of flattened chunks, (batch · chunks, 77, width), as one sequence per caption, (batch, 75 · chunks + 2, width)."""
    return join_chunks(hidden.view(*input_ids.shape, -1), input_ids, pad_id=pad_id)


def weighted(embeds: Tensor, weights: Sequence[Sequence[float]]) -> Tensor:
    """Scale the embedding of word i, which is at position i + 1 after the start mark, by its weight: what kohya trains captions with.

    Args:
        embeds: (batch, 75 · chunks + 2, width).
        weights: of each caption's words, more or fewer than there are positions; marks and padding count 1.
    """
    if all(weight == 1 for row in weights for weight in row):
        return embeds
    length = embeds.shape[1]
    rows = [[1.0, *row[: length - 2], *[1.0] * length][:length] for row in weights]
    return embeds * to_device(torch.tensor(rows), embeds.device).to(embeds.dtype)[:, :, None]


def emphasised(embeds: Tensor, weights: Sequence[Sequence[float]]) -> Tensor:
    """`weighted`, then the mean of each row as it was, as in web UIs."""
    scaled = weighted(embeds, weights)
    if scaled is embeds:
        return embeds
    means = (embeds.float().mean(dim=(1, 2), keepdim=True), scaled.float().mean(dim=(1, 2), keepdim=True))
    return scaled * (means[0] / means[1]).to(embeds)


def encode_ids(text_encoder: Any, input_ids: Tensor, *, clip_skip: int | None) -> Tensor:
    """Hidden states of (rows, up to 77) ids after the final norm, (rows, ids, width): of the last layer, or of the clip_skip-th from the end.

    clip_skip 1 and None are the last layer. Raises ConfigError: there are not that many layers.
    """
    if clip_skip is None or clip_skip <= 1:
        return text_encoder(input_ids).last_hidden_state
    layers = text_encoder.config.num_hidden_layers
    if clip_skip > layers:
        raise ConfigError("clip_skip", f"{clip_skip} is more than the text encoder's {layers} layers.", fix=f"Use 1 to {layers}.")
    hidden = text_encoder(input_ids, output_hidden_states=True).hidden_states[-clip_skip]
    return text_root(text_encoder).final_layer_norm(hidden)


def text_root(text_encoder: Any) -> Any:
    """The module that holds `encoder` and `final_layer_norm`: one level down before transformers 5."""
    return getattr(text_encoder, "text_model", text_encoder)
