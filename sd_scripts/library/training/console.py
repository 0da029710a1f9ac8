"""Lines for people, on the terminal above the progress line. What is said is report.py's business."""

from __future__ import annotations

import logging
import sys

from tqdm import tqdm

from sd_scripts.errors import ConfigError
from sd_scripts.params.logging import Logging

LOG = logging.getLogger("sd_scripts")


class AboveProgress(logging.Handler):
    """Writes to standard error without tearing a progress line apart."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        tqdm.write(self.format(record), file=sys.stderr)


def open_console(options: Logging | None = None) -> None:
    """Send lines to the terminal, plainly; with `options`, those of the chosen weight, to the chosen file.

    Raises:
        ConfigError: the file cannot be written.
    """
    handler = _handler(options.console_log_file if options else None)
    close_console()
    LOG.addHandler(handler)
    LOG.setLevel((options.console_log_level if options else None) or logging.INFO)
    LOG.propagate = False


def _handler(file: str | None) -> logging.Handler:
    if not file:
        return AboveProgress()
    try:
        return logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise ConfigError("console_log_file", f"{file} cannot be written: {error.strerror}.", fix="Name another file.") from error


def close_console() -> None:
    """Take back what `open_console` set up."""
    for handler in list(LOG.handlers):
        LOG.removeHandler(handler)
        handler.close()
