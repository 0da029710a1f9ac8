"""Making and listing run folders."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from kohya_gui.jobs.promise import Promised, promise
from kohya_gui.jobs.runs import create_run, list_runs, make_run_folder, read_status
from sd_scripts.errors import RunError
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.config_file import read_config

LORA = command("train_network")


def test_a_new_run_is_queued_and_says_what_was_asked(tmp_path):
    config = make_config(LORA, {"output_name": "cat", "output_dir": str(tmp_path / "out"), "network_dim": 8})
    run = create_run(tmp_path / "runs", config, argv=["a", "b"], promised=[Promised("/o/cat.safetensors", "weights")], dataset=["x"])
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert run.name.endswith("_cat")
    assert read_status(run).state == "queued"
    assert (record["argv"], record["promise"]) == (["a", "b"], [{"path": "/o/cat.safetensors", "kind": "weights"}])
    assert read_config(run / "config.toml", LORA).given == config.given


def test_no_secret_is_written_into_the_run_folder(tmp_path):
    config = make_config(LORA, {"wandb_api_key": "s3cr3t-key", "huggingface_token": "hf_s3cr3t"})
    run = create_run(tmp_path, config, argv=["a"])
    assert not [path for path in run.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]


def test_runs_made_at_the_same_moment_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: make_run_folder(tmp_path, "cat"), range(16)))
    assert len(set(folders)) == 16


@pytest.mark.parametrize("name", ["a/b", "..", "x" * 300, "猫" * 100, 'q"<>|', " dot. "])
def test_any_output_name_makes_a_folder_directly_below(tmp_path, name):
    folder = make_run_folder(tmp_path, name)
    assert folder.parent == tmp_path
    assert folder.is_dir()


def test_the_list_passes_over_what_is_no_run(tmp_path):
    run = create_run(tmp_path, argv=[sys.executable])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    (tmp_path / "broken" / "status.json").write_text("{")
    assert [summary.path for summary in list_runs(tmp_path)] == [run]


def test_a_folder_without_runs_has_none(tmp_path):
    assert list_runs(tmp_path / "absent") == []


def test_a_folder_that_is_no_run_is_refused_with_its_name(tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        read_status(tmp_path)


class Plan:
    save_epochs = (2, 4)
    save_steps = (30,)


def test_the_promise_names_files_as_kohya_does(tmp_path):
    config = make_config(LORA, {"output_name": "cat", "output_dir": str(tmp_path), "save_state": True})
    names = [file.path.removeprefix(f"{tmp_path}/") for file in promise(config, Plan())]
    assert names == [
        "cat-000002.safetensors",
        "cat-000004.safetensors",
        "cat-step00000030.safetensors",
        "cat.safetensors",
        "cat-000002-state",
        "cat-000004-state",
        "cat-step00000030-state",
        "cat-state",
    ]


def test_without_a_name_the_promise_has_kohyas_words(tmp_path):
    config = make_config(LORA, {"output_dir": str(tmp_path), "save_model_as": "ckpt"})
    assert [file.path.removeprefix(f"{tmp_path}/") for file in promise(config, Plan())] == [
        "epoch-000002.ckpt",
        "epoch-000004.ckpt",
        "at-step00000030.ckpt",
        "last.ckpt",
    ]
