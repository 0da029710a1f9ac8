"""What a dataset config means and what lies at its paths: counts, buckets, cuts, and what is wrong with single pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kohya_gui.dataset_fields import field_text, fields_of, typed_value, unknown_keys
from kohya_gui.dataset_looks import Found, Job, Looker, Superseded, config_for, look
from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.survey.checks import survey

TRAIN = command("train_network")


def draw(path: Path, size: tuple[int, int] = (512, 512), *, caption: str | None = None, colour: str = "red") -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, "utf-8")


def config_of(**given: object) -> Config:
    return config_for(make_config(TRAIN, {"resolution": "512,512", "enable_bucket": True, "caption_extension": ".txt", **given}), "d.toml")


def found_in(data: dict[str, Any], **given: object) -> Found:
    return look(data, config_of(**given), allows=lambda path: "foreign" not in path, processes=1, job=Job("key"))


def kinds(found: Found, name: str, spot: tuple[int, int] = (0, 0)) -> list[str]:
    return [trouble.kind for trouble in found.subsets[spot].by_name[name].troubles]


def test_each_picture_is_told_what_is_wrong_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    draw(folder / "good.png", caption="a cat")
    draw(folder / "nocap.png", colour="blue")
    draw(folder / "blank.png", colour="green", caption=" \n")
    draw(folder / "lines.png", colour="white", caption="one\ntwo")
    draw(folder / "small.png", (128, 128), caption="x")
    draw(folder / "long.png", (3000, 300), caption="x")
    draw(folder / "latin.png", colour="black")
    (folder / "latin.txt").write_bytes("Kätzchen".encode("cp1252"))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("CMYK", (512, 512)).save(folder / "print.jpg")
    (folder / "print.txt").write_text("x")
    found = found_in({"datasets": [{"subsets": [{"image_dir": str(folder), "num_repeats": 2}]}]})
    assert {name: kinds(found, name) for name in found.subsets[0, 0].by_name} == {
        "good.png": [],
        "nocap.png": ["no caption"],
        "blank.png": ["blank caption"],
        "lines.png": ["lines"],
        "small.png": ["small"],
        "long.png": ["long", "cut"],
        "latin.png": ["encoding"],
        "broken.png": ["unreadable"],
        "print.jpg": ["CMYK"],
    }
    assert found.plan is not None and (found.plan.images, found.plan.items) == (8, 16)


def test_equal_content_is_found_over_all_subsets_and_the_same_file_twice_is_none(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png", caption="x")
    draw(tmp_path / "a" / "2.png", caption="x")
    draw(tmp_path / "b" / "3.png", caption="x")
    draw(tmp_path / "b" / "4.png", (512, 640), caption="x")
    rows = [{"image_dir": str(tmp_path / "a")}, {"image_dir": str(tmp_path / "b")}]
    found = found_in({"datasets": [{"subsets": rows}, {"resolution": 256, "subsets": rows[:1]}]})
    details = {picture.name: [trouble.detail for trouble in picture.troubles] for row in found.subsets.values() for picture in row.pictures}
    assert details == {"1.png": [], "2.png": ["1.png"], "3.png": ["a/1.png"], "4.png": []}
    assert kinds(found, "1.png", (1, 0)) == []


def test_the_cut_is_the_surveys_and_random_crop_is_no_loss(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "wide.png", (1024, 512), caption="x")
    data = {"datasets": [{"enable_bucket": False, "subsets": [{"image_dir": str(tmp_path / "a")}]}]}
    picture = found_in(data).subsets[0, 0].pictures[0]
    assert picture.cut is not None
    assert (picture.cut.resized, picture.cut.crop, picture.lost) == ((1024, 512), (256, 0), 0.5)
    assert [trouble.kind for trouble in picture.troubles] == ["cut"]
    data["datasets"][0]["subsets"][0]["random_crop"] = True
    assert found_in(data).subsets[0, 0].pictures[0].troubles == ()


def test_the_plan_is_the_one_of_the_train_page(tmp_path: Path) -> None:
    for number in range(5):
        draw(tmp_path / "a" / f"{number}.png", (512, 512 + 128 * (number % 2)), caption="x")
    text = f"[[datasets]]\nbatch_size = 2\n[[datasets.subsets]]\nimage_dir = '{tmp_path / 'a'}'\nnum_repeats = 3\n"
    (tmp_path / "d.toml").write_text(text, "utf-8")
    data = {"datasets": [{"batch_size": 2, "subsets": [{"image_dir": str(tmp_path / "a"), "num_repeats": 3}]}]}
    found = found_in(data, max_train_epochs=4)
    report = survey(config_for(config_of(max_train_epochs=4), str(tmp_path / "d.toml")))
    assert found.plan is not None and found.plan == report.plan
    assert [(row.count.bucket, row.count.items, len(row.examples)) for row in found.buckets] == [((448, 576), 6, 2), ((512, 512), 9, 3)]


def test_what_is_usable_is_shown_beside_what_is_not(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png", caption="x")
    draw(tmp_path / "foreign" / "1.png")
    draw(tmp_path / "b" / "1.png", caption="y", colour="blue")
    rows = [{"image_dir": str(tmp_path / name), "num_repeats": 3 if name == "b" else 1} for name in ("a", "gone", "foreign", "b")]
    found = found_in({"general": {"odd": 1}, "datasets": [{"subsets": rows}]})
    assert set(found.subsets) == {(0, 0), (0, 3)} and found.plan is None
    assert [(fault.spot, fault.key) for fault in found.faults] == [((), "odd"), ((0, 1), "image_dir"), ((0, 2), "image_dir")]
    assert (found.share((0, 0)), found.share((0, 3)), found.share((0, 1))) == (0.25, 0.75, 0.0)


def test_captions_with_another_ending_are_named(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png", caption="x")
    data = {"datasets": [{"subsets": [{"image_dir": str(tmp_path / "a"), "caption_extension": ".caption"}]}]}
    assert found_in(data).subsets[0, 0].other_ending == ".txt"


def test_a_newer_look_ends_the_one_before(tmp_path: Path) -> None:
    looker, seen = Looker(), []

    def slow(job: Job) -> Found:
        while True:
            try:
                job.progress(0, 1)
            except Superseded:
                seen.append("ended")
                raise

    first = looker.ask("ann", 1, slow)
    assert looker.ask("ann", 1, slow) is first
    second = looker.ask("ann", 2, lambda job: found_in({}))
    assert first.ready.wait(10) and second.ready.wait(10)
    assert (seen, first.found, second.wrong) == (["ended"], None, "") and second.found is not None
    looker.forget("ann")
    assert looker.ask("ann", 2, lambda job: found_in({})) is not second


def test_a_look_that_fails_says_so() -> None:
    def failing(job: Job) -> Found:
        raise OSError(5, "Input/output error")

    job = Looker().ask("ann", 1, failing)
    assert job.ready.wait(10) and "Input/output error" in job.wrong


def test_a_field_falls_back_from_subset_to_dataset_to_general_to_the_form() -> None:
    data = {"general": {"keep_tokens": 1, "flip_aug": True}, "datasets": [{"keep_tokens": 2, "subsets": [{"num_repeats": 7, "own": 1}]}]}
    fields = {row.key.name: row for row in fields_of(data, (0, 0), config_of(shuffle_caption=True))}
    told = {name: (row.own, row.inherited, row.source) for name, row in fields.items()}
    assert told["keep_tokens"] == (None, 2, (0,)) and told["flip_aug"] == (None, True, ()) and told["shuffle_caption"] == (None, True, None)
    assert (told["num_repeats"], fields["num_repeats"].value) == ((7, 1, None), 7)
    assert unknown_keys(data, (0, 0), config_of()) == ["own"] and unknown_keys(data, (), config_of()) == []


@pytest.mark.parametrize(
    "key, text, value",
    [
        ("num_repeats", "10", 10),
        ("flip_aug", "true", True),
        ("flip_aug", "", None),
        ("caption_dropout_rate", "0.1", 0.1),
        ("image_dir", " /a b/ü ", "/a b/ü"),
        ("face_crop_aug_range", "2.0, 4.0", "2.0, 4.0"),
        ("resize_interpolation", "area", "area"),
        ("custom_attributes.diff_output_preservation", "true", True),
        ("caption_prefix", " x ", " x "),
    ],
)
def test_typed_text_becomes_the_files_value(key: str, text: str, value: object) -> None:
    made = typed_value((0, 0), key, text, config_of())
    assert made == value and type(made) is type(value)


@pytest.mark.parametrize("text, value", [("512", 512), ("512,512", 512), ("512, 768", [512, 768])])
def test_a_size_is_one_number_for_a_square(text: str, value: object) -> None:
    assert typed_value((0,), "resolution", text, config_of()) == value
    assert field_text(value) in ("512", "512,768")


@pytest.mark.parametrize(
    "spot, key, text",
    [
        ((0, 0), "num_repeats", "0"),
        ((0, 0), "num_repeats", "many"),
        ((0, 0), "caption_dropout_rate", "1.5"),
        ((0, 0), "resize_interpolation", "best"),
        ((0, 0), "face_crop_aug_range", "4,2"),
        ((0,), "resolution", "large"),
        ((0,), "network_multiplier", "0"),
        ((0,), "image_dir", "/a"),
        ((0, 0), "nonsense", "1"),
    ],
)
def test_what_a_trainer_refuses_is_refused(spot: tuple[int, ...], key: str, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        typed_value(spot, key, text, config_of())
    assert refused.value.field in (key, "dataset_repeats")


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png", caption="x")
    draw(tmp_path / "a" / "2.png", caption="x")
    data = {"datasets": [{"subsets": [{"image_dir": str(tmp_path / "a")}]}]}
    assert kinds(found_in(data), "2.png") == ["twin"]
    draw(tmp_path / "a" / "2.png", colour="blue")
    os.utime(tmp_path / "a" / "2.png", ns=(1, 1))
    assert kinds(found_in(data), "2.png") == []
