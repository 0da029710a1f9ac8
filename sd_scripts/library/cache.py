"""Latents that are computed once: kept in memory, or on disk under kohya's file names with a fingerprint that says what they were made from.

A file that another program wrote is used where it fits, and never overwritten: where it does not fit, ours goes into a folder of its own beside it.
Format: docs/compatibility.md, "Latent caches".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sd_scripts.errors import DataError, Diverged
from sd_scripts.library.cache_files import FINGERPRINT, SOURCE, FolderNames, array_shapes, load_arrays, save_arrays, stat_of
from sd_scripts.library.data.dataset import Listing
from sd_scripts.library.data.images import normalise
from sd_scripts.survey.buckets import BucketChoice, size_crop
from sd_scripts.survey.datasets import Size
from sd_scripts.survey.items import Item
from sd_scripts.survey.randomness import seed_for

OWN_FOLDER = ".latents"
"""Folder beside the pictures for what may not stand under kohya's names."""
_VERSION = "1"

Progress = Callable[[int, int], None]
Moments = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Pictures (batch, 3, height, width) in [-1, 1] to mean and log variance of the unscaled latents, float32."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as it is encoded: several items (repeats in other subsets) may share it.

    `first`: of all pictures that would have the same file under kohya's name (one picture at two resolutions, two of the same stem), the one whose
    it is. So it does not depend on which process is quicker.
    """

    item: Item
    choice: BucketChoice
    interpolation: str | None
    flip: bool
    first: bool


@dataclass(frozen=True, slots=True)
class Latents:
    """Unscaled latents of one picture, (channels, height, width), float32 on the CPU, and of its mirror image where that is needed."""

    straight: Tensor
    mirrored: Tensor | None


@dataclass(slots=True)
class LatentsCache:
    """The latents of all pictures of a run; call it with item numbers and whether each is mirrored.

    Args:
        listing: what is trained on.
        suffix: end of the file names, kohya's for the family ("_sd.npz").
        stride: pixels per latent.
        channels: of the latents.
        vae_hash: identity of the VAE.
        to_disk: keep files; else memory.
        skip_check: take a file that is there as it is, if it has the size.

    `adopted` are other programs' files that are used, `made` counts what was encoded.
    """

    listing: Listing
    suffix: str
    stride: int
    channels: int
    vae_hash: str
    to_disk: bool
    skip_check: bool = False
    adopted: list[Path] = field(default_factory=list)
    made: int = 0
    _pictures: list[Picture] = field(default_factory=list)
    _picture_of: list[int] = field(default_factory=list)
    _kept: dict[int, Latents | Path] = field(default_factory=dict)
    _own_files: FolderNames = field(default_factory=lambda: FolderNames(endings=2))

    def __post_init__(self) -> None:
        self._pictures, self._picture_of = _distinct(self.listing)

    def __call__(self, numbers: Sequence[int], flipped: Sequence[bool]) -> Tensor:
        """Unscaled latents of the items, (batch, channels, height, width), float32.

        Raises:
            DataError: a file that was there at the start is gone or of another size.
        """
        rows = []
        for number, flip in zip(numbers, flipped, strict=True):
            place = self._picture_of[number]
            kept = self._kept[place]
            latents = self._read(kept, self._pictures[place]) if isinstance(kept, Path) else kept
            rows.append(latents.mirrored if flip and latents.mirrored is not None else latents.straight)
        return torch.stack(rows)

    def fill(self, encode: Moments, *, batch_size: int, share: tuple[int, int] = (0, 1), on_progress: Progress | None = None) -> None:
        """Find or make the latents of this process's share (rank, processes) of the pictures.

        Args:
            encode: the VAE.
            batch_size: pictures per call of `encode`, all of one bucket.
            on_progress: told (done, total).

        Raises:
            DataError: a picture cannot be read.
            Diverged: the VAE made NaN or Inf of a picture.
            RunError: a file cannot be written.
        """
        mine = range(share[0], len(self._pictures), share[1])
        missing: dict[Size, list[tuple[int, str, str]]] = {}
        done = 0
        for place in mine:
            found, fingerprint, content = self._find(self._pictures[place])
            if found is not None:
                self._kept[place] = found
                done += 1
            else:
                missing.setdefault(self._pictures[place].choice.bucket, []).append((place, fingerprint, content))
        for bucket in sorted(missing):
            waiting = missing[bucket]
            for start in range(0, len(waiting), batch_size):
                chunk = waiting[start : start + batch_size]
                self._encode(chunk, encode)
                self.made += len(chunk)
                done += len(chunk)
                if on_progress is not None:
                    on_progress(done, len(mine))

    @property
    def kept(self) -> dict[int, Latents | Path]:
        """What this process found or made, by picture: to be exchanged among processes."""
        return self._kept

    def update(self, kept: Iterable[dict[int, Latents | Path]]) -> None:
        """Take over what other processes found or made."""
        for part in kept:
            self._kept.update(part)

    def _encode(self, chunk: Sequence[tuple[int, str, str]], encode: Moments) -> None:
        pictures = [self._pictures[place] for place, _, _ in chunk]
        fingerprints = [fingerprint for _, fingerprint, _ in chunk]
        pixels = torch.stack([self.listing.picture(picture.item) for picture in pictures])
        straight = _sample(encode(normalise(pixels)), fingerprints, "latents", pictures)
        mirrored = None
        if any(picture.flip for picture in pictures):
            mirrored = _sample(encode(normalise(pixels.flip(-1))), fingerprints, "latents flipped", pictures)
        for row, (place, fingerprint, content) in enumerate(chunk):
            picture = pictures[row]
            latents = Latents(straight[row].clone(), mirrored[row].clone() if mirrored is not None and picture.flip else None)
            self._kept[place] = self._write(picture, latents, fingerprint, content) if self.to_disk else latents

    def _find(self, picture: Picture) -> tuple[Path | None, str, str]:
        """A file to use for `picture`, if any; and the picture's fingerprint and content hash, where they had to be found out."""
        if not self.to_disk:
            content = _content_hash(picture.item.path)
            return None, self._fingerprint(picture, content), content
        path = self._path(picture)
        if self.skip_check and (trusted := self._of_the_size(picture)) is not None:
            return trusted, "", ""
        content = _remembered_hash(path, picture.item.path) or _content_hash(picture.item.path)
        fingerprint = self._fingerprint(picture, content)
        for candidate in (path, self._own_path(picture, fingerprint), picture.item.path.with_suffix(".npz")):
            if self._fits(candidate, picture, fingerprint):
                return candidate, fingerprint, content
        return None, fingerprint, content

    def _of_the_size(self, picture: Picture) -> Path | None:
        """A file of the picture's name that holds latents of its size, whatever they were made from: kohya's, or the newest of ours."""
        path = self._path(picture)
        if picture.first and self._has_size(path, picture):
            return path
        ours = self._own_files.beginning(path.parent / OWN_FOLDER, path.stem)
        candidates = [*sorted(ours, key=lambda own: own.stat().st_mtime_ns, reverse=True), path]
        return next((candidate for candidate in candidates if self._has_size(candidate, picture)), None)

    def _has_size(self, path: Path, picture: Picture) -> bool:
        shapes, wanted = array_shapes(path), self._shape(picture)
        return shapes.get("latents") == wanted and (not picture.flip or shapes.get("latents_flipped") == wanted)

    def _fits(self, path: Path, picture: Picture, fingerprint: str) -> bool:
        stored = load_arrays(path)
        if stored is None or stored.get("latents", np.empty(0)).shape != self._shape(picture):
            return False
        if picture.flip and "latents_flipped" not in stored:
            return False
        if FINGERPRINT in stored:
            return str(stored[FINGERPRINT]) == fingerprint
        crop = np.array(size_crop(picture.choice.bucket, picture.item.size))
        fits = np.allclose(stored.get("crop_ltrb", np.empty(0)), crop, atol=1) if stored.get("crop_ltrb", np.empty(0)).shape == (4,) else False
        newer = path.stat().st_mtime_ns >= picture.item.path.stat().st_mtime_ns
        if fits and newer:
            self.adopted.append(path)
        return fits and newer

    def _write(self, picture: Picture, latents: Latents, fingerprint: str, content: str) -> Path:
        path = self._path(picture)
        if not picture.first or path.exists():
            path = self._own_path(picture, fingerprint)
        arrays: dict[str, Any] = {
            "latents": latents.straight.numpy(),
            "original_size": np.array(picture.item.size),
            "crop_ltrb": np.array(size_crop(picture.choice.bucket, picture.item.size)),
            FINGERPRINT: np.array(fingerprint),
            SOURCE: np.array(json.dumps(stat_of(picture.item.path) | {"sha256": content})),
        }
        if latents.mirrored is not None:
            arrays["latents_flipped"] = latents.mirrored.numpy()
        save_arrays(path, arrays, what="latents", option="cache_latents")
        return path

    def _read(self, path: Path, picture: Picture) -> Latents:
        stored = load_arrays(path)
        if stored is None or stored.get("latents", np.empty(0)).shape != self._shape(picture):
            fix = "Delete the file and start again without skip_cache_check."
            raise DataError("The cached latents are gone, damaged or of another size.", fix=fix, path=path)
        mirrored = torch.from_numpy(stored["latents_flipped"]).float() if "latents_flipped" in stored else None
        return Latents(torch.from_numpy(stored["latents"]).float(), mirrored)

    def _shape(self, picture: Picture) -> tuple[int, int, int]:
        width, height = picture.choice.bucket
        return self.channels, height // self.stride, width // self.stride

    def _fingerprint(self, picture: Picture, content: str) -> str:
        choice = picture.choice
        made_from = [_VERSION, content, self.vae_hash, choice.bucket, choice.resized, choice.crop, picture.interpolation or ""]
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()

    def _path(self, picture: Picture) -> Path:
        return picture.item.path.with_name(f"{_stem(picture.item)}{self.suffix}")

    def _own_path(self, picture: Picture, fingerprint: str) -> Path:
        return picture.item.path.parent / OWN_FOLDER / f"{self._path(picture).stem}.{fingerprint[:12]}.npz"


