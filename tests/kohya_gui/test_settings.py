"""config.toml of the GUI."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kohya_gui.settings import HOME, ServerOptions, Settings, example_toml, read_settings
from sd_scripts.errors import ConfigError


def test_the_example_file_is_current() -> None:
    assert (HOME / "config.toml.example").read_text("utf-8") == example_toml()


def test_the_example_says_nothing_until_a_line_is_uncommented(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(example_toml(), "utf-8")
    assert read_settings(path) == read_settings(None)


def test_every_line_of_the_example_is_valid_once_uncommented(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") if " = " in line else line for line in example_toml().splitlines()]
    path = tmp_path / "config.toml"
    path.write_text("\n".join(lines), "utf-8")
    settings = read_settings(path)
    assert settings.runs_dir == HOME / "runs"
    assert set(settings.defaults) == set(tomllib.loads("\n".join(lines))["defaults"])


def test_a_missing_file_means_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "none.toml") == read_settings(None)


def test_kohyas_nested_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        '[server]\nallowed_paths = ["/pictures"]\n'
        '[basic]\nlearning_rate = 3e-5\nmax_resolution = "768,768"\noptimizer = "Lion"\n[wd14_caption]\nthresh = 1\n',
        "utf-8",
    )
    settings = read_settings(path)
    assert settings.allowed_roots == (Path("/pictures"),)
    assert settings.defaults == {"learning_rate": 3e-5, "resolution": "768,768", "optimizer_type": "Lion"}
    assert settings.ignored == ("wd14_caption.thresh",)


@pytest.mark.parametrize("text", ["runs_dir = 3", "poll_seconds = 0", 'allowed_roots = "x"', "runs_dir = "])
def test_a_wrong_type_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError):
        read_settings(path)


def test_relative_folders_count_from_the_program(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('runs_dir = "elsewhere"', "utf-8")
    assert read_settings(path).runs_dir == HOME / "elsewhere"


def test_a_password_is_not_in_what_is_printed_of_the_options() -> None:
    assert "hunter2" not in repr(ServerOptions(password="hunter2"))


def test_chosen_roots_replace_the_home_folder(tmp_path: Path) -> None:
    roots = Settings(runs_dir=tmp_path / "runs", allowed_roots=(tmp_path,)).roots()
    assert tmp_path.resolve() in roots
    assert Path.home().resolve() not in roots
