"""The verb `gui`, which needs no word: the page, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import sys
import webbrowser
from argparse import Namespace

from kohya_gui.app import serve
from kohya_gui.jobs.adoption import adopt_all
from kohya_gui.login import resolve_login
from kohya_gui.settings import ServerOptions
from kohya_gui.verbs import WITHOUT_EFFECT
from kohya_gui.verbs_config import settings_of


def run(arguments: Namespace) -> int:
    """Serve until Ctrl-C."""
    for flag, why in WITHOUT_EFFECT.items():
        if getattr(arguments, flag.lstrip("-").replace("-", "_")):
            print(f"note: {flag} has no effect: {why}.", file=sys.stderr)
    login = resolve_login(server_options(arguments), password_file=arguments.password_file)
    for note in login.notes:
        print(note, file=sys.stderr)
    settings = settings_of(arguments)
    for key in settings.ignored:
        print(f"note: {key} in the settings file has no effect: it is not known here.", file=sys.stderr)
    adopt_all(settings.runs_dir)

    def ready(url: str) -> None:
        print(f"Open {url}", flush=True)
        if login.options.inbrowser:
            open_browser(url, headless=login.options.headless)

    with contextlib.suppress(KeyboardInterrupt):
        serve(settings, login.options, on_ready=ready)
    return 0


def server_options(arguments: Namespace) -> ServerOptions:
    """kohya's start options, typed."""
    return ServerOptions(
        listen=arguments.listen,
        server_port=arguments.server_port,
        username=arguments.username,
        password=arguments.password,
        inbrowser=arguments.inbrowser and not arguments.headless,
        share=arguments.share and not arguments.do_not_share,
        headless=arguments.headless,
        language=arguments.language,
        root_path=arguments.root_path,
        debug=arguments.debug,
    )


def open_browser(url: str, *, headless: bool) -> bool:
    """Open a page in the person's browser; False where there is no screen to open it on."""
    screen = sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return not headless and screen and webbrowser.open(url)
