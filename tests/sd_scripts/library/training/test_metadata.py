"""The header of saved files against those that kohya's trainer wrote for the same options and pictures."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from sd_scripts.library.families.hashes import legacy_hash
from sd_scripts.library.families.sd import SD
from sd_scripts.library.methods.adapter import Adapter
from sd_scripts.library.methods.base import ADAPTER, EMBEDDING, FULL_MODEL, Method
from sd_scripts.library.methods.embedding import Embedding
from sd_scripts.library.methods.finetune import Finetune
from sd_scripts.library.training.dataset_metadata import bucket_info, dataset_metadata
from sd_scripts.library.training.metadata import ORIGINAL_LAYOUT, RunFacts, file_metadata, model_hashes, modelspec, training_metadata
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.survey.blueprint import read_blueprint
from sd_scripts.survey.datasets import Blueprint, Dataset, Subset
from sd_scripts.survey.items import Item, Scan, scan
from sd_scripts.survey.plan import make_plan
from tests.tiny_models import build_sd15_micro, wave

GOLDEN = Path(__file__).parents[3] / "golden"
RECORDED = json.loads((GOLDEN / "metadata.json").read_text("utf-8"))
DEVIATIONS = [row for row in tomllib.loads((GOLDEN / "deviations.toml").read_text("utf-8"))["deviation"] if row["file"] == "metadata.json"]
RUNS = [
    (name, run["script"].removesuffix(".py"), run["flags"], file, said)
    for name, run in RECORDED["runs"].items()
    for file, said in run["files"].items()
]
METHODS: dict[str, type[Method]] = {"train_network": Adapter, "train_db": Finetune, "train_textual_inversion": Embedding}
DATASETS = """
[[datasets]]
resolution = 128
batch_size = 2
enable_bucket = true
min_bucket_reso = 64
max_bucket_reso = 256
caption_extension = ".txt"
shuffle_caption = true
keep_tokens = 1
  [[datasets.subsets]]
  image_dir = "{folder}"
  num_repeats = 2
  class_tokens = "sks thing"
  [[datasets.subsets]]
  image_dir = "{regularisation}"
  class_tokens = "thing"
  is_reg = true
