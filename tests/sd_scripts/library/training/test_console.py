"""Lines for people: how many, and where they go."""

from __future__ import annotations

import pytest
from tiny_runs import train

from sd_scripts.errors import ConfigError
from sd_scripts.library.training.console import LOG, close_console, open_console
from sd_scripts.params.logging import Logging


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_console()


@pytest.mark.parametrize(("level", "shown"), [(None, ["told", "odd"]), ("WARNING", ["odd"]), ("ERROR", []), ("DEBUG", ["small", "told", "odd"])])
def test_lines_below_the_level_are_not_printed(level, shown, capsys):
    open_console(Logging(console_log_level=level))
    LOG.debug("small")
    LOG.info("told")
    LOG.warning("odd")
    assert capsys.readouterr().err.split() == shown


def test_lines_go_to_the_end_of_the_file_instead(tmp_path, capsys):
    path = tmp_path / "lines.txt"
    path.write_text("before\n", "utf-8")
    assert train(tmp_path, console_log_file=path, max_train_steps=1) == 0
    lines = path.read_text("utf-8").splitlines()
    assert lines[0] == "before" and "finished (step 1)" in lines and any(line.startswith("saving checkpoint") for line in lines)
    assert "saving checkpoint" not in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_and_the_console_stays(tmp_path, capsys):
    with pytest.raises(ConfigError, match="console_log_file"):
        open_console(Logging(console_log_file=str(tmp_path)))
    assert train(tmp_path, console_log_file=tmp_path) == 2
    assert "console_log_file" in capsys.readouterr().err
