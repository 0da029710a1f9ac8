"""Addresses that the Captions page's script asks: /captions/<verb>, JSON in and out. What they do is `caption_desk`'s matter.

A sentence for the person who asked comes as "error" in an ordinary answer: a wrong pattern or a file that changed is no failure of the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from kohya_gui.caption_desk import Answer, CaptionDesk, Conflict, Moved
from kohya_gui.tabs.desk import LOCAL_USER, Desk
from kohya_gui.text import say
from sd_scripts.errors import TrainingError
from sd_scripts.params.config import Config

FOLDER = ".captions"
LONGEST_REQUEST = 32_000_000
"""Names of all pictures of a large place may travel with a change."""
NEVER = {"cache-control": "no-store"}


def add_caption_routes(app: FastAPI, desk: Desk) -> CaptionDesk:
    """Register the addresses; the desk that answers them."""
    user = desk.options.username or LOCAL_USER

    def config_of(name: str) -> Config:
        return desk.drafts.read(name).config()[0]

    captions = CaptionDesk(desk.settings.runs_dir / FOLDER, lambda: desk.roots, config_of)
    verbs: Mapping[str, Callable[[str, Mapping[str, Any]], Answer]] = {
        "open": captions.open,
        "list": captions.list,
        "entries": captions.entries,
        "save": captions.save,
        "preview": captions.preview,
        "apply": captions.apply,
        "step": captions.step,
        "view": captions.keep_view,
        "working": captions.working,
    }

    @app.post("/captions/{verb}")
    async def answer(verb: str, request: Request) -> Response:
        if verb not in verbs:
            return _refused(say("There is no such request."), 404)
        try:
            data = json.loads((await request.body())[:LONGEST_REQUEST] or b"{}")
        except ValueError:
            data = None
        if not isinstance(data, dict):
            return _refused(say("The request is damaged."), 400)
        return await run_in_threadpool(_answered, verbs[verb], user, data)

    return captions


def _answered(verb: Callable[[str, Mapping[str, Any]], Answer], user: str, data: Mapping[str, Any]) -> Response:
    try:
        return JSONResponse(verb(user, data), headers=NEVER)
    except Conflict as reason:
        return JSONResponse({"error": f"{reason.message} {reason.fix}", "conflict": reason.entry}, headers=NEVER)
    except Moved as reason:
        return JSONResponse({"error": str(reason), "moved": True}, headers=NEVER)
    except TrainingError as reason:
        return JSONResponse({"error": str(reason)}, headers=NEVER)


def _refused(sentence: str, status: int) -> Response:
    return JSONResponse({"error": sentence}, status_code=status, headers=NEVER)
