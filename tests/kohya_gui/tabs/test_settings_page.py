"""The Settings page's server side: what is kept and used from then on, what is refused, tokens, and the text for reports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kohya_gui.app import make_desk
from kohya_gui.diagnostics import diagnostics_text, program_version
from kohya_gui.jobs.secrets import SECRETS_FILE, kept_ending, remembered_secrets
from kohya_gui.settings import ServerOptions, read_settings
from kohya_gui.tabs.desk import LOCAL_USER, Desk
from kohya_gui.tabs.settings import content
from kohya_gui.tabs.settings_actions import SettingsActions
from sd_scripts.errors import ConfigError, DataError
from sd_scripts.params.commands import command
from tests.kohya_gui.small_runs import write_run


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk whose settings lie in a file; only the test's folder may be used."""
    path = tmp_path / "config.toml"
    folders = {name: str(tmp_path / name) for name in ("runs_dir", "output_dir", "models_dir", "datasets_dir")}
    lines = [f'{name} = "{folder}"' for name, folder in folders.items()]
    path.write_text("\n".join([f'allowed_roots = ["{tmp_path}"]', *lines, "", "[defaults]", "network_dim = 24", ""]), "utf-8")
    return make_desk(read_settings(path), ServerOptions())


@pytest.fixture
def actions(desk: Desk) -> SettingsActions:
    """The handlers."""
    return SettingsActions(desk, content)


def save(actions: SettingsActions, defaults: list[list[str]] | None = None, **values: str) -> dict[str, Any]:
    """Save as the page does."""
    return actions.save({"mark": actions.look({})["mark"], "values": values, "defaults": [["network_dim", "24"]] if defaults is None else defaults})


def test_what_is_saved_counts_at_once_and_stands_in_the_file(actions: SettingsActions, desk: Desk, tmp_path: Path) -> None:
    answer = save(actions, [["network_dim", "12"], ["seed", "7"]], output_dir=str(tmp_path / "elsewhere"), poll_seconds="0,5")
    assert "Saved in" in answer["told"]
    assert desk.settings.output_dir == tmp_path / "elsewhere"
    start = desk.start(command("train_network"))
    assert (start.value("network_dim"), start.value("seed"), start.value("output_dir")) == (12, 7, str(tmp_path / "elsewhere"))
    again = read_settings(tmp_path / "config.toml")
    assert (again.poll_seconds, again.defaults) == (0.5, {"network_dim": 12, "seed": 7})
    assert desk.drafts.read(LOCAL_USER).value("network_dim") == 12


def test_another_folder_for_runs_counts_from_the_next_start(actions: SettingsActions, desk: Desk, tmp_path: Path) -> None:
    answer = save(actions, runs_dir=str(tmp_path / "later"))
    assert "when the program is started again" in answer["told"]
    assert desk.settings.runs_dir == tmp_path / "runs_dir"
    assert read_settings(tmp_path / "config.toml").runs_dir == tmp_path / "later"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"output_dir": "/etc"}, DataError),
        ({"output_dir": ""}, ConfigError),
        ({"poll_seconds": "often"}, ConfigError),
        ({"preset": "no such preset"}, ConfigError),
        ({"allowed_roots": "/"}, ConfigError),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    actions: SettingsActions, desk: Desk, tmp_path: Path, values: dict[str, str], kind: type[Exception]
) -> None:
    before, settings = (tmp_path / "config.toml").read_text("utf-8"), desk.settings
    with pytest.raises(kind):
        save(actions, **values)
    assert (tmp_path / "config.toml").read_text("utf-8") == before
    assert desk.settings == settings


def test_a_file_that_was_edited_in_between_is_not_overwritten(actions: SettingsActions, tmp_path: Path) -> None:
    mark = actions.look({})["mark"]
    path = tmp_path / "config.toml"
    path.write_text(path.read_text("utf-8") + "seed = 1\n", "utf-8")
    with pytest.raises(ConfigError, match="changed by something else"):
        actions.save({"mark": mark, "values": {}, "defaults": []})


def test_one_option_twice_is_refused(actions: SettingsActions) -> None:
    with pytest.raises(ConfigError, match="twice"):
        save(actions, [["seed", "1"], ["seed", "2"]])


def test_a_token_is_kept_for_its_owner_alone_and_never_shown_whole(actions: SettingsActions, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    answer = actions.token({"variable": "HF_TOKEN", "value": " hf_abcdefghijklmnop "})
    runs = desk.settings.runs_dir
    assert (runs / SECRETS_FILE).stat().st_mode & 0o777 == 0o600
    assert remembered_secrets(runs)["HF_TOKEN"] == "hf_abcdefghijklmnop"
    assert "it ends in mnop" in answer["page"]
    assert "hf_abc" not in answer["page"]
    assert "None is kept" in re.split("Weights", actions.token({"variable": "HF_TOKEN", "value": None})["page"])[0]
    assert kept_ending(runs, "HF_TOKEN") is None


@pytest.mark.parametrize(("variable", "value"), [("HF_TOKEN", ""), ("HF_TOKEN", "two words"), ("PATH", "x")])
def test_what_is_no_token_is_refused(actions: SettingsActions, variable: str, value: str) -> None:
    with pytest.raises(ConfigError):
        actions.token({"variable": variable, "value": value})


def test_the_form_lends_what_it_changes_but_no_place(actions: SettingsActions, desk: Desk, tmp_path: Path) -> None:
    desk.drafts.update(LOCAL_USER, lambda draft: draft.with_value("seed", 9).with_value("train_data_dir", str(tmp_path)))
    assert actions.from_form({}, LOCAL_USER) == {"rows": [["seed", "9"]]}


def test_the_text_for_reports_says_versions_and_runs_and_no_secrets(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run = write_run(desk.settings.runs_dir, name="cat", state="failed", reason="The card is full.")
    (run / "log.txt").write_text("login with hf_abcdefghijklmnop\nOutOfMemoryError", "utf-8")
    text = diagnostics_text(desk)
    for words in (program_version(), "torch: 2.", "The card is full.", "OutOfMemoryError", "~/runs_dir", "defaults.network_dim: 24"):
        assert words in text
    assert "hf_abc" not in text
    assert str(tmp_path) not in text
