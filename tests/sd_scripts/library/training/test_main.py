"""Another process's reason is told where a process only noticed that the other one went away."""

from __future__ import annotations

import json

import pytest
from tiny_runs import ADAPTER, SD, events, options

from sd_scripts.library.training.main import main

REASON = {"code": "data", "text": "a.png: It is broken.", "fix": "Replace it.", "exit_code": 2, "step": 3}


@pytest.mark.parametrize("processes", [1, 2])
def test_the_reason_of_another_process_is_told(processes, tmp_path, monkeypatch):
    words = options(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "error-1.json").write_text(json.dumps(REASON), "utf-8")
    monkeypatch.setenv("STUDIO_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr("sd_scripts.library.training.main.TRAINER", f"{__name__}:lost")
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    code = main("train_network", family=SD, method=ADAPTER, argv=words)
    told = events(tmp_path / "run")[-1]
    assert (code, told["exit_code"]) == ((2, 2) if processes == 2 else (1, 1))
    assert ("It is broken." in told["text"]) == (processes == 2)


def lost(request, report):
    """A trainer that loses its connection."""
    raise RuntimeError("Connection closed by peer [127.0.0.1]:4321")
