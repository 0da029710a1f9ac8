"""Requests to a running trainer: files in the run folder's `control/`, and signals. What they lead to is the loop's business."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from sd_scripts.params.events import CONTROL_FOLDER, REQUESTS, Request


class Control:
    """Where requests arrive. A request stays until it is `served`, so that none is lost between two steps.

    The first SIGTERM or SIGINT asks to stop after the step that is being made; a second SIGINT ends the program at once.
    """

    def __init__(self, run_dir: Path | None) -> None:
        self.folder = None if run_dir is None else run_dir / CONTROL_FOLDER
        self._signalled = False
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Take signals from here on. Only a program's main thread may; elsewhere only files count."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._on_signal)

    def close(self) -> None:
        """Give signals back to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def pending(self) -> set[Request]:
        """What is asked for now."""
        found: set[Request] = {"stop"} if self._signalled else set()
        if self.folder is not None and self.folder.is_dir():
            found.update(request for request in REQUESTS if (self.folder / request).exists())
        return found

    def served(self, request: Request) -> None:
        """Take a request away."""
        if request == "stop":
            self._signalled = False
        if self.folder is not None:
            (self.folder / request).unlink(missing_ok=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signalled and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signalled = True
