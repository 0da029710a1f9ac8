"""The picture of before and after."""

from __future__ import annotations

from PIL import Image

from kohya_gui.jobs.contact_sheet import before_and_after
from kohya_gui.jobs.monitor import Sample


def sample(folder, step: int, colour: str, index: int = 0) -> Sample:
    path = folder / f"{index}-{step}.png"
    Image.new("RGB", (64, 64), colour).save(path)
    return Sample(path.name, "a 猫 on a mat --w 64", step, 1, index)


def test_first_and_last_picture_of_each_prompt_stand_side_by_side(tmp_path):
    samples = [
        sample(tmp_path, 50, "blue"),
        sample(tmp_path, 0, "red"),
        sample(tmp_path, 20, "lime"),
        sample(tmp_path, 0, "red", 1),
        sample(tmp_path, 50, "blue", 1),
    ]
    path = before_and_after(samples, tmp_path / "out.png", base=tmp_path)
    with Image.open(path) as sheet:
        middle = [sheet.getpixel((16 + 128, 16 + 40 + 128)), sheet.getpixel((2 * 16 + 256 + 128, 16 + 40 + 128))]
        assert (middle, sheet.height) == ([(255, 0, 0), (0, 0, 255)], 16 + 2 * (256 + 40 + 16))


def test_one_picture_alone_makes_no_comparison(tmp_path):
    assert before_and_after([sample(tmp_path, 0, "red")], tmp_path / "out.png", base=tmp_path) is None


def test_a_picture_that_was_deleted_is_left_out(tmp_path):
    samples = [sample(tmp_path, 0, "red"), sample(tmp_path, 5, "blue")]
    (tmp_path / samples[0].path).unlink()
    assert before_and_after(samples, tmp_path / "out.png", base=tmp_path) is None
