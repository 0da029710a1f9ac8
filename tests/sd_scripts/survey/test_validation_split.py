"""Which pictures are kept aside, against the recorded split of the reference program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import draw_pictures

from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.survey.checks import survey
from sd_scripts.survey.validation_split import kept_aside

CASES = json.loads((Path(__file__).parents[2] / "golden" / "steps.json").read_text("utf-8"))["validation_split"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['n']}-{case['split']}-{case['seed']}")
def test_the_recorded_pictures_are_kept_aside(case):
    """Where both roundings go up, the reference program also trains on a picture that it measures; here none is in both."""
    aside = kept_aside(case["n"], case["split"], case["seed"])
    assert aside == set(case["val"])
    assert set(range(case["n"])) - aside == set(case["train"]) - set(case["val"])


def surveyed(root: Path, **values):
    draw_pictures(root / "pictures" / "3_cat", ((64, 64),) * 5)
    draw_pictures(root / "reg" / "1_cat", ((80, 64),) * 4)
    shared = {"train_data_dir": str(root / "pictures"), "reg_data_dir": str(root / "reg"), "resolution": "64", "caption_extension": ".txt"}
    return survey(make_config(command("train_network"), {**shared, **values}))


def test_kept_pictures_are_not_trained_and_regularisation_is_not_kept(tmp_path):
    found = surveyed(tmp_path, validation_split=0.4)
    names = [item.path.name for item in found.scan.items if not item.is_reg]
    assert len(names) == 3 and len(found.scan.validation) == 2
    assert not set(names) & {item.path.name for item in found.scan.validation}
    assert all(item.repeats == 1 and not item.is_reg for item in found.scan.validation)
    assert (found.plan.images, found.plan.validation_images) == (3, 2)
    assert "2 images kept aside" in found.plan.formula()[0]


def test_another_seed_keeps_other_pictures(tmp_path):
    kept = [frozenset(item.path.name for item in surveyed(tmp_path, validation_split=0.4, validation_seed=seed).scan.validation) for seed in range(6)]
    assert len(set(kept)) > 1
    assert kept[0] == frozenset(item.path.name for item in surveyed(tmp_path, validation_split=0.4).scan.validation)


@pytest.mark.parametrize(("share", "severity"), [(0.01, "warning"), (1.0, "error")])
def test_a_share_that_keeps_none_or_all_is_told(tmp_path, share, severity):
    found = surveyed(tmp_path, validation_split=share)
    assert [problem.severity for problem in found.problems if problem.field == "validation_split"] == [severity]


def test_a_dataset_file_keeps_by_dataset(tmp_path):
    folder = draw_pictures(tmp_path / "pictures", ((64, 64),) * 4)
    text = f"[[datasets]]\nresolution = 64\nvalidation_split = 0.5\n[[datasets.subsets]]\nimage_dir = '{folder}'\n"
    text += f"[[datasets]]\nresolution = 128\n[[datasets.subsets]]\nimage_dir = '{folder}'\n"
    (tmp_path / "data.toml").write_text(text, "utf-8")
    found = by_file(tmp_path)
    assert [item.dataset for item in found.scan.validation] == [0, 0]
    assert [item.dataset for item in found.scan.items] == [0, 0, 1, 1, 1, 1]


def by_file(root: Path):
    return surveyed(root, train_data_dir=None, reg_data_dir=None, resolution=None, dataset_config=str(root / "data.toml"))


def of_the_split(found) -> list[str]:
    return [str(problem) for problem in found.problems if problem.field == "validation_split"]


def test_a_folder_of_two_datasets_that_is_measured_in_one_is_told_and_the_fix_holds(tmp_path):
    folder = draw_pictures(tmp_path / "pictures", ((64, 64),) * 4)
    rows = [f"[[datasets]]\nresolution = {side}\nVALUES{side}\n[[datasets.subsets]]\nimage_dir = '{folder}'\n" for side in (64, 128)]
    text, share = "".join(rows), "validation_split = 0.5\nvalidation_seed = 3"
    (tmp_path / "data.toml").write_text(text.replace("VALUES64", share).replace("VALUES128", ""), "utf-8")
    found = by_file(tmp_path)
    assert [problem.severity for problem in found.problems if problem.field == "validation_split"] == ["warning"]
    (told,) = of_the_split(found)
    kept = sorted(f"pictures/{item.path.name}" for item in found.scan.validation)
    assert f"2 pictures are both trained on and kept aside, so the validation loss looks better than it is: {', '.join(kept)}." in told
    assert "Give these datasets the same validation_split and validation_seed" in told
    (tmp_path / "data.toml").write_text(text.replace("VALUES64", share).replace("VALUES128", share), "utf-8")
    found = by_file(tmp_path)
    assert not of_the_split(found) and len(found.scan.validation) == 4


def test_a_copy_in_another_folder_of_the_dataset_is_told_with_both_names(tmp_path):
    kept = next(iter(surveyed(tmp_path, validation_split=0.2).scan.validation)).path
    other = draw_pictures(tmp_path / "pictures" / "1_dog", ((64, 80),) * 2)
    assert not of_the_split(surveyed(tmp_path, validation_split=0.2))
    (other / "copy.png").write_bytes(kept.read_bytes())
    (told,) = of_the_split(surveyed(tmp_path, validation_split=0.2))
    assert f"A picture is both trained on and kept aside, so the validation loss looks better than it is: 3_cat/{kept.name}" in told
    assert "(the same as 1_dog/copy.png). Keep each picture in one folder only." in told
    assert not of_the_split(surveyed(tmp_path))


def test_a_picture_that_also_teaches_the_class_is_told_once_it_is_reached(tmp_path):
    kept = next(iter(surveyed(tmp_path, validation_split=0.2).scan.validation)).path
    (tmp_path / "reg" / "1_cat" / "a.png").write_bytes(kept.read_bytes())
    assert "(the same as 1_cat/a.png)" in of_the_split(surveyed(tmp_path, validation_split=0.2))[0]
