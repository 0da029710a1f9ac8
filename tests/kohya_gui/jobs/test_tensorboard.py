"""TensorBoard beside the pages: where logs are found, a start that nobody else can reach, another folder, an end, and what is passed through."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from kohya_gui.board_routes import PLACE, add_board_routes, narrowed
from kohya_gui.jobs.tensorboard import Board, has_logs, log_folders
from sd_scripts.errors import ConfigError
from tests.kohya_gui.small_runs import write_run

PATIENCE_S = 90.0


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with one curve."""
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path / "logs ä" / "cat"
    writer = SummaryWriter(str(folder))
    writer.add_scalar("loss/average", 0.25, 1)
    writer.close()
    return folder.parent


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """One that is stopped afterwards."""
    made = Board(tmp_path / "board.log")
    yield made
    made.stop()


def wait_for(done: Callable[[], bool]) -> None:
    """Until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


@pytest.mark.slow
def test_it_runs_for_this_server_alone_shows_another_folder_and_ends(board: Board, logs: Path, tmp_path: Path) -> None:
    app = FastAPI()
    add_board_routes(app, board)
    page = TestClient(app)
    assert page.get(PLACE).status_code == 503
    board.start(logs)
    wait_for(lambda: board.view().state != "starting")
    assert board.view().state == "running"
    assert board.address is not None
    secret = board.address.rsplit("/", 1)
    # Who knows the port but not the secret is told nothing of the logs.
    assert httpx.get(f"{secret[0]}/data/runs", trust_env=False).status_code == 404
    answer = page.get(PLACE)
    assert answer.status_code == 200
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert "http" not in answer.headers["content-security-policy"]
    wait_for(lambda: page.get(f"{PLACE}data/runs").json() == ["cat"])
    board.start(tmp_path)
    assert (board.starts, board.view().folder) == (2, tmp_path)
    ours = [child.pid for child in psutil.Process().children(recursive=True) if "board_process" in " ".join(child.cmdline())]
    assert len(ours) == 1
    board.stop()
    assert board.view().state == "off"
    wait_for(lambda: not psutil.pid_exists(ours[0]) or psutil.Process(ours[0]).status() == psutil.STATUS_ZOMBIE)


def test_a_folder_that_is_not_there_is_named(board: Board, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        board.start(tmp_path / "none")


def test_one_that_ends_by_itself_says_its_last_words(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.sh"
    broken.write_text("#!/bin/sh\necho no curves today >&2\nexit 3\n", "utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    board.start(tmp_path)
    wait_for(lambda: board.view().state == "failed")
    assert "no curves today" in board.view().reason


def test_logs_are_found_below_a_folder(logs: Path, tmp_path: Path) -> None:
    assert has_logs(logs.parent)
    (tmp_path / "empty").mkdir()
    assert not has_logs(tmp_path / "empty")


def test_folders_are_those_that_runs_were_told_to_write_to(tmp_path: Path, logs: Path) -> None:
    run = write_run(tmp_path / "runs", name="cat")
    (run / "config.toml").write_text(f'[Logging]\nlogging_dir = "{logs}"\n', "utf-8")
    gone = write_run(tmp_path / "runs", name="dog")
    (gone / "config.toml").write_text('[Logging]\nlogging_dir = "/no/such/folder"\n', "utf-8")
    assert log_folders(tmp_path / "runs", [tmp_path]) == [tmp_path, logs]


def test_a_policy_loses_other_hosts_and_gains_our_frame() -> None:
    policy = narrowed("default-src 'self'; img-src 'self' data: https://example.com blob:; frame-ancestors *")
    assert policy == "default-src 'self'; img-src 'self' data: blob:; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
