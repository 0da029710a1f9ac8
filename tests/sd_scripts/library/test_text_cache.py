"""Captions are encoded once, found again while they fit, and never written over what another program made."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from tiny_runs import draw_pictures
from torch import Tensor

from sd_scripts.errors import DataError
from sd_scripts.library.data.dataset import Listing
from sd_scripts.library.text_cache import OWN_FOLDER, TextCache
from sd_scripts.params.families.facts import TextCacheLayout
from sd_scripts.survey.caption_variants import all_variants, chosen_variant
from sd_scripts.survey.datasets import Blueprint, CaptionRules, Dataset, Subset
from sd_scripts.survey.items import scan

LAYOUT = TextCacheLayout("_te_outputs.npz", ("hidden_state1", "hidden_state2"), "pool2")
SHUFFLED = CaptionRules(shuffle_caption=True, caption_dropout_rate=0.5)


class Encoder:
    """Text encoders of widths 3 and 2 and a length of 4 tokens: numbers that follow from the text. It counts what it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        self.texts += captions
        rows = [torch.Generator().manual_seed(sum(caption.encode()) + len(caption)) for caption in captions]
        embeds = torch.stack([torch.randn((4, 5), generator=row) for row in rows])
        return embeds, embeds[:, 0, :2].clone()


def listing(folder: Path, rules: CaptionRules | None = None) -> Listing:
    """The test pictures with their captions."""
    subset = Subset(draw_pictures(folder), caption_extension=".txt", captions=rules or CaptionRules())
    blueprint = Blueprint((Dataset((64, 64), 2, subsets=(subset,)),))
    return Listing(scan(blueprint).items, blueprint)


def filled(found: Listing, *, to_disk: bool = True, identity: str = "model", **options: object) -> tuple[TextCache, Encoder]:
    """A full cache, and the encoder that filled it."""
    encoder = Encoder()
    cache = TextCache(found, LAYOUT, (3, 2), 4, identity, to_disk, **options)  # type: ignore[arg-type]
    cache.fill(encoder, batch_size=2)
    return cache, encoder


def captions(found: Listing) -> list[str]:
    return [item.caption for item in found.items]


@pytest.mark.parametrize("to_disk", [True, False])
def test_a_caption_comes_back_as_it_was_encoded(tmp_path, to_disk):
    found = listing(tmp_path)
    cache, _ = filled(found, to_disk=to_disk)
    for ours, expected in zip(cache(captions(found)), Encoder()(captions(found)), strict=True):
        assert torch.equal(ours, expected)


def test_files_have_kohyas_names_and_keys(tmp_path):
    found = listing(tmp_path)
    filled(found)
    with np.load(tmp_path / "0_te_outputs.npz") as stored:
        assert {"hidden_state1", "hidden_state2", "pool2"} <= set(stored)
        assert (stored["hidden_state1"].shape, stored["hidden_state2"].shape, stored["pool2"].shape) == ((4, 3), (4, 2), (2,))


def test_a_second_run_encodes_nothing(tmp_path):
    found = listing(tmp_path)
    filled(found)
    cache, encoder = filled(found)
    assert encoder.texts == []
    assert torch.equal(cache(captions(found))[0], Encoder()(captions(found))[0])


def test_a_changed_caption_or_model_is_encoded_anew_and_the_old_file_stays(tmp_path):
    filled(listing(tmp_path))
    before = (tmp_path / "0_te_outputs.npz").read_bytes()
    (tmp_path / "0.txt").write_text("a dog", encoding="utf-8")
    found = listing(tmp_path)
    cache, encoder = filled(found)
    assert encoder.texts == ["a dog"]
    assert torch.equal(cache(["a dog"])[0], Encoder()(["a dog"])[0])
    assert (tmp_path / "0_te_outputs.npz").read_bytes() == before
    assert len(list((tmp_path / OWN_FOLDER).iterdir())) == 1
    assert len(filled(found, identity="another model")[1].texts) == len(found.items)


