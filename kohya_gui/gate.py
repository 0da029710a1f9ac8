"""What stands before every page: host and origin checks, security headers, the login. Plain ASGI, so that streams pass through untouched."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "studio_session"
SESSION_SECONDS = 30 * 24 * 3600
ATTEMPTS, ATTEMPT_SECONDS = 5, 60.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = ("/login", "/look/", "/healthz")

# Gradio builds its event functions from text and styles its elements inline, hence 'unsafe-eval' and 'unsafe-inline'; no other host appears.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass
class Sessions:
    """Who is logged in: random tokens in memory, so that a restart asks for the password again. One user name, one password."""

    username: str
    password: str
    tokens: dict[str, float] = field(default_factory=dict)
    failures: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def open(self, username: str, password: str) -> str | None:
        """A new session's token, or None where name or password is wrong. Both are always compared, in constant time."""
        name_right = hmac.compare_digest(username.encode(), self.username.encode())
        password_right = hmac.compare_digest(password.encode(), self.password.encode())
        if not (name_right and password_right):
            return None
        token = secrets.token_urlsafe(32)
        self.tokens[token] = time.time() + SESSION_SECONDS
        return token

    def close(self, token: str) -> None:
        """End a session."""
        self.tokens.pop(token, None)

    def knows(self, token: str) -> bool:
        """Whether the token belongs to an open session."""
        return self.tokens.get(token, 0) > time.time()

    def wait_seconds(self, address: str) -> float:
        """How long `address` must wait before its next attempt; 0 if it may try now."""
        recent = self.failures[address]
        while recent and recent[0] < time.monotonic() - ATTEMPT_SECONDS:
            recent.popleft()
        return max(0.0, recent[0] + ATTEMPT_SECONDS - time.monotonic()) if len(recent) >= ATTEMPTS else 0.0

    def failed(self, address: str) -> None:
        """Count a wrong password."""
        self.failures[address].append(time.monotonic())


@dataclass(frozen=True)
class Gate:
    """The middleware. `hosts` are the names under which the page may be opened (empty: any, which needs `sessions`)."""

    app: ASGIApp
    hosts: frozenset[str]
    sessions: Sessions | None = None
    root_path: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, redirect to the login, or pass on with security headers added."""
        if scope["type"] != "http":
            await (self.app(scope, receive, send) if scope["type"] == "lifespan" else _close(send))
            return
        scope = self._under_prefix(scope)
        refusal = self._refusal(scope)
        target = self.app if refusal is None else refusal
        await target(scope, receive, _with_headers(send))

    def _under_prefix(self, scope: Scope) -> Scope:
        """The scope as ASGI wants it behind a proxy, whether that proxy cuts the prefix off or passes it on."""
        if not self.root_path:
            return scope
        path = scope["path"]
        whole = path if path == self.root_path or path.startswith(f"{self.root_path}/") else self.root_path + path
        return {**scope, "root_path": self.root_path, "path": whole}

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts and _hostname(host) not in self.hosts:
            return PlainTextResponse("This address is not served here. Open the page under the address that the program printed.", status_code=400)
        if scope["method"] not in SAFE_METHODS and _is_foreign(headers, host):
            return PlainTextResponse("Refused: the request comes from another site.", status_code=403)
        return self._login_needed(scope, headers)

    def _login_needed(self, scope: Scope, headers: Headers) -> Response | None:
        path = scope["path"].removeprefix(self.root_path)
        if self.sessions is None or path.startswith(OPEN_PATHS) or self.sessions.knows(session_token(headers)):
            return None
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            query = scope.get("query_string", b"").decode("latin-1")
            after = quote(path + (f"?{query}" if query else ""), safe="/")
            return RedirectResponse(f"{self.root_path}/login?next={after}", status_code=303)
        return PlainTextResponse("Log in first.", status_code=401)


def session_token(headers: Headers) -> str:
    """The session cookie's value, or ""."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def safe_target(text: str) -> str:
    """Where to go after the login: a path of this site, never another host."""
    parts = urlsplit(text)
    is_ours = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return text if is_ours else "/"


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser sent this from a page of another site. A program that sends no Origin is no browser."""
    if headers.get("sec-fetch-site") == "cross-site":
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


async def _close(send: Send) -> None:
    await send({"type": "websocket.close", "code": 1008})


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sender
