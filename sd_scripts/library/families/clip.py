"""CLIP's byte-pair tokenizer, read from a vocabulary file that ships as package data, and captions as chunks of 77 ids. No network, no model."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

from sd_scripts.errors import RunError

BOS, EOS = 49406, 49407
OPEN_CLIP_PAD = 0
CHUNK_WORDS = 75
CHUNK = CHUNK_WORDS + 2
_MERGES = 49152 - 256 - 2
_VOCABULARY_PACKAGE, _VOCABULARY_FILE = "open_clip", "bpe_simple_vocab_16e6.txt.gz"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@lru_cache(maxsize=1)
def clip_tokenizer() -> Tokenizer:
    """The tokenizer of all CLIP text encoders: 49,408 words, lower-casing, no padding and no special tokens added.

    Raises:
        RunError: the package that carries the vocabulary is not installed.
    """
    with gzip.open(_vocabulary_path(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    merges = [(first, second) for first, second in (line.split() for line in lines[1 : _MERGES + 1])]
    alphabet = _byte_alphabet()
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), *(first + second for first, second in merges), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])  # type: ignore[assignment]
    split = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokenizer.add_special_tokens([AddedToken("<|startoftext|>", normalized=False), AddedToken("<|endoftext|>", normalized=False)])
    return tokenizer


def word_ids(caption: str, defined: Mapping[str, Sequence[int]] | None = None) -> list[int]:
    """Ids of a caption's words, without start, end and padding.

    Args:
        defined: ids of words in lower case that are not the tokenizer's own. They are found in any case, and only where they stand alone.
    """
    if not defined:
        return clip_tokenizer().encode(caption, add_special_tokens=False).ids
    ids: list[int] = []
    for number, part in enumerate(_defined_words(tuple(defined)).split(caption)):
        ids += defined[part.lower()] if number % 2 else word_ids(part)
    return ids


@lru_cache(maxsize=8)
def _defined_words(words: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<!\w)({longest_first})(?!\w)", re.IGNORECASE)


def caption_chunks(captions: Sequence[str], *, max_chunks: int, pad_id: int, pad: bool = True) -> Tensor:
    """Captions as ids, cut after 75 · max_chunks words.

    Args:
        captions: one text per image.
        max_chunks: 1, 2 or 3: 75, 150 or 225 words.
        pad_id: fills up after the end mark: 49407 for CLIP-L, 0 for OpenCLIP encoders.
        pad: False fills up only to the longest of these captions, so the result depends on which captions share a batch.

    Returns:
        (batch, chunks, width), int64. Each chunk is start mark, words, end mark, padding; width is 77, less with `pad=False` and one chunk.
    """
    return fitted_chunks([word_ids(caption) for caption in captions], max_chunks=max_chunks, pad_id=pad_id, pad=pad)


def fitted_chunks(words: Sequence[list[int]], *, max_chunks: int, pad_id: int, pad: bool = True) -> Tensor:
    """`caption_chunks` for the ids of words."""
    all_words = [ids[: CHUNK_WORDS * max_chunks] for ids in words]
    chunks, width = max_chunks, CHUNK
    if not pad:
        longest = max((len(words) for words in all_words), default=0)
        chunks = max(1, -(-longest // CHUNK_WORDS))
        width = CHUNK if chunks > 1 else longest + 2
    return chunk_words(all_words, chunks=chunks, pad_id=pad_id, width=width)


def chunk_words(all_words: Sequence[list[int]], *, chunks: int, pad_id: int, width: int = CHUNK) -> Tensor:
    """Ids of words as (batch, chunks, width), int64: start mark, width - 2 words, end mark, padding in each chunk; what does not fit is cut."""
    rows = [[_chunk(words[CHUNK_WORDS * index :], width, pad_id) for index in range(chunks)] for words in all_words]
    return torch.tensor(rows, dtype=torch.int64).view(len(all_words), chunks, width)


def join_chunks(hidden: Tensor, input_ids: Tensor, *, pad_id: int) -> Tensor:
    """Encoded chunks as one sequence: the first start mark, the words of all chunks, the last mark.

    Args:
        hidden: (batch, chunks, 77, width), any float dtype.
        input_ids: (batch, chunks, 77), what was encoded.
        pad_id: where it differs from the end mark, an empty later chunk starts with an end mark in mid-sequence: padding takes its place.

    Returns:
        (batch, 75 · chunks + 2, width); one chunk is returned as it came.
    """
    if hidden.shape[1] == 1:
        return hidden[:, 0]
    middle = hidden[:, :, 1:-1]
    if pad_id != EOS:
        empty = (input_ids[:, :, 1] == EOS) & (torch.arange(hidden.shape[1], device=input_ids.device) > 0)
        first = torch.where(empty[:, :, None, None], middle[:, :, 1:2], middle[:, :, :1])
        middle = torch.cat([first, middle[:, :, 1:]], dim=2)
    return torch.cat([hidden[:, 0, :1], middle.flatten(1, 2), hidden[:, -1, -1:]], dim=1)


def _chunk(words: list[int], width: int, pad_id: int) -> list[int]:
    kept = words[: width - 2]
    return [BOS, *kept, EOS, *[pad_id] * (width - 2 - len(kept))]


def _vocabulary_path() -> Path:
    spec = find_spec(_VOCABULARY_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _VOCABULARY_FILE
        if path.is_file():
            return path
    raise RunError("CLIP's vocabulary file is not installed.", fix="Run setup.py again, or: pip install --no-deps open_clip_torch")


def _byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 byte values, in vocabulary order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(value) for value in printable] + [chr(256 + index) for index in range(256 - len(printable))]
