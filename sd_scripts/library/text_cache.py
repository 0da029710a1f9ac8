"""Captions that are encoded once: kept in memory, or on disk under kohya's file names with a fingerprint that says what they were made from.

Captions that change by chance are kept in a fixed number of versions (survey/caption_variants.py). As with latents, files of other programs are used
where they fit and never overwritten. Format: docs/compatibility.md, "Caption caches".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sd_scripts.errors import DataError
from sd_scripts.library.cache_files import FINGERPRINT, SOURCE, FolderNames, load_arrays, save_arrays
from sd_scripts.library.data.dataset import Listing
from sd_scripts.params.families.facts import TextCacheLayout
from sd_scripts.survey.caption_variants import all_variants
from sd_scripts.survey.items import Item

OWN_FOLDER = ".texts"
"""Folder beside the pictures for what may not stand under kohya's names: versions of captions, and what another program's file does not fit."""
_VERSION = "1"

Row = tuple[Tensor, Tensor]
"""One caption encoded: (tokens, width) and pooled (width,), on the CPU."""
Encode = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""Captions to (batch, tokens, width) and pooled (batch, width)."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text belongs: the first picture that has it, and whether it is that picture's only one.

    `first`: of all texts that would have the same file under kohya's name (one picture with two prefixes, two of the same stem), the one whose it is.
    So it does not depend on which process is quicker.
    """

    item: Item
    only: bool
    first: bool


