"""Curves in TensorBoard's and in Weights & Biases' own files, under kohya's tags."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import report_to, train

wandb = pytest.importorskip("wandb")
wandb_internal_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")
BLOCK, WHOLE, LAST = 32768, 1, 4
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    os.environ.pop("WANDB_API_KEY", None)
    yield
    os.environ.pop("WANDB_API_KEY", None)
    wandb.teardown()


def told_to_wandb(folder: Path) -> dict[str, Any]:
    """What the file of one offline run holds: its project, name and config, and every line that was logged."""
    wandb.teardown()  # its service writes the file
    (path,) = folder.rglob("run-*.wandb")
    found: dict[str, Any] = {"lines": [], "config": {}}
    for data in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            found |= {"project": record.run.project, "name": record.run.display_name, "group": record.run.run_group}
            found["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update if not item.key.startswith("_")}
        if record.HasField("history"):
            found["lines"].append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item})
    return found


def records(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format (blocks of 32 KiB; checksum, length, kind, data) behind 7 bytes of its own."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (WHOLE, LAST):
            yield parts
            parts = b""


def scalars(folder: Path) -> dict[str, list[int]]:
    """Tags and the places of their points."""
    read = EventAccumulator(str(folder))
    read.Reload()
    return {tag: [point.step for point in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_weights_and_biases_is_told_every_step_under_kohyas_tags(tmp_path):
    given = {"log_with": "wandb", "logging_dir": tmp_path / "logs", "wandb_run_name": "my cats", "log_config": True}
    assert train(tmp_path, max_train_steps=6, wandb_api_key=KEY, **given) == 0
    told = told_to_wandb(tmp_path / "logs")
    assert (told["project"], told["name"]) == ("network_train", "my cats")
    steps = [line for line in told["lines"] if "loss/current" in line]
    assert [(line["global_step"], line["epoch"]) for line in steps] == [(step, 1 if step < 6 else 2) for step in range(1, 7)]
    assert {"loss/average", "lr/unet", "lr/textencoder"} <= set(steps[0])
    epochs = [(line["epoch"], "loss/epoch_average" in line) for line in told["lines"] if "loss/epoch_average" in line]
    assert epochs == [(1, True), (2, True)]
    assert told["config"]["network_dim"] == 4 and "wandb_api_key" not in told["config"] and "output_dir" not in told["config"]
    assert not list((tmp_path / "logs").rglob("*tfevents*"))


def test_the_key_stands_in_no_file(tmp_path, monkeypatch):
    report_to(tmp_path / "run", monkeypatch)
    given = {"log_with": "all", "logging_dir": tmp_path / "logs", "log_config": True, "output_config": None}
    assert train(tmp_path, max_train_steps=1, wandb_api_key=KEY, **given) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []


def test_settings_of_the_services_come_from_a_file(tmp_path):
    (tmp_path / "log.toml").write_text('[wandb]\nname = "from the file"\ngroup = "animals"\n[tensorboard]\nfilename_suffix = ".cats"\n', "utf-8")
    given = {"log_with": "all", "logging_dir": tmp_path / "logs", "log_tracker_config": tmp_path / "log.toml", "log_tracker_name": "zoo"}
    assert train(tmp_path, max_train_steps=1, **given) == 0
    told = told_to_wandb(tmp_path / "logs")
    assert (told["project"], told["name"], told["group"]) == ("zoo", "from the file", "animals")
    (file,) = (tmp_path / "logs").rglob("*tfevents*")
    assert file.name.endswith(".cats") and file.parent.name == "zoo"


@pytest.mark.parametrize("text", ["no toml", "[mlflow]\nname = 'x'", "wandb = 'x'", "[wandb]\nnosuchword = 1", None])
def test_wrong_settings_are_refused(tmp_path, capsys, text):
    if text is not None:
        (tmp_path / "log.toml").write_text(text, "utf-8")
    assert train(tmp_path, log_with="wandb", logging_dir=tmp_path / "logs", log_tracker_config=tmp_path / "log.toml") == 2
    assert "--log_" in capsys.readouterr().err


def test_without_a_key_there_is_no_run_on_the_net(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert train(tmp_path, log_with="wandb", logging_dir=tmp_path / "logs", max_train_steps=1) == 2
    assert "wandb_api_key" in capsys.readouterr().err and not (tmp_path / "out").exists()


OTHERS = {
    "train_db": ("dreambooth", {"loss", "loss/epoch", "lr/unet", "lr/text_encoder1"}),
    "sdxl_train": ("finetuning", {"loss", "loss/epoch", "lr/unet"}),
    "train_textual_inversion": ("textual_inversion", {"loss", "loss/epoch", "lr"}),
}


@pytest.mark.parametrize("script", OTHERS)
def test_other_trainers_have_kohyas_tags_of_their_own(tmp_path, script):
    name, tags = OTHERS[script]
    words = {"token_string": "zzcat", "init_word": "cat", "use_object_template": True} if script.endswith("inversion") else {}
    if words:
        words |= {"network_module": None, "network_dim": None}
    assert train(tmp_path, script, logging_dir=tmp_path / "logs", max_train_steps=2, **words) == 0
    (file,) = (tmp_path / "logs").glob(f"*/{name}/*tfevents*")
    found = scalars(file.parent)
    assert tags <= set(found) and "loss/current" not in found
    assert found["loss"] == [1, 2]
