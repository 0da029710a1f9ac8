"""Captions to embeddings for Stable Diffusion: clip skip, and captions longer than 75 words. Tokenizer and chunks live in families/clip.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextModel

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.clip import CHUNK_WORDS, caption_chunks, chunk_words, join_chunks
from sd_scripts.library.families.prompt_weights import weighted_words
from sd_scripts.params.text import ClipText

MAX_CHUNKS = 3


def encode_captions(text_encoder: CLIPTextModel, captions: Sequence[str], config: ClipText, *, pad_id: int) -> Tensor:
    """Embeddings of captions, (batch, 75 · chunks + 2, width), in the text encoder's output dtype.

    With `no_token_padding` the length is that of the longest caption here, so it depends on which captions share a batch. `pad_id` follows the
    end mark; published configurations of the encoder hold another number, which no program uses.

    Raises:
        ConfigError: clip_skip is more than the text encoder has layers.
    """
    chunks = (config.max_token_length or CHUNK_WORDS) // CHUNK_WORDS
    input_ids = caption_chunks(captions, max_chunks=chunks, pad_id=pad_id, pad=not config.no_token_padding)
    input_ids = input_ids.to(next(text_encoder.parameters()).device)
    hidden = encode_ids(text_encoder, input_ids.flatten(0, 1), clip_skip=config.clip_skip)
    return join_chunks(hidden.view(*input_ids.shape, -1), input_ids, pad_id=pad_id)


def encode_prompts(text_encoder: CLIPTextModel, prompts: Sequence[str], config: ClipText, *, pad_id: int) -> Tensor:
    """Embeddings of preview prompts, (batch, 75 · chunks + 2, width), with emphasis like `(word:1.2)`.

    There are as many chunks as the longest prompt needs: at least as many as in training, at most 3. Weights scale the words' embeddings, and
    the mean of each prompt is restored afterwards, as web UIs do.
    """
    words, weights = zip(*(weighted_words(prompt) for prompt in prompts), strict=True)
    needed = -(-max(len(ids) for ids in words) // CHUNK_WORDS)
    chunks = min(MAX_CHUNKS, max(needed, (config.max_token_length or CHUNK_WORDS) // CHUNK_WORDS))
    device = next(text_encoder.parameters()).device
    input_ids = chunk_words(words, chunks=chunks, pad_id=pad_id).to(device)
    hidden = encode_ids(text_encoder, input_ids.flatten(0, 1), clip_skip=config.clip_skip)
    embeds = join_chunks(hidden.view(*input_ids.shape, -1), input_ids, pad_id=pad_id)
    return _emphasised(embeds, weights)


def _emphasised(embeds: Tensor, weights: Sequence[Sequence[float]]) -> Tensor:
    """Scale the embedding of word i, which is at position i + 1 after the start mark, by its weight; the mean of each row stays."""
    rows = [torch.tensor([1.0, *row, *[1.0] * embeds.shape[1]][: embeds.shape[1]]) for row in weights]
    factors = torch.stack(rows).to(embeds)[:, :, None]
    if bool((factors == 1).all()):
        return embeds
    scaled = embeds * factors
    means = (embeds.float().mean(dim=(1, 2), keepdim=True), scaled.float().mean(dim=(1, 2), keepdim=True))
    return scaled * (means[0] / means[1]).to(embeds)


def encode_ids(text_encoder: CLIPTextModel, input_ids: Tensor, *, clip_skip: int | None) -> Tensor:
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


def text_root(text_encoder: CLIPTextModel) -> Any:
    """The module that holds `encoder` and `final_layer_norm`: one level down before transformers 5."""
    return getattr(text_encoder, "text_model", text_encoder)
