"""From folders and dataset config files to datasets, and what is refused on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.errors import ConfigError, DataError
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command
from sd_scripts.survey.blueprint import Blueprint, read_blueprint
from sd_scripts.survey.dataset_config import parse_document, read_document
from sd_scripts.survey.dataset_options import KEYS_OF, keys_of

TRAIN = command("train_network")


def _pictures(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True)
        Image.new("1", (8, 8)).save(folder / "a.png")


def _folders(root: Path, *words: str) -> Blueprint:
    return read_blueprint(parse_args(TRAIN, ["--train_data_dir", str(root), "--resolution", "512", *words]))


def _file(path: Path, text: str, *words: str) -> Blueprint:
    path.write_text(text, "utf-8")
    return read_blueprint(parse_args(TRAIN, ["--dataset_config", str(path), *words]))


def test_numbered_folders_are_subsets_with_repeats_and_class_tokens(tmp_path):
    _pictures(tmp_path / "10_sks cat_a", tmp_path / "3_dog")
    blueprint = _folders(tmp_path, "--flip_aug", "--keep_tokens", "2", "--train_batch_size", "3")
    assert [(subset.num_repeats, subset.class_tokens) for subset in blueprint.datasets[0].subsets] == [(10, "sks cat_a"), (3, "dog")]
    assert blueprint.datasets[0].subsets[0].flip_aug and blueprint.datasets[0].subsets[0].captions.keep_tokens == 2
    assert (blueprint.datasets[0].batch_size, blueprint.datasets[0].resolution) == (3, (512, 512))


def test_a_plain_folder_is_one_subset_with_the_repeats_and_tokens_given(tmp_path):
    _pictures(tmp_path / "my pictures")
    subset = _folders(tmp_path / "my pictures", "--dataset_repeats", "7", "--class_tokens", "sks").datasets[0].subsets[0]
    assert (subset.image_dir, subset.num_repeats, subset.class_tokens) == (tmp_path / "my pictures", 7, "sks")


def test_pointing_at_the_numbered_folder_itself_is_told(tmp_path):
    _pictures(tmp_path / "10_cat")
    blueprint = _folders(tmp_path / "10_cat")
    assert blueprint.datasets[0].subsets[0].num_repeats == 1
    assert "Set dataset_repeats to 10" in blueprint.problems[0].fix


def test_loose_pictures_and_unnumbered_folders_beside_numbered_ones_are_told(tmp_path):
    _pictures(tmp_path / "1_cat", tmp_path / "others", tmp_path / "0_none")
    Image.new("1", (8, 8)).save(tmp_path / "loose.png")
    blueprint = _folders(tmp_path)
    text = " ".join(map(str, blueprint.problems))
    assert len(blueprint.datasets[0].subsets) == 1
    assert "directly in" in text and "0_none, others are not used" in text and "1_none" in text


def test_regularisation_folders_are_subsets_too(tmp_path):
    _pictures(tmp_path / "t" / "1_cat", tmp_path / "r" / "2_animal")
    subsets = _folders(tmp_path / "t", "--reg_data_dir", str(tmp_path / "r")).datasets[0].subsets
    assert [(subset.is_reg, subset.num_repeats) for subset in subsets] == [(False, 1), (True, 2)]


@pytest.mark.parametrize("text", ["", "missing"])
def test_a_folder_that_is_not_there_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="--train_data_dir"):
        read_blueprint(parse_args(TRAIN, ["--resolution", "512", *(["--train_data_dir", str(tmp_path / text)] if text else [])]))


def test_a_folder_without_pictures_is_refused_and_the_unnumbered_one_below_is_named(tmp_path):
    with pytest.raises(DataError, match="no pictures"):
        _folders(tmp_path)
    _pictures(tmp_path / "cats")
    with pytest.raises(DataError, match="1_cats"):
        _folders(tmp_path)


def test_no_resolution_is_refused(tmp_path):
    _pictures(tmp_path / "1_x")
    with pytest.raises(ConfigError, match="--resolution"):
        read_blueprint(parse_args(TRAIN, ["--train_data_dir", str(tmp_path)]))


def test_a_key_falls_back_from_subset_to_dataset_to_general_to_the_command_line(tmp_path):
    _pictures(tmp_path / "a", tmp_path / "b")
    text = f"""
        [general]
        keep_tokens = 1
        caption_extension = ".txt"
        [[datasets]]
        resolution = [512, 768]
        batch_size = 4
        keep_tokens = 2
        [[datasets.subsets]]
        image_dir = {json.dumps(str(tmp_path / "a"))}
        keep_tokens = 3
        num_repeats = 5
        [[datasets.subsets]]
        image_dir = {json.dumps(str(tmp_path / "b"))}
        is_reg = true
        caption_dropout_rate = 1
    """
    blueprint = _file(tmp_path / "d.toml", text, "--shuffle_caption", "--resolution", "64", "--enable_bucket")
    dataset = blueprint.datasets[0]
    assert (dataset.resolution, dataset.batch_size, dataset.enable_bucket) == ((512, 768), 4, True)
    assert [subset.captions.keep_tokens for subset in dataset.subsets] == [3, 2]
    assert [subset.num_repeats for subset in dataset.subsets] == [5, 1]
    assert all(subset.captions.shuffle_caption and subset.caption_extension == ".txt" for subset in dataset.subsets)
    assert dataset.subsets[1].is_reg and dataset.subsets[1].captions.caption_dropout_rate == 1.0


def _subset(tmp_path: Path, line: str = "", *, where: str = "subset") -> str:
    lines = {scope: line if scope == where else "" for scope in ("top", "general", "dataset", "subset")}
    dataset = f"[[datasets]]\nresolution = 512\n{lines['dataset']}"
    subset = f"[[datasets.subsets]]\nimage_dir = {json.dumps(str(tmp_path / 'a'))}\n{lines['subset']}\n"
    return f"{lines['top']}\n[general]\n{lines['general']}\n{dataset}\n{subset}"


@pytest.mark.parametrize(
    ("line", "where", "words"),
    [
        ("num_repeat = 3", "subset", "Did you mean num_repeats"),
        ("batch_size = 3", "subset", "may stand in a general or dataset table"),
        ("is_reg = true", "general", "may stand in a subset table"),
        ("keep_tokens = 'many'", "dataset", r"datasets\[0\].keep_tokens: .* whole number"),
        ("caption_dropout_rate = 2.0", "subset", r"subsets\[0\].caption_dropout_rate"),
        ("resolution = '512x512'", "general", "general.resolution"),
        ("metadata_file = 'm.json'", "subset", r"subsets\[0\].metadata_file: .*cannot be read"),
        ("network_multiplier = true", "dataset", "is not a number"),
        ("custom_attributes = {diff_output_preservation = 1}", "subset", "not true or false"),
        ("datset = 1", "top", "top level"),
        ("is_reg = 1", "subset", "true or false"),
        ("min_bucket_reso = 600\nenable_bucket = true", "dataset", r"datasets\[0\].min_bucket_reso"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_refused_with_its_place(tmp_path, line, where, words):
    _pictures(tmp_path / "a")
    with pytest.raises(ConfigError, match=words) as refused:
        _file(tmp_path / "d.toml", _subset(tmp_path, line, where=where))
    assert refused.value.field == "dataset_config"


@pytest.mark.parametrize("line", ["network_multiplier = 1", "validation_split = 0", "token_warmup_step = 0", "caption_tag_dropout_rate = 0"])
def test_whole_numbers_are_fine_where_a_fraction_may_stand(tmp_path, line):
    _pictures(tmp_path / "a")
    assert _file(tmp_path / "d.toml", _subset(tmp_path, line, where="dataset")).datasets


@pytest.mark.parametrize("text", ["", "datasets = []", "[general]\n", "[[datasets]]\nresolution = 512", "not toml ]"])
def test_a_file_without_datasets_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="dataset_config"):
        _file(tmp_path / "d.toml", text)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_blueprint(parse_args(TRAIN, ["--dataset_config", str(tmp_path / "x.toml")]))


def test_subsets_without_use_are_left_out_with_a_reason(tmp_path):
    _pictures(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    extra = "".join(
        f"[[datasets.subsets]]\nimage_dir = {json.dumps(str(folder))}\n{line}\n"
        for folder, line in ((tmp_path / "a", ""), (tmp_path / "empty", ""), (tmp_path / "a", "num_repeats = 0"))
    )
    blueprint = _file(tmp_path / "d.toml", _subset(tmp_path) + extra, "--train_data_dir", "x")
    assert len(blueprint.datasets[0].subsets) == 1
    assert [problem.field for problem in blueprint.problems] == ["train_data_dir"] + ["dataset_config"] * 3


def test_json_says_the_same_as_toml(tmp_path):
    _pictures(tmp_path / "a")
    document = {"datasets": [{"resolution": 512, "subsets": [{"image_dir": str(tmp_path / "a")}]}]}
    assert _file(tmp_path / "d.json", json.dumps(document)) == _file(tmp_path / "d.toml", _subset(tmp_path))


def test_a_key_without_meaning_in_this_training_is_refused(tmp_path):
    _pictures(tmp_path / "a")
    (tmp_path / "d.toml").write_text(
        f"[[datasets]]\nresolution = 512\nvalidation_split = 0.1\n[[datasets.subsets]]\nimage_dir = {str(tmp_path / 'a')!r}\n"
    )
    with pytest.raises(ConfigError, match=r"datasets\[0\]\.validation_split: it has no meaning in this training"):
        read_blueprint(parse_args(command("train_db"), ["--dataset_config", str(tmp_path / "d.toml")]))


def test_an_editor_reads_on_after_mistakes_and_learns_where_they_are(tmp_path):
    _pictures(tmp_path / "a", tmp_path / "b", tmp_path / "foreign")
    text = f"""
        [general]
        resolution = 512
        shufle_caption = true
        [[datasets]]
        [[datasets.subsets]]
        image_dir = "{tmp_path}/gone"
        [[datasets.subsets]]
        image_dir = "{tmp_path}/a"
        keep_tokens = -1
        flip_aug = true
        [[datasets.subsets]]
        image_dir = "{tmp_path}/foreign"
        [[datasets.subsets]]
        image_dir = "{tmp_path}/a"
        [[datasets]]
        batch_size = 2
        [[datasets.subsets]]
        image_dir = "{tmp_path}/b"
    """
    config = parse_args(TRAIN, [])
    reading = read_document(parse_document(text, "d.toml"), config, allows=lambda path: "foreign" not in path)
    assert [(fault.spot, fault.key) for fault in reading.faults] == [
        ((), "shufle_caption"),
        ((0, 0), "image_dir"),
        ((0, 1), "keep_tokens"),
        ((0, 2), "image_dir"),
    ]
    assert "may not be opened" in str(reading.faults[3].error)
    assert reading.spots == (((0, 1),), ((1, 0),))
    assert [spot for spot, _ in reading.unused] == [(0, 3)]
    first, second = reading.blueprint.datasets
    assert (first.subsets[0].image_dir, first.subsets[0].flip_aug, first.subsets[0].captions.keep_tokens) == (tmp_path / "a", True, 0)
    assert (second.batch_size, second.resolution) == (2, (512, 512))


@pytest.mark.parametrize("scope", ["general", "dataset", "subset"])
def test_every_key_of_a_table_is_declared_once(scope):
    names = [key.name.partition(".")[0] for key in keys_of(scope, TRAIN)]
    assert sorted(names) == sorted(set(KEYS_OF[scope]) - {"subsets"})


def test_keys_without_meaning_in_a_training_are_not_offered():
    names = {key.name for key in keys_of("dataset", command("train_db"))}
    assert "batch_size" in names and not names & {"network_multiplier", "validation_split", "custom_attributes.diff_output_preservation"}
