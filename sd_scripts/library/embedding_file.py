"""Files of learnt words: which keys they have, and every layout that other programs write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sd_scripts.errors import DataError
from sd_scripts.library.weights_file import PICKLED, read_weights, readable

KEYS: Mapping[int, tuple[str, ...]] = {1: ("emb_params",), 2: ("clip_l", "clip_g")}
"""Keys of the vectors, by the number of text encoders."""
BUNDLE = "bundle_emb"


def read_vectors(path: Path, *, widths: Sequence[int]) -> tuple[Tensor, ...]:
    """A word's vectors for each text encoder, (vectors, width), float32.

    Reads our own layout, kohya's, that of web UIs (`string_to_param`), diffusers' (`<word>`: tensor) and that of SDXL (`clip_l`, `clip_g`).

    Args:
        widths: of the text encoders' vectors.

    Raises:
        DataError: it is no such file, or one for another model.
    """
    found = [vectors.float().view(-1, vectors.shape[-1]) for vectors in _candidates(path)]
    by_width = {vectors.shape[-1]: vectors for vectors in found}
    if len(found) != len(widths) or any(width not in by_width for width in widths):
        has = " and ".join(str(width) for width in sorted(by_width)) or "no"
        needs = " and ".join(map(str, widths))
        raise DataError(f"It holds vectors of {has} numbers, this model needs {needs}.", fix="Name an embedding of the same model type.", path=path)
    return tuple(by_width[width] for width in widths)


def _candidates(path: Path) -> Iterator[Tensor]:
    if path.suffix.lower() not in PICKLED:
        yield from read_weights(path)[0].values()
        return
    with readable(path):
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("string_to_param"), Mapping):
        loaded = loaded["string_to_param"]
    if not isinstance(loaded, Mapping):
        raise DataError("It holds no vectors by name.", fix="Name an embedding file.", path=path)
    yield from (value.detach() for value in loaded.values() if isinstance(value, Tensor) and value.ndim in (1, 2))


def as_bundle(word: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A word's vectors by the keys that web UIs read in an adapter's file: `bundle_emb.<word>.string_to_param.*`, or `.clip_l` and `.clip_g`."""
    return {f"{BUNDLE}.{word}.{'string_to_param.*' if name == KEYS[1][0] else name}": tensor for name, tensor in tensors.items()}


def split_bundle(tensors: Mapping[str, Tensor], word: str | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """An adapter's file without the bundled vectors of `word`, and those vectors by the keys of embedding files."""
    start = f"{BUNDLE}.{word}."
    found = {key: tensor for key, tensor in tensors.items() if word and key.lower().startswith(start)}
    named = {key[len(start) :]: tensor for key, tensor in found.items()}
    vectors = {KEYS[1][0] if name == "string_to_param.*" else name: tensor for name, tensor in named.items()}
    return {key: tensor for key, tensor in tensors.items() if key not in found}, vectors
