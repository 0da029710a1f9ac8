"""TensorBoard inside our own site: what it answers is passed through at /tensorboard/app/, behind the same gate and login as every page."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
from fastapi import FastAPI, Request
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from kohya_gui.jobs.tensorboard import Board

PLACE = "/tensorboard/app/"
LONGEST_BODY = 1_000_000
# Our cookie, and whatever else a browser says of itself, is none of TensorBoard's business.
_ASKED = ("accept", "accept-encoding", "accept-language", "content-type", "if-modified-since", "if-none-match", "range")
_ANSWERED = (
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "vary",
)
# Its page asks for its fonts at the top of the site, wherever it was told to be.
_FONTS = (b"url(/font-roboto/", b"url(font-roboto/")
_CONNECT_S, _READ_S = 5.0, 120.0


def add_board_routes(app: FastAPI, board: Board) -> None:
    """Pass requests for TensorBoard on to it, and its answers back as they come."""
    client = httpx.AsyncClient(timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S), trust_env=False, verify=False)

    @app.api_route(PLACE + "{path:path}", methods=["GET", "HEAD", "POST"])
    async def pass_on(path: str, request: Request) -> Response:
        address = board.address
        if address is None:
            return PlainTextResponse("TensorBoard is not running. Start it on the TensorBoard page.", status_code=503)
        body = await _body(request)
        if body is None:
            return PlainTextResponse("The request is too long.", status_code=413)
        query = f"?{request.url.query}" if request.url.query else ""
        asked = {name: value for name, value in request.headers.items() if name in _ASKED}
        try:
            outgoing = client.build_request(request.method, f"{address}/{_quoted(request)}{query}", headers=asked, content=body or None)
            answer = await client.send(outgoing, stream=True)
        except httpx.HTTPError as failed:
            return PlainTextResponse(f"TensorBoard does not answer: {failed}.", status_code=502)
        if answer.headers.get("content-type", "").startswith("text/html"):
            page = (await answer.aread()).replace(*_FONTS)
            return Response(page, answer.status_code, {**_headers(answer.headers, whole=True)})
        return StreamingResponse(
            answer.aiter_raw(), status_code=answer.status_code, headers=_headers(answer.headers), background=BackgroundTask(answer.aclose)
        )


def narrowed(policy: str) -> str:
    """TensorBoard's own content policy without other hosts, and with frames for pages of this site alone."""
    rules = [re.sub(r"\s+https?://\S+", "", rule.strip()) for rule in policy.split(";") if rule.strip()]
    kept = [rule for rule in rules if not rule.startswith(("frame-ancestors", "base-uri", "form-action"))]
    return "; ".join([*(kept or ["default-src 'self'", "object-src 'none'"]), "base-uri 'self'", "form-action 'self'", "frame-ancestors 'self'"])


def _headers(answer: httpx.Headers, *, whole: bool = False) -> Mapping[str, str]:
    """Those of its headers that say what the body is, `whole` if that was read and decoded here. No `location`: it must not lead elsewhere."""
    without = ("content-length", "content-encoding") if whole else ("content-encoding",) if answer.get("content-encoding") == "identity" else ()
    kept = {name: value for name, value in answer.items() if name in _ANSWERED and name not in without}
    policy = narrowed(answer.get("content-security-policy", ""))
    return {**kept, "content-security-policy": policy, "x-frame-options": "SAMEORIGIN"}


def _quoted(request: Request) -> str:
    """The path behind our place, quoted as it came."""
    return request.url.path.partition(PLACE)[2]


async def _body(request: Request) -> bytes | None:
    """The request's body; None where it is too long to be one of TensorBoard's."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            return None
    return bytes(body)