@dataclass(slots=True)
class TextCache:
    """The encoded captions of a run; call it with the texts of a batch.

    Args:
        listing: what is trained on.
        layout: names of the files and of the arrays in them.
        widths: of each text encoder's embeddings, in the order in which they are joined.
        tokens: length of an encoded caption.
        identity: hash of the text encoders and of the options that change what they make of a caption.
        to_disk: keep files; else memory.
        variants: versions of each caption that changes by chance.
        skip_check: take a file that is there as it is.

    `adopted` are other programs' files that are used, `made` counts what was encoded.
    """

    listing: Listing
    layout: TextCacheLayout
    widths: tuple[int, ...]
    tokens: int
    identity: str
    to_disk: bool
    variants: int = 1
    skip_check: bool = False
    adopted: list[Path] = field(default_factory=list)
    made: int = 0
    _kept: dict[str, Row | Path] = field(default_factory=dict)
    _sources: FolderNames = field(default_factory=FolderNames)

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Encoded captions, (batch, tokens, width), and pooled, (batch, width), on the CPU.

        Raises:
            DataError: a file that was there at the start is gone or of another size.
        """
        rows = [self._row(caption) for caption in captions]
        return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])

    def fill(self, encode: Encode, *, batch_size: int, share: tuple[int, int] = (0, 1), on_progress: Progress | None = None) -> None:
        """Find or make this process's share (rank, processes) of the texts.

        Args:
            encode: the text encoders.
            batch_size: captions per call of `encode`.
            on_progress: told (done, total).

        Raises:
            RunError: a file cannot be written.
        """
        places = self._places()
        mine = sorted(places)[share[0] :: share[1]]
        missing: list[str] = []
        for text in mine:
            found = self._find(text, places[text]) if text and self.to_disk else None
            if found is None:
                missing.append(text)
            else:
                self._kept[text] = found
        done = len(mine) - len(missing)
        for start in range(0, len(missing), batch_size):
            chunk = missing[start : start + batch_size]
            embeds, pooled = (part.detach().cpu() for part in encode(chunk))
            for text, row in zip(chunk, zip(embeds, pooled, strict=True), strict=True):
                kept = (row[0].clone(), row[1].clone())
                self._kept[text] = self._write(text, places[text], kept) if text and self.to_disk else kept
            self.made += len(chunk)
            done += len(chunk)
            if on_progress is not None:
                on_progress(done, len(mine))

    @property
    def kept(self) -> dict[str, Row | Path]:
        """What this process found or made, by text: to be exchanged among processes."""
        return self._kept

    def update(self, kept: Iterable[dict[str, Row | Path]]) -> None:
        """Take over what other processes found or made."""
        for part in kept:
            self._kept.update(part)

    def _places(self) -> dict[str, Place]:
        """Every text of the run with its place."""
        places: dict[str, Place] = {}
        named: set[Path] = set()
        for item in self.listing.items:
            subset = self.listing.subset(item)
            texts = all_variants(item.caption, subset.captions, self.variants, class_tokens=subset.class_tokens)
            only = sum(bool(text) for text in texts) == 1
            name = item.path.with_suffix("")
            for text in texts:
                places.setdefault(text, Place(item, only, first=only and name not in named))
            if only:
                named.add(name)
        return places

    def _row(self, text: str) -> Row:
        kept = self._kept[text]
        if not isinstance(kept, Path):
            return kept
        arrays = load_arrays(kept)
        if arrays is None or not self._has_shape(arrays):
            fix = "Delete the file and start again without skip_cache_check."
            raise DataError("The cached caption is gone, damaged or of another size.", fix=fix, path=kept)
        return torch.cat([torch.from_numpy(arrays[name]) for name in self.layout.parts], dim=-1), torch.from_numpy(arrays[self.layout.pooled])

    def _find(self, text: str, place: Place) -> Path | None:
        fingerprint = self._fingerprint(text)
        for path in (self._path(place), self._own_path(place.item, fingerprint)):
            arrays = load_arrays(path) if path is not None else None
            if path is not None and arrays is not None and self._fits(path, arrays, place, fingerprint):
                return path
        return None

    def _fits(self, path: Path, arrays: Mapping[str, np.ndarray], place: Place, fingerprint: str) -> bool:
        if not self._has_shape(arrays):
            return False
        if self.skip_check and place.first:
            return True
        if FINGERPRINT in arrays:
            return str(arrays[FINGERPRINT]) == fingerprint
        beside = self._sources.beginning(place.item.path.parent, place.item.path.stem)
        newer = all(path.stat().st_mtime_ns >= source.stat().st_mtime_ns for source in beside if source.suffix != ".npz")
        if newer:
            self.adopted.append(path)
        return newer

    def _has_shape(self, arrays: Mapping[str, np.ndarray]) -> bool:
        wanted = {name: (self.tokens, width) for name, width in zip(self.layout.parts, self.widths, strict=True)}
        pooled = arrays.get(self.layout.pooled)
        return pooled is not None and pooled.ndim == 1 and all(name in arrays and arrays[name].shape == shape for name, shape in wanted.items())

    def _write(self, text: str, place: Place, row: Row) -> Path:
        fingerprint = self._fingerprint(text)
        path = self._path(place)
        if path is None or not place.first or path.exists():
            path = self._own_path(place.item, fingerprint)
        embeds, pooled = (_storable(part) for part in row)
        pieces = torch.split(embeds, list(self.widths), dim=-1)
        arrays = {name: piece.numpy() for name, piece in zip(self.layout.parts, pieces, strict=True)}
        arrays |= {self.layout.pooled: pooled.numpy(), FINGERPRINT: np.array(fingerprint), SOURCE: np.array(json.dumps({"caption": text}))}
        save_arrays(path, arrays, what="captions", option="cache_text_encoder_outputs")
        return path

    def _fingerprint(self, text: str) -> str:
        return hashlib.sha256(json.dumps([_VERSION, text, self.identity]).encode()).hexdigest()

    def _path(self, place: Place) -> Path | None:
        """kohya's name, for the text of a picture that has one alone."""
        path = place.item.path
        return path.with_name(f"{path.stem}{self.layout.suffix}") if place.only else None

    def _own_path(self, item: Item, fingerprint: str) -> Path:
        return item.path.parent / OWN_FOLDER / f"{item.path.stem}.{fingerprint[:12]}.npz"


def _storable(tensor: Tensor) -> Tensor:
    """numpy knows no bfloat16."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
