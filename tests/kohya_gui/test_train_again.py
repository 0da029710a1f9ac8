"""A run's settings as a draft for another training."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_gui.jobs.prompts import with_values
from kohya_gui.jobs.runs import CONFIG_FILE
from kohya_gui.jobs.states import Status, write_status
from kohya_gui.train_again import draft_again, free_name
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.config_file import dumps, read_config
from tests.kohya_gui.small_runs import append_event, write_run


def given_more(run: Path, **values: object) -> None:
    """Set further options in a run's config."""
    config = read_config(run / CONFIG_FILE, command("train_network"))
    (run / CONFIG_FILE).write_text(dumps(with_values(config, values)), "utf-8")


def test_all_settings_come_along_and_only_the_name_counts_as_changed(tmp_path):
    run = write_run(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cat.safetensors").touch()
    draft = draft_again(run, Path.cwd())
    assert (draft.script, draft.given["network_dim"], draft.given["output_name"]) == ("train_network", 4, "cat_2")
    assert draft.changed() == ("output_name",)
    assert draft.file == ""


def test_prompts_come_as_lines_that_can_be_edited(tmp_path):
    run = write_run(tmp_path)
    (run / "prompts.txt").write_text("a cat --w 64\n", "utf-8")
    given_more(run, sample_prompts=str(run / "prompts.txt"))
    draft = draft_again(run, Path.cwd())
    assert draft.prompts == "a cat --w 64"
    assert "sample_prompts" not in draft.given


def test_it_begins_at_its_beginning_where_the_run_was_resumed(tmp_path):
    run, state = write_run(tmp_path), str(tmp_path / "cat-step00000010-state")
    append_event(run, "save", path=state, what="state", step=10, epoch=1, bytes=1, tensors=1, sha256="", finite=True, final=False)
    given_more(run, resume=state)
    assert "resume" not in draft_again(run, Path.cwd()).given
    given_more(run, resume="/elsewhere/state")
    assert draft_again(run, Path.cwd()).given["resume"] == "/elsewhere/state"


def test_relative_paths_lead_to_where_they_led(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path)
    given_more(run, train_data_dir="pictures")
    assert draft_again(run, Path("/other")).given["train_data_dir"] == str(tmp_path / "pictures")


def test_the_name_of_a_run_that_still_writes_is_taken(tmp_path):
    run = write_run(tmp_path)
    assert draft_again(run, Path.cwd()).given["output_name"] == "cat"
    write_status(run, Status(state="queued"))
    assert draft_again(run, Path.cwd()).given["output_name"] == "cat_2"


@pytest.mark.parametrize(
    ("there", "name", "free"),
    [
        ((), "cat", "cat"),
        (("cat.safetensors",), "cat", "cat_2"),
        (("cat-step00000010.safetensors", "cat_2-state"), "cat", "cat_3"),
        (("cat_7.safetensors",), "cat_7", "cat_8"),
        (("category.safetensors",), "cat", "cat"),
        (("last.safetensors",), None, "last_2"),
    ],
)
def test_a_name_is_free_if_no_file_begins_with_it(tmp_path, there, name, free):
    for file in there:
        (tmp_path / file).touch()
    given = {"output_dir": str(tmp_path), **({"output_name": name} if name else {})}
    assert free_name(make_config(command("train_network"), given)) == free
