"""The web server: our own FastAPI app with the gate before it and Gradio's pages mounted in it."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from gradio.blocks import Block
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware

from kohya_gui.configs import FIRST_SCRIPT, start_draft
from kohya_gui.drafts import Drafts
from kohya_gui.files import Roots
from kohya_gui.gate import LOOPBACK, Gate, Sessions
from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.tensorboard import Board
from kohya_gui.login import is_loopback
from kohya_gui.page_language import PageLanguage, drawn_blocks
from kohya_gui.routes import add_routes
from kohya_gui.settings import HOME, ServerOptions, Settings
from kohya_gui.share import share_in_background
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.pages import build_pages
from kohya_gui.text import ENGLISH, LOCALES, all_words, read_words
from kohya_gui.theme import head, script_texts, theme
from sd_scripts.errors import ConfigError, RunError
from sd_scripts.params.commands import command

FIRST_PORT, LAST_PORT = 7860, 7959
LARGEST_UPLOAD = "64mb"
COMPRESS_FROM = 800
BOARD_LOG = ".tensorboard.log"


def build_app(settings: Settings, options: ServerOptions, *, locales: Path = LOCALES) -> FastAPI:
    """The whole server. `locales` is the folder of the languages.

    Raises:
        ConfigError: the language or the start preset does not exist, or the page could be reached from outside without a login.
    """
    if not (options.username and options.password) and (options.share or not is_loopback(options.listen)):
        raise ConfigError(
            "listen", f"{options.listen} can be reached from outside this machine, and no login is set.", fix="Give --username and a password."
        )
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    desk = make_desk(settings, options, locales=locales)
    sessions = Sessions(options.username, options.password) if options.username and options.password else None
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=partial(_lifespan, desk))
    add_routes(app, desk, sessions)
    drawn = drawn_blocks(_mount(app, desk, has_login=sessions is not None))
    app.add_middleware(PageLanguage, known=desk.languages, default=options.language or ENGLISH, drawn=drawn, script_texts=frozenset(script_texts()))
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESS_FROM)
    app.add_middleware(Gate, hosts=_hosts(settings, options, has_login=sessions is not None), sessions=sessions, root_path=options.root_path)
    return app


@asynccontextmanager
async def _lifespan(desk: Desk, app: FastAPI) -> AsyncGenerator[None]:
    """What was started for the pages ends with the server; trainings do not."""
    yield
    await run_in_threadpool(desk.board.stop)


def _mount(app: FastAPI, desk: Desk, *, has_login: bool) -> Mapping[int, Block]:
    """Put Gradio's pages at /, after our own routes; return their blocks.

    They are built in English. What Gradio says of server-side rendering, which is off, is kept from the terminal.
    """
    root, user = desk.options.root_path, desk.options.username
    pages = build_pages(desk)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="SSR mode")
        gr.mount_gradio_app(
            app,
            pages,
            path="/",
            ssr_mode=False,
            footer_links=[],
            theme=theme(),
            head=head(root),
            root_path=root or None,
            app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
            max_file_size=LARGEST_UPLOAD,
            auth_dependency=(lambda request: user) if has_login else None,
        )
    return pages.blocks


def make_desk(settings: Settings, options: ServerOptions, *, locales: Path = LOCALES) -> Desk:
    """What the pages share, from settings and options. Raises ConfigError."""
    read_words(options.language, locales)
    start = start_draft(command(FIRST_SCRIPT), settings)
    return Desk(
        settings=settings,
        options=options,
        languages=all_words(locales),
        roots=Roots(settings.roots()),
        drafts=Drafts(settings.runs_dir / ".drafts", start),
        executor=CommandExecutor(settings.runs_dir, cwd=HOME),
        board=Board(settings.runs_dir / BOARD_LOG),
    )


def serve(settings: Settings, options: ServerOptions, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until interrupted. `on_ready` is called with the page's address once it answers.

    Raises:
        ConfigError: see `build_app`.
        RunError: the port is taken, or none is free.
    """
    app = build_app(settings, options)
    listener = _listen(options)
    port = listener.getsockname()[1]

    def ready(address: str) -> None:
        if on_ready is not None:
            on_ready(address)
        if options.share:
            print("Asking for a public link ...", flush=True)
            share_in_background(_reachable(options.listen), port, lambda line: print(line, flush=True))

    config = uvicorn.Config(app, log_level="info" if options.debug else "warning", timeout_graceful_shutdown=2, server_header=False)
    _Server(config, ready, _address(options, port)).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None], address: str) -> None:
        super().__init__(config)
        self._on_ready, self._address = on_ready, address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the listener, then tell."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready(self._address)


def _hosts(settings: Settings, options: ServerOptions, *, has_login: bool) -> frozenset[str]:
    """With a login any name may be used: a page that points its own name here has no session. Without one, only names of this machine."""
    return frozenset() if has_login else frozenset((*LOOPBACK, options.listen, *settings.allowed_hosts))


def _address(options: ServerOptions, port: int) -> str:
    host = _reachable(options.listen)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{options.root_path}/"


def _reachable(host: str) -> str:
    """Where this machine itself finds what listens on `host`."""
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host


def _listen(options: ServerOptions) -> socket.socket:
    ports = [options.server_port] if options.server_port else range(FIRST_PORT, LAST_PORT + 1)
    family = socket.AF_INET6 if ":" in options.listen else socket.AF_INET
    for port in ports:
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.listen, port))
            listener.listen(128)
            return listener
        except OSError as failed:
            listener.close()
            if options.server_port:
                raise RunError(
                    f"Port {port} on {options.listen} cannot be used: {failed.strerror}.", fix="Choose another --server_port, or leave it out."
                ) from failed
    raise RunError(f"No port from {FIRST_PORT} to {LAST_PORT} is free on {options.listen}.", fix="Give one with --server_port.")