"""
MADE_OF_PICTURES = ("bucket_info",)
"""Bucket counts of pictures whose sizes the golden file does not tell."""
MORE = "more"
"""In a deviation's value: how the keys begin that our header has besides the recorded ones."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight captioned pictures, a dataset config for them, and a model, as the recorded runs had."""
    root = tmp_path_factory.mktemp("runs")
    folder, regularisation = root / "set128" / "2_sks thing", root / "regularisation" / "2_sks thing"
    for index in range(16):
        place = (folder, regularisation)[index // 8]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (128, 128), (index, 0, 0)).save(place / f"{index % 8}.png")
        (place / f"{index % 8}.txt").write_text(f"sks thing, pattern {index % 8}, stripes, Number {index % 8 % 3} \n", "utf-8")
    (root / "ds.toml").write_text(DATASETS.format(folder=folder.as_posix(), regularisation=regularisation.as_posix()), "utf-8")
    build_sd15_micro(root / "tiny_sd15.safetensors")
    return root


def header(place: Path, flags: list[str], *, step: int, epoch: int, script: str = "train_network") -> tuple[dict[str, str], Config]:
    """Our header for the recorded command line."""
    words = [word.replace("<material>/images/set128", str(place / "set128")).replace("<work>", str(place)) for word in flags]
    words += ["--pretrained_model_name_or_path", str(place / "tiny_sd15.safetensors"), "--output_name", "peer", "--seed", "42"]
    config = parse_args(command(script), words)
    blueprint = read_blueprint(config)
    pictures = scan(blueprint)
    family = SD.load(config, device=torch.device("cpu"), weight_dtype=torch.float32)
    method = METHODS[script](config, family)
    method.prepare()
    facts = RunFacts(42, 1, 1700000000.0, "torch.optim.adamw.AdamW")
    said = training_metadata(config, make_plan(config, blueprint, pictures), blueprint, scan=pictures, family=family, method=method, facts=facts)
    kind = method.file_kind
    return file_metadata(config, family, said, tensors=method.tensors(None), step=step, epoch=epoch, now=1700000100.0, kind=kind), config


def without_pictures(value: Any) -> Any:
    """A value with parsed JSON and without what depends on the sizes of pictures."""
    if isinstance(value, str) and value.startswith(("[", "{")):
        value = json.loads(value)
    if isinstance(value, list):
        return [without_pictures(item) for item in value]
    return {key: without_pictures(item) for key, item in value.items() if key not in MADE_OF_PICTURES} if isinstance(value, dict) else value


def expected(name: str, recorded: dict[str, Any]) -> dict[str, str | None]:
    """Recorded values by key (None: not told by the golden file), changed where deviations.toml says so ("absent": not written)."""
    told = {**dict.fromkeys(recorded["keys"]), **recorded["values"]}
    for row in DEVIATIONS:
        if row["case"] == name:
            told |= {key: value for key, value in row["value"].items() if key != MORE}
    return {key: value for key, value in told.items() if value != "absent"}


@pytest.mark.parametrize(("name", "script", "flags", "file", "recorded"), RUNS, ids=lambda value: value if isinstance(value, str) else "")
def test_keys_and_values_are_the_recorded_ones(place, name, script, flags, file, recorded):
    values = recorded["values"]
    ours, _ = header(place, flags, step=int(values.get("ss_steps", 2)), epoch=int(values.get("ss_epoch", 1)), script=script)
    wanted = expected(name, recorded)
    more = [row["value"][MORE] for row in DEVIATIONS if row["case"] == name and MORE in row["value"]]
    assert bool(more) == any(key not in wanted for key in ours)
    assert sorted(key for key in ours if key in wanted or not key.startswith(tuple(more))) == sorted(wanted)
    known = {key: value for key, value in wanted.items() if value is not None}
    assert {key: without_pictures(ours[key]) for key in known} == {key: without_pictures(value) for key, value in known.items()}


def test_the_entries_stand_in_the_order_of_kohya(place):
    ours, _ = header(place, RUNS[0][2], step=1, epoch=1)
    keys = [key for key in ours if key.startswith("ss_")]
    assert keys[:3] == ["ss_session_id", "ss_training_started_at", "ss_output_name"]
    landmarks = [
        "ss_network_module",
        "ss_v2",
        "ss_seed",
        "ss_optimizer",
        "ss_resize_interpolation",
        "ss_bucket_info",
        "ss_network_args",
        "ss_sd_model_name",
        "ss_steps",
    ]
    assert [key for key in keys if key in landmarks] == landmarks


def test_neither_paths_nor_secrets_are_in_the_header(place):
    ours, _ = header(place, [*RUNS[1][2], "--wandb_api_key", "s3cret", "--huggingface_token", "t0ken"], step=1, epoch=1)
    assert not [key for key, value in ours.items() if str(place) in value or "s3cret" in value or "t0ken" in value]


def test_the_hash_is_that_of_the_saved_file_behind_its_header(place, tmp_path):
    tensors = {"a.lora_up.weight": torch.ones(3, 2, dtype=torch.float16), "a.alpha": torch.tensor(1.0)}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"ss_steps": "1", "modelspec.title": "x"})
    content = (tmp_path / "a.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    assert model_hashes(tensors, {"ss_steps": "1"})[0] == hashlib.sha256(content[start:]).hexdigest()


def test_what_cannot_be_hashed_has_the_recorded_word(tmp_path):
    missing, _ = RECORDED["hashes"]["missing file"]
    assert legacy_hash(tmp_path / "missing") == missing
    assert legacy_hash(tmp_path) == RECORDED["hashes"]["folder"]
    save_file({"w": wave(1, (4, 8))}, tmp_path / "small.safetensors")
    assert legacy_hash(tmp_path / "small.safetensors") == RECORDED["hashes"]["small file legacy hash (shorter than 1 MiB)"]


@pytest.mark.parametrize("case", ["small file", "2 MiB file"])
def test_hashes_are_the_recorded_ones(case):
    golden = RECORDED["hashes"][case]
    small = {
        "lora_unet_a.lora_down.weight": wave(1, (4, 8)),
        "lora_unet_a.lora_up.weight": wave(1, (8, 4), cosine=True),
        "lora_unet_a.alpha": torch.tensor(2.0),
    }
    tensors = small if case == "small file" else {"w": wave(0.001, (512, 1024))}
    assert model_hashes(tensors, golden["metadata"]) == (golden["sshs_model_hash"], golden["sshs_legacy_hash"])
    if case == "small file":
        assert list(model_hashes(tensors, {})) == golden["sshs without metadata"]


def test_the_legacy_hash_of_a_model_file_is_the_recorded_one(tmp_path):
    golden = RECORDED["hashes"]["2 MiB file"]
    path = tmp_path / "w.safetensors"
    save_file({"w": wave(0.001, (512, 1024))}, path, metadata={key: value for key, value in golden["metadata"].items() if key.startswith("ss_")})
    assert legacy_hash(path) == golden["ss_sd_model_hash (legacy) of the file saved with ss_ metadata only"]


OPTION_NAMES = {"title": "metadata_title", "author": "metadata_author", "description": "metadata_description", "license": "metadata_license"}
OPTION_NAMES |= {"tags": "metadata_tags", "merged_from": "metadata_merged_from", "clip_skip": "clip_skip"}
HEADERLESS = ("sd1 diffusers", "sdxl diffusers")
"""A model as a folder: no file in it has such a header, here as there."""
SPECS = [row for row in RECORDED["modelspec"] if "model_config" not in row["options"] and row["case"] not in HEADERLESS]


def described(row: dict[str, Any]) -> dict[str, str]:
    """What the family says of the recorded model."""
    if row["sdxl"]:
        architecture, implementation = "stable-diffusion-xl-v1-base", ORIGINAL_LAYOUT
    else:
        architecture = "stable-diffusion-v1" if not row["v2"] else f"stable-diffusion-v2-{'768-v' if row['v_parameterization'] else '512'}"
        implementation = "diffusers"
    prediction = "v" if row["v_parameterization"] else "epsilon"
    return {"modelspec.architecture": architecture, "modelspec.implementation": implementation, "modelspec.prediction_type": prediction}


@pytest.mark.parametrize("row", SPECS, ids=lambda row: row["case"])
def test_modelspec_is_the_recorded_one(row):
    options = dict(row["options"])
    given: dict[str, object] = {OPTION_NAMES[key]: value for key, value in options.items() if key in OPTION_NAMES}
    if "reso" in options:
        given["resolution"] = ",".join(map(str, options["reso"])) if isinstance(options["reso"], list) else str(options["reso"])
    if "timesteps" in options:
        given["min_timestep"], given["max_timestep"] = options["timesteps"]
    kind, scripts = (
        (ADAPTER, ("train_network", "sdxl_train_network"))
        if row["lora"]
        else (EMBEDDING, ("train_textual_inversion", "sdxl_train_textual_inversion"))
        if row["textual_inversion"]
        else (FULL_MODEL, ("train_db", "sdxl_train"))
    )
    ours = modelspec(make_config(command(scripts[row["sdxl"]]), given), described(row), now=1700000000.0, kind=kind)
    date, program = ours.pop("modelspec.date"), ours.pop("modelspec.implementation_version")
    assert ours == {key: value for key, value in row["result"].items() if key not in ("modelspec.date", "modelspec.implementation_version")}
    assert len(date) == len("2023-11-14T22:13:20")
    assert program.startswith("training-studio/")


def test_a_thumbnail_becomes_a_data_url(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    config = make_config(command("train_network"), {"metadata_thumbnail": str(tmp_path / "a.png")})
    described = {"modelspec.architecture": "x", "modelspec.implementation": "y"}
    assert modelspec(config, described, now=0.0)["modelspec.thumbnail"].startswith("data:image/png;base64,iVBOR")


def test_buckets_count_repeats_and_errors_count_pictures():
    dataset = Dataset((128, 128), enable_bucket=True, min_bucket_reso=64, max_bucket_reso=256)
    items = [Item(Path(f"{index}.png"), size, "", 0, 0, index + 1, False) for index, size in enumerate([(128, 128), (300, 100), (100, 90)])]
    unused = Item(Path("reg.png"), (64, 192), "", 0, 0, 0, True)
    assert bucket_info(dataset, [*items, unused]) == {
        "buckets": {"0": {"resolution": [128, 128], "count": 4}, "1": {"resolution": [192, 64], "count": 2}},
        "mean_img_ar_error": pytest.approx((100 / 90 - 1) / 3),
    }
    assert bucket_info(Dataset((128, 128)), items) is None


def test_folders_of_the_same_name_are_told_apart():
    subsets = (Subset(Path("a/10_cat"), num_repeats=10), Subset(Path("b/10_cat"), num_repeats=10))
    blueprint = Blueprint((Dataset((64, 64), subsets=subsets),), "dataset_config")
    pictures = Scan(tuple(Item(Path(f"{index}.png"), (64, 64), f"Cat,  {index},", index, 0, 10, False) for index in range(2)))
    said = dataset_metadata(make_config(command("train_network"), {}), plan=None, blueprint=blueprint, scan=pictures)  # type: ignore[arg-type]
    assert json.loads(str(said["ss_dataset_dirs"])) == {"10_cat": {"n_repeats": 10, "img_count": 1}, "10_cat (2)": {"n_repeats": 10, "img_count": 1}}
    assert json.loads(str(said["ss_tag_frequency"])) == {"10_cat": {"cat": 2, "0": 1, "1": 1}}


def test_every_value_is_text(place):
    ours, _ = header(place, RUNS[0][2], step=1, epoch=1)
    assert all(isinstance(value, str) for value in ours.values())
    assert math.isclose(float(ours["ss_training_finished_at"]) - float(ours["ss_training_started_at"]), 100.0)
