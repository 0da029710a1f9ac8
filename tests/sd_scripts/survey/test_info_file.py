"""What `cache_info` remembers: used while it fits, and never instead of what is there."""

from __future__ import annotations

import json
import os

import pytest
import tiny_runs
from PIL import Image
from tiny_runs import train

from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.survey import picture_folder
from sd_scripts.survey.blueprint import read_blueprint
from sd_scripts.survey.items import remember, scan


@pytest.fixture
def pictures(tmp_path):
    return tiny_runs.draw_pictures(tmp_path / "train" / "1_cat")


def found(folder):
    picture_folder._header.cache_clear()
    picture_folder._caption.cache_clear()
    given = {"train_data_dir": str(folder.parent), "cache_info": True, "resolution": "64", "caption_extension": ".txt"}
    blueprint = read_blueprint(make_config(command("train_network"), given))
    return blueprint, scan(blueprint)


def test_a_second_look_opens_no_picture(pictures):
    blueprint, first = found(pictures)
    assert remember(blueprint, first) == []
    _, second = found(pictures)
    assert second.items == first.items
    assert (picture_folder._header.cache_info().misses, picture_folder._caption.cache_info().misses) == (0, 0)


def test_the_file_has_kohyas_shape(pictures):
    blueprint, first = found(pictures)
    remember(blueprint, first)
    stored = json.loads((pictures / "metadata_cache.json").read_text("utf-8"))
    assert {path: (entry["caption"], entry["resolution"]) for path, entry in stored.items()} == {
        str(item.path): (item.caption, list(item.size)) for item in first.items
    }


def test_what_changed_since_is_read_anew(pictures):
    blueprint, first = found(pictures)
    remember(blueprint, first)
    Image.new("RGB", (80, 70)).save(pictures / "0.png")
    (pictures / "1.txt").write_text("something else", "utf-8")
    (pictures / "2.txt").unlink()
    Image.new("RGB", (90, 90)).save(pictures / "new.png")
    items = {item.path.name: item for item in found(pictures)[1].items}
    assert (items["0.png"].size, items["1.png"].caption, items["2.png"].caption, items["new.png"].size) == (
        (80, 70),
        "something else",
        "cat",
        (90, 90),
    )


def test_kohyas_own_file_is_not_believed_blindly(pictures):
    wrong = {str(pictures / "0.png"): {"caption": "wrong", "resolution": [1, 1]}}
    (pictures / "metadata_cache.json").write_text(json.dumps(wrong), "utf-8")
    os.utime(pictures / "metadata_cache.json")
    items = {item.path.name: item for item in found(pictures)[1].items}
    assert (items["0.png"].size, items["0.png"].caption) == ((64, 64), "cat, number 0, red, blue")


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "not json"])
def test_a_file_that_is_something_else_is_left_alone(pictures, content):
    path = pictures / "metadata_cache.json"
    path.write_text(content, "utf-8")
    blueprint, first = found(pictures)
    (problem,) = remember(blueprint, first)
    assert "left alone" in problem.message and path.read_text("utf-8") == content


def test_a_training_writes_it(tmp_path):
    assert train(tmp_path, cache_info=True, max_train_steps=1) == 0
    assert (tmp_path / "pictures" / "2_cat" / "metadata_cache.json").is_file()
