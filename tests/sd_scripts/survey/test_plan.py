"""Steps: every recorded case of counts, with real folders and real picture files."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command
from sd_scripts.survey.blueprint import Blueprint, Dataset, Subset, read_blueprint
from sd_scripts.survey.items import Item, Scan, scan
from sd_scripts.survey.plan import batches_of, make_plan, steps_of

GOLDEN_FOLDER = Path(__file__).parents[2] / "golden"
GOLDEN = json.loads((GOLDEN_FOLDER / "steps.json").read_text("utf-8"))
TRAIN = command("train_network")
DEVIATIONS = {
    row["case"]: row["value"]
    for row in tomllib.loads((GOLDEN_FOLDER / "deviations.toml").read_text("utf-8"))["deviation"]
    if row["file"] == "steps.json" and isinstance(row["value"], dict)
}
CASES = [pytest.param({**case, **DEVIATIONS.get(case["id"], {})}, id=case["id"]) for case in GOLDEN["cases"]]


def _sizes(text: str | list[list[int]]) -> list[tuple[int, int]]:
    if isinstance(text, list):
        return [(width, height) for width, height in text]
    count, size = text.split(" x ")
    width, height = map(int, size.split("x"))
    return [(width, height)] * int(count)


def _folders(root: Path, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        folder = root / f"{row['repeats']}_{row['class']}"
        folder.mkdir(parents=True)
        for at, size in enumerate(_sizes(row["sizes"])):
            Image.new("1", size).save(folder / f"i{at:03d}.png")


def _arguments(case: dict[str, Any], root: Path) -> list[str]:
    words = [*case["flags"], "--gradient_accumulation_steps", str(case["gradient_accumulation_steps"])]
    for name in ("max_train_epochs", "max_train_steps"):
        words += [f"--{name}", str(case[name])] if case[name] else []
    if case["dataset_config"] is not None:
        path = root / "dataset.json"
        path.write_text(json.dumps(case["dataset_config"]).replace("@", root.as_posix()), "utf-8")
        return [*words, "--dataset_config", str(path)]
    words += ["--resolution", "512,512", "--train_data_dir", str(root / "train")]
    return words + (["--reg_data_dir", str(root / "reg")] if case["reg"] else [])


@pytest.mark.parametrize("case", CASES)
def test_counts_are_kohyas(case, tmp_path):
    _folders(tmp_path / "train", case["train"])
    _folders(tmp_path / "reg", case["reg"])
    config = parse_args(TRAIN, _arguments(case, tmp_path))
    blueprint = read_blueprint(config)
    found = scan(blueprint)
    plan = make_plan(config, blueprint, found, processes=case["num_processes"])
    assert plan.validation_images == len(found.validation) == case["num_validation_images"]
    assert sum(bucket.batches for bucket in batches_of(blueprint, replace(found, items=found.validation), 1)) == case["validation_batches"]
    assert plan.items - plan.reg_items == case["num_train_images (with repeats)"]
    assert plan.items == sum(case["images_in_batches"])
    assert plan.batches_per_epoch == case["batches_per_epoch_per_process"]
    assert plan.steps_per_epoch == case["optimizer_steps_per_epoch"]
    assert plan.total_steps == case["total_optimizer_steps"]
    assert plan.epochs == case["num_epochs"]
    assert plan.kohya_steps_per_epoch is None
    for dataset, buckets in enumerate(case["buckets"]):
        if buckets is not None:
            assert {str(bucket.bucket): bucket.items for bucket in plan.buckets if bucket.dataset == dataset} == buckets
    if "save_every_n_epochs" in case:
        assert plan.save_epochs == tuple(range(case["save_every_n_epochs"], case["num_epochs"], case["save_every_n_epochs"]))


def _made(sizes: list[tuple[int, int]], *words: str, processes: int = 1, batch_size: int = 1):
    dataset = Dataset((512, 512), batch_size=batch_size, enable_bucket=True, subsets=(Subset(Path("x")),))
    items = tuple(Item(Path(f"{at}.png"), size, "", 0, 0, 1, False) for at, size in enumerate(sizes))
    return make_plan(parse_args(TRAIN, list(words)), Blueprint((dataset,)), Scan(items), processes=processes)


def test_global_batches_do_not_mix_buckets_and_the_difference_to_kohya_is_told():
    plan = _made([(512, 512)] * 3 + [(768, 512)] * 3 + [(512, 768)] * 3, processes=2)
    assert (plan.batches_per_epoch, plan.kohya_steps_per_epoch) == (6, 5)
    assert any("5 steps per epoch" in line for line in plan.formula())


def test_two_processes_equal_one_with_twice_the_batch():
    sizes = [(512, 512)] * 5 + [(768, 512)] * 7
    assert _made(sizes, processes=2, batch_size=2).buckets == _made(sizes, processes=1, batch_size=4).buckets


def test_the_formula_names_every_number():
    plan = _made(
        [(512, 512)] * 40,
        "--max_train_epochs",
        "10",
        "--lr_warmup_steps",
        "10%",
        "--lr_scheduler",
        "cosine",
        "--save_every_n_epochs",
        "2",
        batch_size=4,
    )
    assert plan.formula() == [
        "40 images × 1 repeat = 40",
        "÷ batch 4 = 10 batches per epoch",
        "× 10 epochs = 100 steps · warm-up 10",
        "saves 5, the last one at the end",
    ]


def test_a_run_that_ends_inside_an_epoch_says_so():
    plan = _made([(512, 512)] * 10, "--max_train_steps", "25")
    assert (plan.epochs, plan.formula()[2]) == (3, "25 steps = 2.50 epochs")


@pytest.mark.parametrize(("value", "steps"), [(0, 0), (0.1, 100), (0.0014, 1), (1, 1), (25, 25), (100.0, 100)])
def test_below_one_is_a_share_of_the_run_and_from_one_on_a_number_of_steps(value, steps):
    assert steps_of(value, 1000) == steps


@pytest.mark.parametrize(("words", "stop"), [((), None), (("0",), None), (("-1",), 0), (("0.5",), 50), (("30",), 30)])
def test_the_text_encoder_stops_where_it_was_told(words, stop):
    flags = ["--stop_text_encoder_training", *words] if words else []
    assert _made([(512, 512)] * 10, "--max_train_steps", "100", *flags).text_encoder_stop_step == stop


def test_the_text_encoder_is_never_trained_with_unet_only():
    assert _made([(512, 512)], "--network_train_unet_only").text_encoder_stop_step == 0


def test_previews_by_epoch_win_over_previews_by_step():
    words = ["--sample_prompts", "p.txt", "--sample_every_n_steps", "3", "--max_train_epochs", "4", "--sample_at_first"]
    plan = _made([(512, 512)] * 2, *words)
    assert (plan.sample_at_first, plan.sample_steps, plan.sample_epochs) == (True, (3, 6), ())
    plan = _made([(512, 512)] * 2, *words, "--sample_every_n_epochs", "2")
    assert (plan.sample_steps, plan.sample_epochs) == ((), (2, 4))


def test_saves_by_step_include_the_last_step_and_saves_by_epoch_do_not():
    plan = _made([(512, 512)] * 2, "--max_train_epochs", "3", "--save_every_n_steps", "2", "--save_every_n_epochs", "1")
    assert (plan.save_steps, plan.save_epochs) == ((2, 4, 6), (1, 2))


def test_a_plan_survives_json():
    plan = _made([(512, 512)] * 2)
    assert json.loads(json.dumps(plan.as_dict()))["total_steps"] == 1600


def test_pictures_that_are_not_reached_are_in_no_batch():
    dataset = Dataset((512, 512), subsets=(Subset(Path("x")),))
    items = (Item(Path("a.png"), (512, 512), "", 0, 0, 0, True), Item(Path("b.png"), (512, 512), "", 0, 0, 2, False))
    assert [bucket.images for bucket in batches_of(Blueprint((dataset,)), Scan(items), 1)] == [1]
