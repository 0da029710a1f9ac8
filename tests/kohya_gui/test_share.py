"""A public link, with a stand-in for the client program that Gradio fetches: no test leaves this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from gradio import tunneling

from kohya_gui.share import open_link, share_in_background
from sd_scripts.errors import RunError

GOOD = "echo 'start proxy success: http://abc.relay.test'; exec sleep 30"
BAD = "echo 'login to server failed: no such host'; exec sleep 30"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a shell script where Gradio looks for its client program; whatever was started is ended."""

    def make(script: str) -> Path:
        path = tmp_path / "frpc"
        path.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/words"\n{script}\n', "utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(path))
        return tmp_path / "words"

    yield make
    while tunneling.CURRENT_TUNNELS:
        tunneling.CURRENT_TUNNELS.pop().kill()


def test_the_link_leads_to_our_port_under_a_name_nobody_can_guess(client) -> None:
    words = client(GOOD)
    assert open_link("127.0.0.1", 7865, relay="127.0.0.1:1") == "http://abc.relay.test/"
    said = words.read_text("utf-8").split()
    assert said[said.index("-l") + 1] == "7865" and said[said.index("-i") + 1] == "127.0.0.1"
    assert len(said[said.index("-n") + 1]) > 40


def test_without_a_link_the_other_way_is_told(client) -> None:
    client(BAD)
    with pytest.raises(RunError, match=r"No public link could be made.*ssh -L 7865:127\.0\.0\.1:7865"):
        open_link("127.0.0.1", 7865, relay="127.0.0.1:1")


def test_the_terminal_gets_one_line_while_the_page_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("kohya_gui.share.setup_tunnel", lambda *_: "https://abc.relay.test")
    share_in_background("127.0.0.1", 7865, lines.append).join(10)
    assert lines == ["Public link: https://abc.relay.test/"]
