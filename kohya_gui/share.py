"""A public link to the page: Gradio's relay (gradio.live), reached by its small client program, only where somebody asked for it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

import httpx
from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError
from gradio.networking import setup_tunnel

from sd_scripts.errors import RunError

_TOKEN_BYTES = 32
_FAILURES = (RuntimeError, OSError, ValueError, httpx.HTTPError, ChecksumMismatchError, ShareCertificateWriteError)


def open_link(host: str, port: int, *, relay: str | None = None) -> str:
    """The public https address that leads to our server at `host` and `port`, as long as this process lives.

    The client program is fetched at the first use, and its checksum compared. `relay` is "host:port" of a relay of one's own (frp's server)
    instead of Gradio's.

    Raises:
        RunError: the relay or the client program cannot be reached, or no link was given.
    """
    try:
        address = setup_tunnel(host, port, secrets.token_urlsafe(_TOKEN_BYTES), relay, None)
    except _FAILURES as failed:
        reason = str(failed).splitlines()[0].rstrip(".") or type(failed).__name__
        raise RunError(f"No public link could be made ({reason}).", fix=over_ssh(port)) from failed
    scheme, _, name = address.rpartition("://")
    return f"{scheme if relay and scheme else 'https'}://{name.strip('/')}/"


def over_ssh(port: int) -> str:
    """How to reach the page from elsewhere without a relay."""
    return f"From another machine: ssh -L {port}:127.0.0.1:{port} YOU@THIS_MACHINE, then open http://127.0.0.1:{port}/ there."


def share_in_background(host: str, port: int, tell: Callable[[str], None]) -> threading.Thread:
    """Make the link while the page is already served; `tell` gets the line for the terminal, the link or why there is none."""

    def run() -> None:
        try:
            tell(f"Public link: {open_link(host, port)}")
        except RunError as failed:
            tell(str(failed))

    thread = threading.Thread(target=run, name="share", daemon=True)
    thread.start()
    return thread
