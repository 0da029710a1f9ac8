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
    draw_pictures(root / "reg" / "1_cat", ((64, 64),) * 4)
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
    found = surveyed(tmp_path, train_data_dir=None, reg_data_dir=None, resolution=None, dataset_config=str(tmp_path / "data.toml"))
    assert [item.dataset for item in found.scan.validation] == [0, 0]
    assert [item.dataset for item in found.scan.items] == [0, 0, 1, 1, 1, 1]
