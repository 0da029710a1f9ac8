"""Uploads to a repository, against a server that speaks its protocol: what goes where, what failures do, and a state that comes back."""

from __future__ import annotations

import threading
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_server import Hub, running_hub
from tiny_runs import events, report_to, train

from sd_scripts.errors import ConfigError
from sd_scripts.library.training import uploads
from sd_scripts.library.training.report import Report
from sd_scripts.library.training.uploads import Uploads, open_uploads, with_fetched_state
from sd_scripts.library.weights_file import read_weights
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config

TOKEN = "hf_averysecrettoken"
REPO = {"huggingface_repo_id": "me/cats", "huggingface_path_in_repo": "runs/one"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    """The library tries again at once where it would wait a quarter of a minute."""
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Generator[Hub]:
    """A server, which is where uploads go."""
    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(uploads, "PAUSES_S", (0.0, 0.0, 0.0))
        yield running


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """The run folder that trainers of a test report to."""
    return report_to(tmp_path / "run", monkeypatch)


def config(**given: object) -> Config:
    return make_config(command("train_network"), {**REPO, **given})


@pytest.mark.parametrize("way", [{}, {"async_upload": True}], ids=["at-once", "async"])
def test_every_checkpoint_and_state_goes_up_byte_for_byte(tmp_path, hub, run_dir, way):
    given = {**REPO, **way, "save_state": True, "save_state_to_huggingface": True, "save_every_n_steps": 2}
    assert train(tmp_path, **given) == 0
    local = {f"me/cats/runs/one/{path.relative_to(tmp_path / 'out')}": path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert hub.files == local
    assert {name.split("/")[4] for name in local} == {"cat.safetensors", "cat-state", "cat-step00000002.safetensors", "cat-step00000002-state"}
    assert hub.repos["me/cats"]["visibility"] == "private"
    assert events(run_dir, "warning") == []


def test_the_token_is_sent_and_written_nowhere(tmp_path, hub, run_dir, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert train(tmp_path, **REPO, huggingface_token=TOKEN, log_config=True, logging_dir=tmp_path / "logs") == 0
    assert f"Bearer {TOKEN}" in hub.tokens
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert holding == [] and not any(TOKEN.encode() in content for content in hub.files.values())


def test_states_stay_here_unless_they_are_wanted_there(tmp_path, hub):
    assert train(tmp_path, huggingface_repo_id="me/cats", save_state=True, max_train_steps=1) == 0
    assert set(hub.files) == {"me/cats/cat.safetensors"}


def test_a_public_repository_is_made_only_where_it_is_asked_for(hub):
    open_uploads(config(huggingface_repo_visibility="public"), Report(None))
    assert hub.repos["me/cats"]["visibility"] == "public"


@pytest.mark.parametrize(
    ("given", "kind"), [({}, "models"), ({"huggingface_repo_type": "model"}, "models"), ({"huggingface_repo_type": "dataset"}, "datasets")]
)
def test_files_go_to_a_repository_of_the_kind_asked_for(tmp_path, hub, given, kind):
    sending = open_uploads(config(**given), Report(None))
    (tmp_path / "cat.safetensors").write_bytes(b"weights")
    assert sending is not None
    sending.send(tmp_path / "cat.safetensors")
    sending.finish()
    assert hub.kinds == {kind} and list(hub.files) == ["me/cats/runs/one/cat.safetensors"]
    assert f"{hub.repos['me/cats'].get('type') or 'model'}s" == kind


@pytest.mark.parametrize("alone", [False, True], ids=["at-once", "async"])
def test_training_goes_on_during_an_async_upload_alone(tmp_path, hub, alone):
    """The server takes nothing in until it is opened."""
    (tmp_path / "cat.safetensors").write_bytes(b"weights")
    sending = open_uploads(config(async_upload=alone), Report(None))
    assert sending is not None
    hub.open.clear()
    training = threading.Thread(target=sending.send, args=(tmp_path / "cat.safetensors",))
    training.start()
    training.join(0.5 if not alone else 10)
    assert (training.is_alive(), hub.files) == (not alone, {})
    hub.open.set()
    training.join(10)
    sending.finish()
    assert list(hub.files) == ["me/cats/runs/one/cat.safetensors"]


@pytest.mark.parametrize("way", [{}, {"async_upload": True}], ids=["at-once", "async"])
def test_a_failure_is_told_and_mended_at_the_end(tmp_path, hub, run_dir, way):
    hub.fail = 1
    assert train(tmp_path, **REPO, **way, save_every_n_steps=2) == 0
    assert {Path(name).name for name in hub.files} == {"cat-step00000002.safetensors", "cat.safetensors"}
    (warning,) = [event for event in events(run_dir, "warning") if event["code"] == "upload"]
    assert "cat-step00000002.safetensors" in warning["text"] and "again" in warning["fix"]


def test_a_training_outlives_uploads_that_never_work(tmp_path, hub, run_dir):
    hub.fail = 1000
    assert train(tmp_path, **REPO, max_train_steps=1) == 0
    warnings = [event["fix"] for event in events(run_dir, "warning")]
    assert len(warnings) == 2 and str(tmp_path / "out") in warnings[1]
    assert hub.fail == 1000 - 4 and hub.files == {}
    assert (tmp_path / "out" / "cat.safetensors").is_file() and events(run_dir)[-1]["exit_code"] == 0


def test_a_stopped_run_uploads_what_it_saved(tmp_path, hub, run_dir):
    (run_dir / "control").mkdir()
    (run_dir / "control" / "stop").write_text("{}")
    assert train(tmp_path, **REPO, async_upload=True) == 3
    assert {Path(name).name for name in hub.files} == {"cat-step00000001.safetensors"}


def test_an_upload_is_waited_for_before_its_file_goes(tmp_path, hub):
    sending = open_uploads(config(async_upload=True), Report(None))
    assert isinstance(sending, Uploads)
    path = tmp_path / "old.safetensors"
    path.write_bytes(b"weights")
    sending.send(path)
    sending.wait_for(path)
    path.unlink()
    assert hub.files == {"me/cats/runs/one/old.safetensors": b"weights"}
    sending.finish()


def test_a_token_that_is_refused_is_told_before_anything_is_loaded(tmp_path, hub, run_dir, capsys):
    hub.refuse = True
    assert train(tmp_path, **REPO) == 2
    assert "huggingface_repo_id" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_server_that_is_away_is_only_told(tmp_path, monkeypatch, run_dir):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(uploads, "PAUSES_S", (0.0,))
    assert train(tmp_path, **REPO, max_train_steps=1) == 0
    assert {event["code"] for event in events(run_dir, "warning")} == {"upload"}


def test_a_run_goes_on_from_a_state_in_a_repository(tmp_path, hub, run_dir):
    given = {"max_train_steps": 4, "save_every_n_steps": 2, "save_state": True}
    assert train(tmp_path, output_name="whole", save_state_to_huggingface=True, **REPO, **given) == 0
    state = "me/cats/runs/one/whole-step00000002-state"
    assert train(tmp_path, output_name="rest", resume=state, resume_from_huggingface=True, **given) == 0
    whole, rest = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("whole", "rest"))
    assert all(whole[key].equal(rest[key]) for key in whole)


@pytest.mark.parametrize("state", ["me/cats/nowhere-state", "nobody/here/at-all", "me/cats/nowhere-state:main:model"])
def test_a_state_that_is_not_there_is_refused(hub, state):
    hub.files["me/cats/other.txt"] = b"x"
    with pytest.raises(ConfigError, match="resume"):
        with_fetched_state(config(resume=state, resume_from_huggingface=True))
