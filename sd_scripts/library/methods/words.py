"""A new word in the text encoders of a model: its vectors learn, everything else stays as it is.

Source: Gal et al. 2022, "An Image is Worth One Word", arXiv:2208.01618.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sd_scripts.errors import ConfigError, DataError
from sd_scripts.library.embedding_file import KEYS, read_vectors
from sd_scripts.library.families.base import Family
from sd_scripts.library.families.clip import word_ids


class WordVectors(nn.Module):
    """A table of word vectors with rows of our own behind it, which are held in float32 and learn.

    Args:
        table: the text encoder's, frozen: (words, width).
        vectors: (rows, width): ids from `words` on mean these.
    """

    def __init__(self, table: nn.Embedding, vectors: Tensor) -> None:
        super().__init__()
        self.table = table
        self.vectors = nn.Parameter(vectors.to(table.weight.device, torch.float32))

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of ids, (..., width), in the table's dtype."""
        known = self.table.num_embeddings
        old = self.table(ids.clamp(max=known - 1))
        new = self.vectors.to(old.dtype)[(ids - known).clamp(min=0)]
        return torch.where((ids >= known).unsqueeze(-1), new, old)


class LearntVectors:
    """The vectors of one word, one set for each text encoder of `family`. Making it puts the word into the family.

    Args:
        word: as it stands in captions.
        count: vectors per text encoder.
        init_word: words whose vectors the new ones start as, over and over where they are fewer; None: random, about as long as known words' vectors.
        weights: an embedding file to start from instead.

    Raises:
        ConfigError: init_word has more words than there are vectors, or the file has another number of vectors.
        DataError: the file is no embedding of this model.
    """

    def __init__(self, family: Family, word: str, *, count: int, init_word: str | None, weights: str | None) -> None:
        given = read_vectors(Path(weights), widths=[_table(encoder).embedding_dim for encoder in family.text_encoders]) if weights else None
        self.parts: list[WordVectors] = []
        for number, encoder in enumerate(family.text_encoders):
            table = _table(encoder)
            vectors = _known(table, init_word, count) if init_word else _random(table, count)
            if given is not None:
                vectors = _counted(given[number], count, str(weights))
            part = WordVectors(table, vectors)
            cast(Any, encoder).set_input_embeddings(part)
            self.parts.append(part)
        known = self.parts[0].table.num_embeddings
        family.define_word(word, range(known, known + count))

    def parameters(self) -> list[nn.Parameter]:
        """The vectors of each text encoder, (count, width)."""
        return [part.vectors for part in self.parts]

    def tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The vectors by the keys of embedding files, copied to the CPU; None keeps float32."""
        names = KEYS[len(self.parts)]
        return {name: part.vectors.detach().to("cpu", save_dtype, copy=True) for name, part in zip(names, self.parts, strict=True)}

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Take back what `tensors` gave. Raises DataError if it is another word's."""
        for name, part in zip(KEYS[len(self.parts)], self.parts, strict=True):
            vectors = tensors.get(name)
            if not isinstance(vectors, Tensor) or vectors.shape != part.vectors.shape:
                fix = "Resume with the number of vectors it was saved with."
                raise DataError("The state does not fit this training: it has other word vectors.", fix=fix)
            with torch.no_grad():
                part.vectors.copy_(vectors)


def _table(encoder: Any) -> nn.Embedding:
    return encoder.get_input_embeddings()


def _known(table: nn.Embedding, words: str, count: int) -> Tensor:
    ids = word_ids(words)
    if not ids:
        raise ConfigError("init_word", f"{words!r} holds no word.", fix="Name a known word, such as cat.")
    if len(ids) > count:
        fix = f"Set num_vectors_per_token to {len(ids)}, or name a shorter word."
        raise ConfigError("init_word", f"{words} takes {len(ids)} vectors, and the new word has {count}.", fix=fix)
    return table.weight.detach()[list(islice(cycle(ids), count))].float()


def _random(table: nn.Embedding, count: int) -> Tensor:
    weight = table.weight.detach().float()
    mean, spread = weight.mean(dim=0), weight.std(dim=0)
    return mean + spread * torch.randn(count, table.embedding_dim).to(mean)


def _counted(vectors: Tensor, count: int, name: str) -> Tensor:
    if len(vectors) != count:
        fix = f"Set num_vectors_per_token to {len(vectors)}."
        raise ConfigError("weights", f"{name} has {len(vectors)} vectors, and num_vectors_per_token is {count}.", fix=fix)
    return vectors
