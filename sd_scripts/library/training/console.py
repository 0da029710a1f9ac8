"""Where lines for people go: the terminal, above the progress line, or a file. What is said is report.py's business."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from tqdm import tqdm

from sd_scripts.errors import ConfigError
from sd_scripts.params.logging import Logging

LOG = logging.getLogger("sd_scripts")
PLAIN, TIMED = "%(message)s", "%(asctime)s %(levelname)-8s %(message)s"


class AboveProgress(logging.Handler):
    """Writes to standard error without tearing a progress line apart."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        tqdm.write(self.format(record), file=sys.stderr)


def open_console(options: Logging | None = None) -> None:
    """Send lines where the options say; without options, plainly to the terminal.

    Raises:
        ConfigError: the log file cannot be written.
    """
    handler: logging.Handler = AboveProgress()
    if options is not None and options.console_log_file:
        try:
            handler = logging.FileHandler(Path(options.console_log_file), encoding="utf-8")
        except OSError as error:
            message = f"{options.console_log_file} cannot be written: {error.strerror}."
            raise ConfigError("console_log_file", message, fix="Choose another file.") from error
    handler.setFormatter(logging.Formatter(PLAIN if options is None or options.console_log_simple else TIMED, datefmt="%Y-%m-%d %H:%M:%S"))
    close_console()
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO if options is None else options.console_log_level or logging.INFO)
    LOG.propagate = False


def close_console() -> None:
    """Close what `open_console` opened."""
    for handler in list(LOG.handlers):
        LOG.removeHandler(handler)
        handler.close()
