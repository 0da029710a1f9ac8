"""A real server with a real browser in front of it. Any console error, page error or request to another host fails the test that caused it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import tomli_w
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.runs import list_runs
from sd_scripts.errors import RunError
from tests.tiny_models import build_sd15_micro

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OURS = ("127.0.0.1", "")
PLACES = {"output_dir": "out", "datasets_dir": "datasets", "models_dir": "models"}


@dataclass
class Server:
    """A running `python -m kohya_gui` with folders of its own; `folder` has a space, an umlaut and a Chinese character in its path."""

    folder: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    url: str = ""

    @property
    def runs_dir(self) -> Path:
        """Where its runs are."""
        return self.folder / "runs"

    def start(self) -> None:
        """Start it and wait for the address that it prints."""
        settings = self.folder / "config.toml"
        folders = {name: str(self.folder / place) for name, place in PLACES.items()} | {"runs_dir": str(self.runs_dir)}
        values = {"allowed_roots": [str(self.folder)], **folders, "poll_seconds": 0.5}
        settings.write_text(tomli_w.dumps(values), "utf-8")
        command = [sys.executable, "-m", "kohya_gui", "--config", str(settings), "--headless", *self.arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        log = (self.folder / "server.log").open("a", encoding="utf-8")
        self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout or ():
            if line.startswith("Open http"):
                self.url = line.split()[1].rstrip("/")
                return
        raise RuntimeError(f"the server did not start: {(self.folder / 'server.log').read_text('utf-8')}")

    def kill(self) -> None:
        """End the server as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the server and whatever trainings it started."""
        self.kill()
        executor = CommandExecutor(self.runs_dir)
        for run in list_runs(self.runs_dir):
            if run.status.is_active:
                try:
                    executor.stop(run.path, hard=True)
                except RunError:
                    continue


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests, without a login."""
    made = Server(tmp_path_factory.mktemp("gui") / "Öffentlich 猫 a'b")
    made.folder.mkdir()
    made.start()
    yield made
    made.close()


@dataclass(frozen=True)
class Material:
    """Something to train on, beside the server's folders: a small model and a few pictures."""

    model: Path
    pictures: Path


@pytest.fixture(scope="session")
def material(server: Server) -> Material:
    """A 2.3 M parameter model and five pictures of 64 px with captions."""
    pictures = server.folder / "my pictures 猫"
    pictures.mkdir()
    for number in range(5):
        Image.new("RGB", (64, 64), (40 * number, 90, 200 - 30 * number)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(f"a square, number {number}", "utf-8")
    return Material(build_sd15_micro(server.folder / "micro.safetensors"), pictures)


@pytest.fixture(scope="session")
def demo(server: Server) -> Material:
    """The embedded demo's model and dataset, under the server's folder."""
    folder = server.folder / "demo 画像"
    shutil.copytree(ROOT / "demo" / "dataset", folder / "dataset")
    return Material(Path(shutil.copy(ROOT / "demo" / "model.safetensors", folder)), folder / "dataset")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("STUDIO_CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Complaints:
    """What the browser complained of."""

    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Listen to one page."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"page error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.found.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _request(self, request: Request) -> None:
        if (urlsplit(request.url).hostname or "") not in OURS:
            self.found.append(f"request to another host: {request.url}")


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """Fails the test afterwards if there are any."""
    collected = Complaints()
    yield collected
    assert collected.found == []


@pytest.fixture
def open_page(browser: Browser, complaints: Complaints) -> Iterator[Callable[..., Page]]:
    """A function that opens a watched page in a context of its own; `options` are those of a browser context."""
    contexts = []

    def opened(url: str, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        complaints.watch(page)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def train_page(server: Server, open_page: Callable[..., Page]) -> Page:
    """The Train page with an empty form."""
    page = open_page(server.url)
    page.locator("#plan .verdict").wait_for()
    for choice in ("SD 1.x and 2.x", "LoRA"):
        page.get_by_label(choice, exact=True).check()
    page.locator("#form-column[data-script=train_network]").wait_for()
    page.locator("#config-reset").click()
    page.locator("#outcome .told.good").wait_for()
    return page