def _distinct(listing: Listing) -> tuple[list[Picture], list[int]]:
    """The different pictures of a listing, and for each item which one it is. One that any item mirrors is mirrored."""
    places: dict[tuple[Path, BucketChoice, str | None], int] = {}
    pictures: list[Picture] = []
    picture_of: list[int] = []
    named: set[Path] = set()
    for item in listing.items:
        choice, interpolation, flip = listing.choice(item), listing.interpolation(item), listing.subset(item).flip_aug
        place = places.setdefault((item.path, choice, interpolation), len(pictures))
        if place == len(pictures):
            name = item.path.with_name(_stem(item))
            pictures.append(Picture(item, choice, interpolation, flip, first=name not in named))
            named.add(name)
        elif flip and not pictures[place].flip:
            pictures[place] = replace(pictures[place], flip=True)
        picture_of.append(place)
    return pictures, picture_of


def _stem(item: Item) -> str:
    """What names of cache files begin with, by kohya's rule: the picture's own, and its size."""
    width, height = item.size
    return f"{item.path.stem}_{width:04d}x{height:04d}"


def _sample(moments: tuple[Tensor, Tensor], fingerprints: Sequence[str], stream: str, pictures: Sequence[Picture]) -> Tensor:
    """A draw from each picture's posterior that depends on its fingerprint alone, so that caches made twice are equal."""
    mean, logvar = (part.float().cpu() for part in moments)
    generators = [torch.Generator().manual_seed(seed_for(int(fingerprint[:15], 16), stream)) for fingerprint in fingerprints]
    noise = torch.stack([torch.randn(tuple(mean.shape[1:]), generator=generator) for generator in generators])
    latents = mean + torch.exp(0.5 * logvar) * noise
    for picture, finite in zip(pictures, torch.isfinite(latents).flatten(1).all(dim=1).tolist(), strict=True):
        if not finite:
            raise Diverged(f"The VAE made NaN or Inf of {picture.item.path}.", fix="Set no_half_vae, or use another VAE.")
    return latents


def _content_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"The picture cannot be read: {error.strerror}.", fix="Put it back, or start again without it.", path=path) from error


def _remembered_hash(path: Path, image: Path) -> str | None:
    """The picture's content hash as its cache file remembers it, if size and time of the picture are still the same."""
    stored = load_arrays(path)
    if stored is None or SOURCE not in stored or not image.is_file():
        return None
    source = json.loads(str(stored[SOURCE]))
    return source["sha256"] if {name: source[name] for name in ("size", "mtime_ns")} == stat_of(image) else None
