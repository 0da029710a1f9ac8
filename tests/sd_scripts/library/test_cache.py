"""Cached latents are made once, found again while they fit, and never written over what another program made."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import draw_pictures
from torch import Tensor

from sd_scripts.errors import DataError, Diverged, RunError
from sd_scripts.library.cache import OWN_FOLDER, LatentsCache
from sd_scripts.library.data.dataset import Listing
from sd_scripts.survey.buckets import size_crop
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.items import scan


class Encoder:
    """A VAE of eight by eight means; it counts the pictures that it was given."""

    def __init__(self) -> None:
        self.pictures = 0

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.pictures += len(images)
        mean = torch.nn.functional.avg_pool2d(images, 8)
        mean = torch.cat([mean, mean[:, :1]], dim=1)
        return mean, torch.full_like(mean, -4.0)


def listing(folder: Path, side: int = 64, **subset: object) -> Listing:
    """The test pictures, cut to squares."""
    blueprint = Blueprint((Dataset((side, side), 2, subsets=(Subset(draw_pictures(folder), **subset),)),))
    return Listing(scan(blueprint).items, blueprint)


def filled(
    found: Listing, *, to_disk: bool = True, vae: str = "vae", encoder: Encoder | None = None, **options: object
) -> tuple[LatentsCache, Encoder]:
    """A full cache, and the encoder that filled it."""
    encoder = encoder or Encoder()
    cache = LatentsCache(found, suffix="_sd.npz", stride=8, channels=4, vae_hash=vae, to_disk=to_disk, **options)
    cache.fill(encoder, batch_size=2)
    return cache, encoder


def test_memory_and_disk_hold_the_same_latents(tmp_path):
    found = listing(tmp_path)
    numbers, flips = range(5), [False] * 5
    in_memory, on_disk, again = (filled(found, to_disk=to_disk)[0](numbers, flips) for to_disk in (False, True, True))
    assert torch.equal(in_memory, on_disk) and torch.equal(on_disk, again)


def test_files_have_kohyas_names_and_keys(tmp_path):
    filled(listing(tmp_path, flip_aug=True))
    with np.load(tmp_path / "4_0100x0090_sd.npz") as stored:
        assert {"latents", "latents_flipped", "original_size", "crop_ltrb"} <= set(stored)
        assert (stored["latents"].shape, stored["latents"].dtype) == ((4, 8, 8), np.float32)
        assert stored["original_size"].tolist() == [100, 90]


def test_a_second_run_encodes_nothing(tmp_path):
    found = listing(tmp_path)
    assert filled(found)[1].pictures == 5
    assert filled(found)[1].pictures == 0


def test_mirrored_latents_are_those_of_the_mirrored_picture(tmp_path):
    cache, encoder = filled(listing(tmp_path, flip_aug=True), to_disk=False)
    straight, mirrored = cache([0], [False]), cache([0], [True])
    assert encoder.pictures == 10
    assert (straight.flip(-1) - mirrored).abs().mean() < 0.5 < (straight - mirrored).abs().max()


@pytest.mark.parametrize("change", ["picture", "vae", "size", "interpolation"])
def test_latents_of_something_else_are_made_anew_beside_the_old_ones(change, tmp_path):
    filled(listing(tmp_path))
    old = (tmp_path / "0_0064x0064_sd.npz").read_bytes()
    if change == "picture":
        (tmp_path / "0.png").write_bytes((tmp_path / "1.png").read_bytes())
    subset = {"resize_interpolation": "nearest"} if change == "interpolation" else {}
    found = listing(tmp_path, 128 if change == "size" else 64, **subset)
    _, encoder = filled(found, vae="other" if change == "vae" else "vae")
    assert encoder.pictures == (1 if change == "picture" else 5)
    assert (tmp_path / "0_0064x0064_sd.npz").read_bytes() == old
    assert len(list((tmp_path / OWN_FOLDER).glob("0_*.npz"))) == 1
    assert filled(found, vae="other" if change == "vae" else "vae")[1].pictures == 0


def foreign(path: Path, image: Path, *, crop: tuple[float, ...] | None = None) -> None:
    """Latents as another program writes them."""
    whole = size_crop((64, 64), (64, 64))
    np.savez(path, latents=np.ones((4, 8, 8), np.float32), original_size=np.array([64, 64]), crop_ltrb=np.array(crop or whole))
    newer = image.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(newer, newer))


def test_another_programs_latents_are_used_where_they_fit(tmp_path):
    found = listing(tmp_path)
    foreign(tmp_path / "0_0064x0064_sd.npz", tmp_path / "0.png")
    cache, encoder = filled(found)
    assert encoder.pictures == 4 and cache.adopted == [tmp_path / "0_0064x0064_sd.npz"]
    assert torch.equal(cache([0], [False]), torch.ones(1, 4, 8, 8))


@pytest.mark.parametrize("way", ["older", "other crop", "no mirror image", "broken"])
def test_another_programs_latents_that_do_not_fit_are_left_alone(way, tmp_path):
    found = listing(tmp_path, flip_aug=way == "no mirror image")
    path = tmp_path / "0_0064x0064_sd.npz"
    foreign(path, tmp_path / "0.png", crop=(9.0, 9.0, 50.0, 50.0) if way == "other crop" else None)
    if way == "older":
        os.utime(path, ns=(1, 1))
    if way == "broken":
        path.write_bytes(b"PK and nothing more")
    before = path.read_bytes()
    cache, _ = filled(found)
    assert path.read_bytes() == before and cache.adopted == []
    assert not torch.equal(cache([0], [False]), torch.ones(1, 4, 8, 8))


def test_without_the_check_a_file_is_taken_as_it_is(tmp_path):
    found = listing(tmp_path)
    filled(found)
    assert filled(found, vae="other", skip_check=True)[1].pictures == 0


def two_sizes(folder: Path) -> Listing:
    """The test pictures at two resolutions: the first five items at 64, the others at 128."""
    subsets = (Subset(draw_pictures(folder)),)
    blueprint = Blueprint((Dataset((64, 64), 2, subsets=subsets), Dataset((128, 128), 2, subsets=subsets)))
    return Listing(scan(blueprint).items, blueprint)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_two_sizes_of_a_picture_have_a_file_each_whichever_process_is_quicker(order, tmp_path):
    """Five pictures twice, so each process has one size of every picture."""
    found = two_sizes(tmp_path)
    caches = [LatentsCache(found, suffix="_sd.npz", stride=8, channels=4, vae_hash="vae", to_disk=True) for _ in order]
    for rank in order:
        caches[rank].fill(Encoder(), batch_size=2, share=(rank, 2))
    caches[0].update([cache.kept for cache in caches])
    in_memory, _ = filled(found, to_disk=False)
    for numbers in (range(5), range(5, 10)):
        assert torch.equal(caches[0](numbers, [False] * 5), in_memory(numbers, [False] * 5))
    with np.load(tmp_path / "0_0064x0064_sd.npz") as stored:
        assert stored["latents"].shape == (4, 8, 8), "the first size of the run has kohya's name"
    assert len(list((tmp_path / OWN_FOLDER).iterdir())) == 5


def test_without_the_check_each_size_finds_its_file(tmp_path):
    found = two_sizes(tmp_path)
    made, _ = filled(found)
    cache, encoder = filled(found, vae="other", skip_check=True)
    assert encoder.pictures == 0
    for numbers in (range(5), range(5, 10)):
        assert torch.equal(cache(numbers, [False] * 5), made(numbers, [False] * 5))
    assert filled(listing(tmp_path, flip_aug=True), skip_check=True)[1].pictures == 10, "mirrored latents are missing in all of them"


def test_a_process_that_is_killed_leaves_whole_files_and_the_next_one_goes_on(tmp_path):
    found = listing(tmp_path)

    def slowly(images: Tensor) -> tuple[Tensor, Tensor]:
        time.sleep(0.2)
        return Encoder()(images)

    def fill() -> None:
        torch.set_num_threads(1)
        LatentsCache(found, suffix="_sd.npz", stride=8, channels=4, vae_hash="vae", to_disk=True).fill(slowly, batch_size=1)

    process = multiprocessing.get_context("fork").Process(target=fill)
    process.start()
    while process.is_alive() and len(list(tmp_path.glob("*_sd.npz"))) < 2:
        time.sleep(0.01)
    process.kill()
    process.join()
    done = len(list(tmp_path.glob("*_sd.npz")))
    assert 2 <= done < 5
    cache, encoder = filled(found)
    assert encoder.pictures == 5 - done
    assert torch.equal(cache(range(5), [False] * 5), filled(found, to_disk=False)[0](range(5), [False] * 5))


def test_a_file_that_vanished_since_the_start_is_named(tmp_path):
    cache, _ = filled(listing(tmp_path))
    (tmp_path / "2_0064x0128_sd.npz").unlink()
    with pytest.raises(DataError, match=r"2_0064x0128_sd\.npz"):
        cache([2], [False])


def test_broken_latents_end_the_run_with_the_picture_named(tmp_path):
    def encode(images: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.zeros(len(images), 4, 8, 8)
        mean[-1, 0, 0, 0] = float("nan")
        return mean, torch.zeros_like(mean)

    with pytest.raises(Diverged, match=r"1\.png"):
        filled(listing(tmp_path), encoder=encode)


def test_two_processes_share_the_work(tmp_path):
    found, encoder = listing(tmp_path), Encoder()
    caches = [LatentsCache(found, suffix="_sd.npz", stride=8, channels=4, vae_hash="vae", to_disk=False) for _ in range(2)]
    for rank, cache in enumerate(caches):
        cache.fill(encoder, batch_size=2, share=(rank, 2))
    caches[0].update([cache.kept for cache in caches])
    assert encoder.pictures == 5
    assert torch.equal(caches[0](range(5), [False] * 5), filled(found, to_disk=False)[0](range(5), [False] * 5))


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(tmp_path):
    found = listing(tmp_path)
    (tmp_path / OWN_FOLDER).write_text("in the way")
    for number, item in enumerate(found.items):
        (tmp_path / f"{number}_{item.size[0]:04d}x{item.size[1]:04d}_sd.npz").write_text("in the way too")
    with pytest.raises(RunError, match="cache_latents"):
        filled(found)
