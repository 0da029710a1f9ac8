"""Addresses that the scripts of the run pages ask: /run/<verb> for one run, /runs/<verb> for the list. JSON in and out.

A sentence for the person who asked comes as "told" in an ordinary answer: a run that ended meanwhile is no failure of the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response

from kohya_gui.tabs.desk import LOCAL_USER, Desk
from kohya_gui.tabs.run_actions import Answer, RunActions
from kohya_gui.tabs.runs_actions import RunsActions
from kohya_gui.tabs.training_actions import told
from kohya_gui.text import error_words
from sd_scripts.errors import TrainingError

LONGEST_REQUEST = 200_000
NEVER = {"cache-control": "no-store"}
Asked = Mapping[str, Any]
Verbs = Mapping[str, Callable[[Asked], Answer]]


def add_run_routes(app: FastAPI, desk: Desk) -> None:
    """Register the addresses."""
    one, every, user = RunActions(desk), RunsActions(desk), desk.options.username or LOCAL_USER
    run_verbs: Verbs = {
        "look": one.look,
        "act": lambda asked: one.act(str(asked.get("id", "")), str(asked.get("key", ""))),
        "keep": lambda asked: one.keep(str(asked.get("id", "")), str(asked.get("path", ""))),
        "copy": lambda asked: one.copy_kept(str(asked.get("id", ""))),
    }
    runs_verbs: Verbs = {
        "list": every.list,
        "note": every.note,
        "keep-note": every.keep_note,
        "removal": every.removal,
        "put-away": every.put_away,
        "bring-back": every.bring_back,
        "erase": every.erase,
        "again": lambda asked: every.again(asked, user),
    }

    @app.post("/run/{verb}")
    async def run(verb: str, request: Request) -> Response:
        return await answer_json(run_verbs, verb, request)

    @app.post("/runs/{verb}")
    async def runs(verb: str, request: Request) -> Response:
        return await answer_json(runs_verbs, verb, request)


async def answer_json(verbs: Verbs, verb: str, request: Request, *, most: int = LONGEST_REQUEST) -> Response:
    """What a verb answers to the request's JSON of at most `most` bytes; a sentence of its refusal is an ordinary answer."""
    if verb not in verbs:
        return PlainTextResponse("There is no such request.", status_code=404)
    body = await request.body()
    try:
        asked = json.loads(body or b"{}") if len(body) <= most else None
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        return PlainTextResponse("The request is damaged.", status_code=400)
    return JSONResponse(await run_in_threadpool(_told, verbs[verb], asked), headers=NEVER)


def _told(verb: Callable[[Asked], Answer], asked: Asked) -> Answer:
    try:
        return verb(asked)
    except TrainingError as failed:
        return {"told": told("bad", error_words(failed)), "failed": True}
