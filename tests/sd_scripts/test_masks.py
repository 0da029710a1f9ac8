"""Masks: from files and from transparency, cut and mirrored with their pictures, in the loss and outside of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_runs
import torch
from PIL import Image
from tiny_runs import events, report_to, train
from torch import Tensor

from sd_scripts.library.data.batches import batches_from, group_items
from sd_scripts.library.data.dataset import Batch, Dealer, Listing, Order
from sd_scripts.library.weights_file import read_weights
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command
from sd_scripts.survey.blueprint import read_blueprint
from sd_scripts.survey.items import scan
from sd_scripts.survey.masks import mask_source

SIZES = ((64, 64), (96, 64))


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


def left_half(size: tuple[int, int]) -> Image.Image:
    """White on the left, black on the right."""
    values = np.zeros((size[1], size[0]), dtype=np.uint8)
    values[:, : size[0] // 2] = 255
    return Image.fromarray(values)


def masks(root: Path, folder: str = "masks", *, scale: int = 1, sizes: tuple[tuple[int, int], ...] = SIZES) -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number, size in enumerate(sizes):
        left_half((size[0] * scale, size[1] * scale)).save(root / folder / f"{number}.png")
    return root / folder


def pictures(root: Path) -> Path:
    return tiny_runs.draw_pictures(root / "mine" / "1_cat", sizes=SIZES).parent


def batches(root: Path, *words: str, **given: object) -> list[Batch]:
    argv = tiny_runs.options(root, train_data_dir=pictures(root), **given)
    config = parse_args(command("train_network"), [*argv, *words])
    blueprint = read_blueprint(config)
    found = scan(blueprint)
    listing = Listing(found.items, blueprint)
    dealer = Dealer(listing, 1, 0, 1, 10, masks=mask_source(config, blueprint))
    plans = batches_from(group_items(listing.items, blueprint), seed=1, processes=1, accumulation=1, start_step=0)
    return [dealer.deal(Order(plan, pixels=True)) for plan, _ in zip(plans, range(6), strict=False)]


def test_a_mask_is_scaled_and_cut_like_its_picture(tmp_path):
    for scale in (1, 2):
        for batch in batches(tmp_path, conditioning_data_dir=masks(tmp_path, scale=scale), masked_loss=True):
            assert batch.masks is not None and batch.pixels is not None
            assert batch.masks.shape == (len(batch.items), 1, *batch.pixels.shape[2:])
            width = batch.masks.shape[-1]
            assert (batch.masks[..., : width // 2 - 2] == 255).all() and (batch.masks[..., width // 2 + 2 :] == 0).all()


def test_a_mask_is_mirrored_with_its_picture(tmp_path):
    seen = set()
    for batch in batches(tmp_path, conditioning_data_dir=masks(tmp_path), masked_loss=True, flip_aug=True, train_batch_size=1):
        assert batch.masks is not None
        seen.add(batch.flipped[0])
        assert (batch.masks[0, 0, 0, 0] == 255) == (not batch.flipped[0])
    assert seen == {True, False}


def test_random_cuts_are_those_of_the_picture(tmp_path):
    """The mask is the picture itself here, so each cut must show the same pixels."""
    folder = pictures(tmp_path) / "1_cat"
    (tmp_path / "same").mkdir()
    for path in folder.glob("*.png"):
        grey = Image.open(path).convert("L").resize((200, 160))
        grey.convert("RGB").save(path)
        grey.save(tmp_path / "same" / path.name)
    for batch in batches(tmp_path, conditioning_data_dir=tmp_path / "same", masked_loss=True, random_crop=True, resize_interpolation="area"):
        assert batch.masks is not None and batch.pixels is not None
        assert (batch.masks[:, 0].int() - batch.pixels[:, 0].int()).abs().max() <= 1


def test_transparency_is_a_mask_and_opaque_pictures_count_whole(tmp_path):
    folder = pictures(tmp_path) / "1_cat"
    picture = Image.open(folder / "0.png").convert("RGBA")
    picture.putalpha(left_half(picture.size))
    picture.save(folder / "0.png")
    means = {}
    for batch in batches(tmp_path, alpha_mask=True, train_batch_size=1):
        assert batch.masks is not None
        means[batch.items[0].path.name] = batch.masks.float().mean().item() / 255
    assert means["0.png"] == pytest.approx(0.5, abs=0.05) and means["1.png"] == 1


def test_without_the_switches_there_are_no_masks(tmp_path):
    assert all(batch.masks is None for batch in batches(tmp_path))
    assert all(batch.masks is None for batch in batches(tmp_path, conditioning_data_dir=masks(tmp_path)))


def saved(root: Path, name: str) -> dict[str, Tensor]:
    return read_weights(root / "out" / f"{name}.safetensors")[0]


def losses(run_dir: Path) -> list[float]:
    return [event["loss"] for event in events(run_dir, "step")]  # type: ignore[misc]


def test_nothing_is_learned_under_a_black_mask(tmp_path, run_dir):
    folder = tmp_path / "black"
    folder.mkdir()
    for number, size in enumerate(SIZES):
        Image.new("L", size, 0).save(folder / f"{number}.png")
    given = {"train_data_dir": pictures(tmp_path), "masked_loss": True, "optimizer_args": ["weight_decay=0"]}
    assert train(tmp_path, output_name="none", conditioning_data_dir=folder, **given) == 0
    assert not any(tensor.any() for key, tensor in saved(tmp_path, "none").items() if "lora_up" in key)
    assert losses(run_dir) == [0.0] * 3


@pytest.mark.parametrize("cache", [{}, {"cache_latents": True}, {"cache_latents_to_disk": True}], ids=str)
def test_a_half_mask_halves_what_is_learned_also_with_cached_latents(tmp_path, run_dir, cache):
    folder = tmp_path / "white"
    folder.mkdir()
    for number, size in enumerate(SIZES):
        Image.new("L", size, 255).save(folder / f"{number}.png")
    given = {"train_data_dir": pictures(tmp_path), "max_train_steps": 1, "learning_rate": 1e-9, **cache}
    for name, more in (
        ("plain", {}),
        ("white", {"masked_loss": True, "conditioning_data_dir": folder}),
        ("half", {"masked_loss": True, "conditioning_data_dir": masks(tmp_path)}),
    ):
        assert train(tmp_path, output_name=name, **{**given, **more}) == 0
    plain, white, half = losses(run_dir)
    assert plain == pytest.approx(white, rel=1e-6) and 0.3 * plain < half < 0.7 * plain


def test_masks_of_a_folder_lie_in_one_of_its_name_and_regularisation_may_do_without(tmp_path, run_dir):
    masks(tmp_path, "all/1_cat")
    reg = tiny_runs.draw_pictures(tmp_path / "reg" / "1_dog", sizes=SIZES).parent
    given = {"train_data_dir": pictures(tmp_path), "reg_data_dir": reg, "masked_loss": True, "conditioning_data_dir": tmp_path / "all"}
    assert train(tmp_path, max_train_steps=2, **given) == 0


def test_outside_the_masks_the_model_is_kept(tmp_path, run_dir):
    given = {"train_data_dir": pictures(tmp_path), "masked_loss": True, "conditioning_data_dir": masks(tmp_path), "max_train_steps": 3}
    for name, weight in (("off", 0), ("on", 1)):
        assert train(tmp_path, output_name=name, masked_prior_weight=weight, **given) == 0
    off, on = losses(run_dir)[:3], losses(run_dir)[3:]
    assert off[0] == pytest.approx(on[0], rel=1e-5), "at the start the model is what it was"
    assert off[2] != on[2]
    assert any(not torch.equal(tensor, saved(tmp_path, "on")[key]) for key, tensor in saved(tmp_path, "off").items())


def test_a_dataset_file_names_masks_too(tmp_path, run_dir):
    folder = pictures(tmp_path) / "1_cat"
    lines = ["[[datasets]]", "resolution = 64", "[[datasets.subsets]]", f'image_dir = "{folder}"', f'conditioning_data_dir = "{masks(tmp_path)}"']
    (tmp_path / "data.toml").write_text("\n".join(lines), encoding="utf-8")
    given = {"dataset_config": tmp_path / "data.toml", "train_data_dir": None, "max_train_steps": 1, "learning_rate": 1e-9}
    assert train(tmp_path, output_name="masked", masked_loss=True, **given) == 0
    assert train(tmp_path, output_name="plain", **given) == 0
    masked, plain = losses(run_dir)
    assert masked < 0.8 * plain


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"masked_loss": True}, "There are no masks"),
        ({"masked_loss": True, "conditioning_data_dir": "few"}, "There is no mask for 1.png"),
        ({"masked_loss": True, "conditioning_data_dir": "nowhere"}, "nowhere does not exist"),
        ({"masked_prior_weight": 1}, "There are no masks"),
    ],
)
def test_what_is_missing_is_named(tmp_path, run_dir, capsys, given, words):
    masks(tmp_path, "few", sizes=SIZES[:1])
    folder = given.get("conditioning_data_dir")
    asked = {**given, "conditioning_data_dir": tmp_path / str(folder)} if folder else given
    assert train(tmp_path, train_data_dir=pictures(tmp_path), **asked) == 2
    told = capsys.readouterr()
    assert words in told.err + told.out


def test_a_broken_mask_is_named(tmp_path, run_dir, capsys):
    folder = masks(tmp_path)
    (folder / "1.png").write_bytes(b"no picture")
    assert train(tmp_path, train_data_dir=pictures(tmp_path), masked_loss=True, conditioning_data_dir=folder) != 0
    assert str(folder / "1.png") in capsys.readouterr().err
