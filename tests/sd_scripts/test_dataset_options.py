"""Options of datasets and folders that reach the loss: strength of the adapter, kept pictures, cuts around faces; and a look at it all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_runs
from PIL import Image
from tiny_runs import events, report_to, train

from sd_scripts.library.weights_file import read_weights


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


def dataset(root: Path, *, dataset_keys: str = "", subset_keys: str = "") -> Path:
    folder = tiny_runs.draw_pictures(root / "pictures" / "2_cat")
    path = root / "dataset.toml"
    text = f"[[datasets]]\nresolution = 64\nbatch_size = 2\n{dataset_keys}\n[[datasets.subsets]]\nimage_dir = '{folder}'\n{subset_keys}\n"
    path.write_text(text, encoding="utf-8")
    return path


def trained(root: Path, **given: object) -> float:
    """The largest number in the up factors."""
    name = str(given.get("output_name", "cat"))
    assert train(root, train_data_dir=None, **given) == 0
    tensors = read_weights(root / "out" / f"{name}.safetensors")[0]
    return max(tensor.abs().max().item() for key, tensor in tensors.items() if "lora_up" in key)


def test_an_adapter_of_half_strength_learns_half_as_fast(tmp_path):
    """A gradient is proportional to the strength, and plain gradient descent shows it: half the strength moves the up factors half as far."""
    plain = {"optimizer_type": "SGD", "learning_rate": 1e-3, "max_train_steps": 1, "max_grad_norm": 0}
    moves = {
        strength: trained(
            tmp_path, dataset_config=dataset(tmp_path, dataset_keys=f"network_multiplier = {strength}"), output_name=f"s{number}", **plain
        )
        for number, strength in enumerate((0.5, 1.0))
    }
    assert moves[0.5] > 0
    assert moves[0.5] / moves[1.0] == pytest.approx(0.5, rel=1e-3)


def test_chosen_pictures_teach_what_the_model_predicted(tmp_path, run_dir):
    """At the first step an adapter changes nothing, so the prediction is its own target."""
    keys = "custom_attributes.diff_output_preservation = true"
    trained(tmp_path, dataset_config=dataset(tmp_path, subset_keys=keys), max_train_steps=1)
    assert events(run_dir, "step")[0]["loss"] == 0


@pytest.mark.parametrize(
    ("script", "keys", "named"),
    [
        ("train_db", {"dataset_keys": "network_multiplier = 0.5"}, "there is no adapter in this training"),
        ("train_db", {"subset_keys": "custom_attributes.diff_output_preservation = true"}, "or train a LoRA"),
        ("train_network", {"dataset_keys": "network_multiplier = 'much'"}, "is not a number"),
        ("train_network", {"dataset_keys": "network_multiplier = 0"}, "would teach nothing"),
        ("train_network", {"subset_keys": "custom_attributes.mood = 'good'"}, "nothing reads 'mood'"),
        ("train_network", {"subset_keys": "face_crop_aug_range = [4.0, 2.0]"}, "smallest and the largest factor"),
        ("train_network", {"subset_keys": "face_crop_aug_range = [2.0, 4.0]", "dataset_keys": "enable_bucket = true"}, "Turn off enable_bucket"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, capsys, script, keys, named):
    assert train(tmp_path, script, train_data_dir=None, dataset_config=dataset(tmp_path, **keys)) == 2
    assert named in capsys.readouterr().err


def test_cuts_show_the_face_and_their_masks_follow(tmp_path):
    """A picture that is black but for its white face: as large and as far to the middle in the batch as the factor says."""
    folder, masks = tmp_path / "faces" / "1_face", tmp_path / "masks"
    folder.mkdir(parents=True)
    masks.mkdir()
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[180:220, 280:320] = 255
    Image.fromarray(picture).save(folder / "a_300_200_40_40.png")
    Image.fromarray(picture).save(masks / "a_300_200_40_40.png")
    given = {"train_data_dir": folder.parent, "enable_bucket": None, "debug_dataset": True, "conditioning_data_dir": masks, "masked_loss": True}
    assert train(tmp_path, face_crop_aug_range="2.0,2.0", **given) == 0
    shown = np.asarray(Image.open(tmp_path / "out" / "cat-dataset" / "batch-0001.png"))[..., 0]
    rows, columns = np.nonzero(shown > 127)
    assert shown.shape == (64, 64)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == pytest.approx((32, 32), abs=2)
    assert (rows.mean(), columns.mean()) == pytest.approx((31.5, 31.5), abs=1.5)


def every_style(root: Path) -> Path:
    """A dataset file of three datasets: captions beside the pictures, captions in a metadata file, and pictures with masks; at two resolutions."""
    first, second, third = (tiny_runs.draw_pictures(root / name, ((64, 64),) * 4) for name in ("own", "listed", "masked"))
    names = {f"{number}.png": {"caption": f"a dog, {number}"} for number in range(4)}
    (root / "meta.json").write_text(json.dumps(names), encoding="utf-8")
    for number in range(4):
        half = np.zeros((64, 64), dtype=np.uint8)
        half[:, :32] = 255
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(half).save(root / "masks" / f"{number}.png")
    subsets = {
        first: (64, ""),
        second: (128, f"metadata_file = '{root / 'meta.json'}'"),
        third: (64, f"conditioning_data_dir = '{root / 'masks'}'"),
    }
    tables = [
        f"[[datasets]]\nresolution = {size}\nbatch_size = 2\nvalidation_split = 0.25\n[[datasets.subsets]]\nimage_dir = '{folder}'\n{keys}\n"
        for folder, (size, keys) in subsets.items()
    ]
    (root / "all.toml").write_text("\n".join(tables), encoding="utf-8")
    return root / "all.toml"


def test_datasets_of_every_style_and_two_resolutions_are_trained_and_measured_together(tmp_path, run_dir):
    given = {
        "dataset_config": every_style(tmp_path),
        "masked_loss": True,
        "max_train_steps": None,
        "max_train_epochs": 1,
        "validate_every_n_epochs": 1,
    }
    assert trained(tmp_path, **given, cache_latents_to_disk=True) > 0
    plan = events(run_dir, "plan")[0]["plan"]
    assert (plan["images"], plan["validation_images"], plan["total_steps"]) == (9, 3, 6)
    assert trained(tmp_path, **given, output_name="live") > 0
    cached, live = (event["loss"] for event in events(run_dir, "validation"))
    assert live == pytest.approx(cached, rel=1e-3)
    shapes = {name: {np.load(path)["latents"].shape for path in (tmp_path / name).glob("*.npz")} for name in ("own", "listed", "masked")}
    assert shapes == {"own": {(4, 8, 8)}, "listed": {(4, 16, 16)}, "masked": {(4, 8, 8)}}


def test_a_dataset_is_shown_instead_of_trained_on(tmp_path, run_dir):
    assert train(tmp_path, debug_dataset=True) == 0
    folder = tmp_path / "out" / "cat-dataset"
    sheets = sorted(path.name for path in folder.glob("batch-*.png"))
    lines = (folder / "captions.txt").read_text("utf-8").splitlines()
    assert len(lines) == 10 and sheets[0] == "batch-0001.png" and sum("mirrored" in line for line in lines) == 0
    assert all("64×64" in line or "128" in line for line in lines) and all("cat, number" in line for line in lines)
    assert [event["path"] for event in events(run_dir, "sample")] == [str(folder / name) for name in sheets]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"cat-dataset"}
    assert train(tmp_path, debug_dataset=True) == 0
    assert (tmp_path / "out" / "cat-dataset-2" / "captions.txt").is_file()