def test_another_programs_file_is_used_where_it_fits_and_is_newer(tmp_path):
    found = listing(tmp_path)
    arrays = {"hidden_state1": np.ones((4, 3), "float32"), "hidden_state2": np.ones((4, 2), "float32"), "pool2": np.ones(2, "float32")}
    np.savez(tmp_path / "0_te_outputs.npz", **arrays)
    np.savez(tmp_path / "1_te_outputs.npz", **{**arrays, "hidden_state1": np.ones((8, 3), "float32")})
    np.savez(tmp_path / "2_te_outputs.npz", **arrays)
    os.utime(tmp_path / "2_te_outputs.npz", (1, 1))
    cache, encoder = filled(found)
    assert cache.adopted == [tmp_path / "0_te_outputs.npz"]
    assert set(encoder.texts) == set(captions(found)[1:])
    assert bool((cache(captions(found)[:1])[0] == 1).all())


def two_prefixes(folder: Path) -> Listing:
    """The test pictures in two datasets, whose captions begin differently."""
    pictures = draw_pictures(folder)
    subsets = [Subset(pictures, caption_extension=".txt", captions=CaptionRules(caption_prefix=prefix)) for prefix in ("small", "large")]
    blueprint = Blueprint(tuple(Dataset((64, 64), 2, subsets=(subset,)) for subset in subsets))
    return Listing(scan(blueprint).items, blueprint)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_two_texts_of_a_picture_have_a_file_each_whichever_process_is_quicker(tmp_path, order):
    found = two_prefixes(tmp_path)
    caches = [TextCache(found, LAYOUT, (3, 2), 4, "model", to_disk=True) for _ in order]
    for rank in order:
        caches[rank].fill(Encoder(), batch_size=2, share=(rank, 2))
    caches[0].update([cache.kept for cache in caches])
    texts = [f"{prefix} {caption}" for prefix, caption in zip(["small"] * 5 + ["large"] * 5, captions(found), strict=True)]
    assert torch.equal(caches[0](texts)[0], Encoder()(texts)[0])
    assert json.loads(str(np.load(tmp_path / "0_te_outputs.npz")["studio_source"]))["caption"] == texts[0]
    again, encoder = filled(found, skip_check=True)
    assert encoder.texts == [] and torch.equal(again(texts)[0], Encoder()(texts)[0])


def test_a_file_that_goes_away_is_named(tmp_path):
    found = listing(tmp_path)
    cache, _ = filled(found)
    (tmp_path / "0_te_outputs.npz").unlink()
    with pytest.raises(DataError, match="0_te_outputs"):
        cache(captions(found)[:1])


def test_processes_share_the_work(tmp_path):
    found = listing(tmp_path)
    parts = [TextCache(found, LAYOUT, (3, 2), 4, "model", to_disk=False) for _ in range(2)]
    encoders = [Encoder(), Encoder()]
    for rank, (part, encoder) in enumerate(zip(parts, encoders, strict=True)):
        part.fill(encoder, batch_size=2, share=(rank, 2))
    parts[0].update([parts[1].kept])
    assert not set(encoders[0].texts) & set(encoders[1].texts)
    assert torch.equal(parts[0](captions(found))[0], Encoder()(captions(found))[0])


def test_every_text_that_a_step_may_ask_for_is_kept(tmp_path):
    found = listing(tmp_path, SHUFFLED)
    cache, encoder = filled(found, variants=3)
    assert "" in encoder.texts and len(set(encoder.texts)) > len(found.items) + 1
    seen = set()
    for step in range(50):
        texts = [chosen_variant(item.caption, SHUFFLED, 3, random=Random(step), epoch=1) for item in found.items]
        assert torch.equal(cache(texts)[0], Encoder()(texts)[0])
        seen |= set(texts)
    assert seen == set(encoder.texts)
    assert filled(found, variants=3)[1].texts == [""], "only the empty caption has no file"


def test_versions_do_not_depend_on_the_run(tmp_path):
    texts = all_variants("a, b, c, d", SHUFFLED, 4)
    assert texts == all_variants("a, b, c, d", SHUFFLED, 4) and texts[-1] == ""
    assert all(sorted(text.split(", ")) == ["a", "b", "c", "d"] for text in texts[:-1])
    assert all_variants("a, b", CaptionRules(), 4) == ("a, b",)
    assert all_variants("a, b", replace(SHUFFLED, caption_dropout_rate=0.0), 1) in (("a, b",), ("b, a",))
