"""Problems on pages: a file is called short, its name is escaped, and a way leads to where it is mended."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.form.plan import problem_list
from kohya_gui.form.problems import pictures_link, problem_markup, problem_words, short_path
from kohya_gui.text import Words
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.problem import Problem, error, warning
from sd_scripts.survey.checks import survey

TRAIN = command("train_network")


@pytest.fixture
def problems(tmp_path: Path) -> list[Problem]:
    """What the survey says of a folder with a broken picture and a caption in another encoding."""
    folder = tmp_path / "Bilder ö" / "3_süße <b>"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64), "teal").save(folder / name)
    (folder / "a.txt").write_bytes("süß".encode("cp1252"))
    (folder / "kaputt.png").write_bytes(b"no picture")
    return survey(make_config(TRAIN, {"train_data_dir": str(folder.parent), "resolution": "64,64", "caption_extension": ".txt"})).problems


def of(problems: list[Problem], name: str) -> Problem:
    (found,) = [problem for problem in problems if Path(problem.path).name == name]
    return found


def test_a_file_is_called_by_its_folder_and_its_name(problems: list[Problem], tmp_path: Path) -> None:
    broken = of(problems, "kaputt.png")
    assert problem_words(broken) == "3_süße <b>/kaputt.png: The file is no picture that can be read."
    shown = problem_markup(broken)
    assert ">3_süße &lt;b&gt;/kaputt.png<" in shown and "<b>/kaputt" not in shown
    assert f'title="{tmp_path}' in shown


def test_each_file_and_each_folder_has_a_way_to_its_pictures(problems: list[Problem], tmp_path: Path) -> None:
    shown = problem_list(problems, TRAIN, Words(), root_path="/studio")
    folder = "%2F3_s%C3%BC%C3%9Fe%20%3Cb%3E"
    for name in ("%2Fkaputt.png", "%2Fa.txt", ""):
        assert f'{folder}{name}" class="link"' in shown
    assert shown.count('href="/studio/dataset?at=') == 3


def test_a_problem_of_an_option_has_none() -> None:
    plain = warning("network_dim", "It is large: /a/b.png.", "Use less.")
    assert (pictures_link(plain, ""), problem_words(plain)) == (None, "It is large: /a/b.png.")
    assert "dataset?at" not in problem_list([plain], TRAIN, Words())


def test_a_message_that_does_not_begin_with_its_path_stays_whole() -> None:
    found = error("train_data_dir", "10_cat: no picture has a caption.", path=Path("/data/10_cat"))
    assert problem_words(found) == "10_cat: no picture has a caption."
    assert short_path("a.png") == "a.png"
