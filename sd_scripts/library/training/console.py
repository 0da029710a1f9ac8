"""Lines for people, on the terminal above the progress line. What is said is report.py's business."""

from __future__ import annotations

import logging
import sys

from tqdm import tqdm

LOG = logging.getLogger("sd_scripts")


class AboveProgress(logging.Handler):
    """Writes to standard error without tearing a progress line apart."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        tqdm.write(self.format(record), file=sys.stderr)


def open_console() -> None:
    """Send lines to the terminal, plainly."""
    close_console()
    LOG.addHandler(AboveProgress())
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


def close_console() -> None:
    """Take back what `open_console` set up."""
    for handler in list(LOG.handlers):
        LOG.removeHandler(handler)
        handler.close()
