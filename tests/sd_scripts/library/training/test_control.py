"""Requests arrive by files and by signals, and stay until they are served."""

from __future__ import annotations

import os
import signal

import pytest

from sd_scripts.library.training.control import Control


def test_a_file_is_a_request_until_it_is_served(tmp_path):
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "save").write_text("{}")
    (tmp_path / "control" / "dance").write_text("{}")
    control = Control(tmp_path)
    assert control.pending() == {"save"} == control.pending()
    control.served("save")
    assert control.pending() == set() and (tmp_path / "control" / "dance").exists()


def test_without_a_run_folder_nothing_is_asked_for():
    assert Control(None).pending() == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_to_stop(number):
    before = signal.getsignal(number)
    control = Control(None)
    control.listen()
    os.kill(os.getpid(), number)
    assert control.pending() == {"stop"}
    control.close()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_does_not_wait():
    control = Control(None)
    control.listen()
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    control.close()
