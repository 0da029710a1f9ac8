"""Metadata files: captions and tags of many pictures in one file, in every shape that kohya's tools have written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_runs
from PIL import Image

from sd_scripts.errors import ConfigError
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import command
from sd_scripts.survey.blueprint import read_blueprint
from sd_scripts.survey.items import Scan, scan
from sd_scripts.survey.metadata_file import Entry


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(folder / name)
    return folder


def written(path: Path, content: object) -> Path:
    lines = [json.dumps(row) for row in content] if isinstance(content, list) else [json.dumps(content)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def scanned(root: Path, metadata: Path, *words: str) -> Scan:
    model = tiny_runs.micro_model(root)
    argv = ["--pretrained_model_name_or_path", str(model), "--train_data_dir", str(root / "pictures"), "--in_json", str(metadata)]
    return scan(read_blueprint(parse_args(command("fine_tune"), [*argv, "--resolution", "64", *words])))


def captions(found: Scan) -> dict[str, str]:
    return {item.path.name: item.caption for item in found.items}


@pytest.mark.parametrize(
    "key",
    ["a.png", "a", "{folder}/a.png", "{folder}/a"],
    ids=["name", "stem", "full path", "full path without extension"],
)
def test_a_key_is_a_path_with_or_without_extension(tmp_path, key):
    folder = pictures(tmp_path / "pictures", "a.png")
    found = scanned(tmp_path, written(tmp_path / "meta.json", {key.format(folder=folder): {"caption": "a cat", "tags": "red, blue"}}))
    assert captions(found) == {"a.png": "a cat,red, blue"}
    assert not found.problems


def test_a_key_may_begin_where_the_program_was_started(tmp_path, monkeypatch):
    pictures(tmp_path / "elsewhere", "a.png")
    pictures(tmp_path / "pictures", "b.png")
    monkeypatch.chdir(tmp_path)
    found = scanned(tmp_path, written(tmp_path / "meta.json", {"elsewhere/a.png": {"caption": "a cat"}, "b.png": {"caption": "a dog"}}))
    assert captions(found) == {"a.png": "a cat", "b.png": "a dog"}


def test_lines_name_pictures_in_folders_below(tmp_path):
    pictures(tmp_path / "pictures", "one/a.png", "two/a.png", "b.v2.png")
    rows = [
        {"image_path": "one/a.png", "caption": "first", "image_size": [1, 1]},
        {"image_path": "two/a", "tags": "second"},
        {"image_path": "b.v2", "caption": "third"},
    ]
    found = scanned(tmp_path, written(tmp_path / "meta.jsonl", rows))
    assert [item.caption for item in found.items] == ["first", "second", "third"]
    assert {item.size for item in found.items} == {(64, 64)}


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (Entry("a cat", "red,blue"), "a cat,red,blue"),
        (Entry("a cat", ""), "a cat"),
        (Entry("", "red,blue"), "red,blue"),
        (Entry("a cat\n\n a dog ", "red"), "a cat,red\na dog,red"),
        (Entry("a cat", "red\nblue"), "a cat,red,blue"),
        (Entry(), ""),
    ],
)
def test_tags_follow_each_line_of_the_caption(entry, text):
    assert entry.text(",") == text


def test_what_is_wrong_is_named(tmp_path):
    pictures(tmp_path / "pictures", "a.png", "b.png", "c.png")
    found = scanned(tmp_path, written(tmp_path / "meta.json", {"a": {"caption": "a cat"}, "b": {}, "lost": {"caption": "nobody"}}))
    words = [(problem.severity, problem.field, problem.message) for problem in found.problems]
    assert len(words) == 3
    assert words[0][:2] == ("error", "in_json") and "lost" in words[0][2] and "meta.json names this picture" in words[0][2]
    assert any(severity == "warning" and "c.png" in message and "not in the metadata file" in message for severity, _, message in words)
    assert any(severity == "warning" and "neither a caption nor tags for b" in message for severity, _, message in words)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("meta.json", "{", "no valid JSON"),
        ("meta.json", "[]", "no table"),
        ("meta.json", "{}", "names no picture"),
        ("meta.json", '{"a": 3}', "entry of a is 3"),
        ("meta.json", '{"a": {"caption": ["x"]}}', "caption of a is"),
        ("meta.jsonl", '{"caption": "x"}', "Line 1 has no image_path"),
        ("meta.jsonl", '{"image_path": "a"}\n{', "line 2"),
        ("meta.json", None, "cannot be read"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, name, content, words):
    pictures(tmp_path / "pictures", "a.png")
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as raised:
        scanned(tmp_path, tmp_path / name)
    assert raised.value.field == "in_json" and raised.value.fix


def test_a_subset_of_a_dataset_file_may_name_one_without_a_folder(tmp_path):
    folder = pictures(tmp_path / "pictures", "a.png", "b.png")
    written(folder / "meta.json", {"a": {"caption": "a cat"}})
    config = tmp_path / "data.toml"
    rows = ["[[datasets]]", "[[datasets.subsets]]", f'metadata_file = "{folder / "meta.json"}"', "num_repeats = 3"]
    again = ["[[datasets.subsets]]", f'metadata_file = "{folder / "meta.json"}"']
    config.write_text("\n".join(rows + again), encoding="utf-8")
    argv = ["--pretrained_model_name_or_path", str(tiny_runs.micro_model(tmp_path)), "--dataset_config", str(config), "--resolution", "64"]
    blueprint = read_blueprint(parse_args(command("train_network"), argv))
    assert [problem.message for problem in blueprint.problems if "same file" in problem.message]
    found = scan(blueprint)
    assert captions(found) == {"a.png": "a cat"} and found.items[0].repeats == 3
