"""config.toml as the Settings page edits it: what was not touched stays, what is wrong is not written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kohya_gui.settings import read_settings
from kohya_gui.settings_file import default_value, open_settings_file
from sd_scripts.errors import ConfigError

OWN = """# mine, with a comment
runs_dir = "elsewhere"  # on the large disk
something = 1

[server]
listen = "0.0.0.0"

[defaults]
# why: small pictures
network_dim = 8
learning_rate = 1e-4
"""


def test_what_was_not_touched_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(OWN, "utf-8")
    open_settings_file(path).edited({"preset": "x"}, {"network_dim": 16, "learning_rate": 1e-4}).write()
    assert path.read_text("utf-8") == OWN.replace("something = 1\n", 'something = 1\npreset = "x"\n').replace("network_dim = 8", "network_dim = 16")


def test_a_file_that_is_not_there_begins_as_the_example_with_its_line_taken_into_use(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    open_settings_file(path).edited({"poll_seconds": 3.0, "output_dir": "/big/ö"}, {"network_dim": 4}).write()
    text = path.read_text("utf-8")
    assert "\npoll_seconds = 3.0\n" in text
    assert "# poll_seconds" not in text
    settings = read_settings(path)
    assert (settings.poll_seconds, settings.output_dir, settings.defaults) == (3.0, Path("/big/ö"), {"network_dim": 4})


def test_an_option_that_is_taken_out_of_the_defaults_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(OWN, "utf-8")
    open_settings_file(path).edited({}, {}).write()
    assert tomllib.loads(path.read_text("utf-8")).get("defaults") == {}
    assert "# why: small pictures" in path.read_text("utf-8")


def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wrong type"):
        open_settings_file(tmp_path / "config.toml").edited({"poll_seconds": -1.0}, {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("a = = 1", "utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_settings_file(path)


def test_another_text_has_another_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    before = open_settings_file(path).mark
    path.write_text("# typed by hand", "utf-8")
    assert open_settings_file(path).mark != before


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("network_dim", "12", 12),
        ("learning_rate", "1e-4", 1e-4),
        ("cache_latents", "true", True),
        ("network_args", "conv_dim=4 conv_alpha=1", ["conv_dim=4", "conv_alpha=1"]),
    ],
)
def test_a_typed_default_has_its_options_type(name: str, text: str, value: object) -> None:
    assert default_value(name, text) == value


@pytest.mark.parametrize(("name", "text"), [("no_such", "1"), ("network_dim", "twelve"), ("network_dim", ""), ("huggingface_token", "hf_x")])
def test_what_is_no_default_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError):
        default_value(name, text)
