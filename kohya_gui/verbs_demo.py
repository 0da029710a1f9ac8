"""The verb `demo`: train the small LoRA that comes with the program, now, and show it in the page and in the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

from kohya_gui.app import serve
from kohya_gui.follow import Terminal, exit_code, final_files, follow
from kohya_gui.jobs.adoption import ROOT, adopt_all
from kohya_gui.jobs.contact_sheet import before_and_after
from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.monitor import RunView
from kohya_gui.jobs.prompts import absolute, with_values
from kohya_gui.settings import ServerOptions
from kohya_gui.verbs import tell_error
from kohya_gui.verbs_config import settings_of
from kohya_gui.verbs_serve import open_browser
from kohya_gui.verbs_train import follow_and_stop
from sd_scripts.errors import TrainingError
from sd_scripts.params.commands import command as command_of
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import read_config

DEMO = ROOT / "demo" / "config.toml"
_CLOSING_S = 10.0


def run(arguments: Namespace) -> int:
    """Serve on loopback and train; with --exit, or without a terminal, end with the run's exit code, else serve until Ctrl-C."""
    settings = settings_of(arguments)
    adopt_all(settings.runs_dir)
    ends = arguments.exit or not sys.stdin.isatty()
    show = Demo(CommandExecutor(settings.runs_dir, cwd=ROOT), demo_config(), headless=arguments.headless or ends, ends=ends)
    with contextlib.suppress(KeyboardInterrupt):
        serve(settings, ServerOptions(server_port=arguments.server_port, headless=arguments.headless), on_ready=show.begin)
    return show.finish()


def demo_config() -> Config:
    """The demo's config with an output folder of its own for this run. Raises ConfigError if the file was damaged."""
    config = absolute(read_config(DEMO, command_of("train_network")), ROOT)
    return with_values(config, {"output_dir": str(ROOT / "outputs" / f"demo-{time.strftime('%Y%m%d-%H%M%S')}")})


@dataclass
class Demo:
    """The training beside the server: begun when the page can be opened, followed in a thread, since the server has the main one."""

    executor: CommandExecutor
    config: Config
    headless: bool
    ends: bool
    code: int = 1
    _run: Path | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _closing: threading.Event = field(default_factory=threading.Event)

    def begin(self, url: str) -> None:
        """Called by the server when it answers; returns at once."""
        threading.Thread(target=self._train, args=(url,), daemon=True, name="demo").start()

    def finish(self) -> int:
        """After the server: stop a training that still runs, and return the exit code."""
        self._closing.set()
        if self._run is not None and not self._over.is_set():
            view = follow_and_stop_now(self.executor, self._run)
            self.code = exit_code(view.status)
        return self.code

    def _train(self, url: str) -> None:
        try:
            self._train_and_tell(url)
        except TrainingError as refused:
            self.code = refused.exit_code
            tell_error(refused, as_json=False)
            print(f"The page is at {url}", flush=True)
        finally:
            if self.ends:
                self._close()
        if not self._closing.is_set():
            print("The page stays open; Ctrl-C ends it.", flush=True)

    def _train_and_tell(self, url: str) -> None:
        self._run = self.executor.start(self.config)
        page = f"{url.rstrip('/')}/run?id={self._run.name}"
        print(f"Watch it at {page}", flush=True)
        open_browser(page, headless=self.headless)
        view = follow(self._run, Terminal(), interrupted=self._closing.is_set)
        if not self._closing.is_set():
            self.code = exit_code(view.status)
            tell_result(view)
            self._over.set()

    def _close(self) -> None:
        """End the server from this thread. One that hangs on an open connection is not waited for."""
        signal.raise_signal(signal.SIGINT)
        if not self._closing.wait(_CLOSING_S):
            os._exit(self.code)


def follow_and_stop_now(executor: CommandExecutor, run: Path) -> RunView:
    """Ask the training to save and stop, and wait for it."""
    try:
        executor.stop(run)
        print("\nstopping the training; Ctrl-C again ends it at once", file=sys.stderr)
    except TrainingError:
        # It ended by itself in this moment.
        pass
    return follow_and_stop(executor, run, Terminal(), asked=True)


def tell_result(view: RunView) -> None:
    """Print the LoRA's path and the picture's that shows what it learned."""
    files = final_files(view)
    if view.status.state != "finished" or not files:
        return
    folder = Path(files[-1]).parent
    sheet = before_and_after(view.samples, folder / "before-and-after.png", base=Path(view.record["cwd"]))
    print(f"LoRA: {files[-1]}")
    print(f"Before and after: {sheet}" if sheet else "No pictures were drawn before and after.", flush=True)
