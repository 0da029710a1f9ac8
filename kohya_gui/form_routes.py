"""How the Train page's script and the server talk: one address for what was typed and pressed, one for the plan, one for a file that is sent.

Not Gradio's events: a form of 270 fields would need one for each, and the page would be usable a second later (docs/decisions.md).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from kohya_gui.config_shelf import Shelf
from kohya_gui.tabs.desk import LOCAL_USER, Desk
from kohya_gui.tabs.training_actions import Answer, TrainingActions, told
from kohya_gui.tabs.training_files import FileActions
from kohya_gui.tabs.training_guide import GuideActions
from kohya_gui.tabs.training_presets import PresetActions
from kohya_gui.text import error_words
from sd_scripts.errors import TrainingError

LARGEST_MESSAGE, LARGEST_FILE = 2_000_000, 64_000_000
NEVER = {"cache-control": "no-store"}
Asked = Mapping[str, Any]


def add_form_routes(app: FastAPI, desk: Desk, actions: TrainingActions) -> None:
    """The form's addresses. A message is JSON: {"values": {field: value}, "do": a key of `deeds`, ...what that takes}."""
    user = desk.options.username or LOCAL_USER
    files = FileActions(desk, actions, Shelf(desk.drafts.folder))
    known = deeds(actions, files, PresetActions(desk, actions), GuideActions(desk, actions))

    def answer(asked: Asked) -> Answer:
        typed = actions.typed(user, asked.get("values") or {})
        if "do" not in asked:
            return typed
        try:
            return {**typed, **known[asked["do"]](user, asked)}
        except TrainingError as failed:
            return {**typed, "outcome": told("bad", error_words(failed))}

    @app.get("/form")
    def look() -> Response:
        return JSONResponse({**actions.look(user), "recent": files.shelf.recent(user)}, headers=NEVER)

    @app.get("/form/plan")
    def plan() -> Response:
        return JSONResponse(actions.plan(user), headers=NEVER)

    @app.get("/form/blocks")
    def blocks(sheet: str = "") -> Response:
        return HTMLResponse(actions.blocks(user, sheet), headers=NEVER)

    @app.get("/form/export")
    def export(target: str) -> Response:
        try:
            text, _, name = files.exported(user, target)
        except TrainingError as failed:
            return PlainTextResponse(str(failed), status_code=404)
        return PlainTextResponse(text, headers={"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}", **NEVER})

    @app.post("/form")
    async def message(request: Request) -> Response:
        body = await request.body()
        try:
            asked = json.loads(body) if len(body) <= LARGEST_MESSAGE else None
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not _is_message(asked, known):
            return PlainTextResponse("This is no message of the form.", status_code=400)
        return JSONResponse(await run_in_threadpool(answer, asked), headers=NEVER)

    @app.post("/form/file")
    async def sent(request: Request, name: str) -> Response:
        body = await request.body()
        if len(body) > LARGEST_FILE:
            return PlainTextResponse(f"{name} is larger than {LARGEST_FILE // 1_000_000} MB.", status_code=413)
        return JSONResponse(await run_in_threadpool(_opened, files, user, name, body), headers=NEVER)


def deeds(actions: TrainingActions, files: FileActions, presets: PresetActions, guide: GuideActions) -> Mapping[str, Callable[[str, Asked], Answer]]:
    """What a message can ask for, by the word in its "do"."""
    return {
        "switch": lambda user, asked: actions.switch(user, str(asked.get("method")), str(asked.get("family"))),
        "reset": lambda user, asked: actions.reset(user, _names(asked)),
        "fix": lambda user, asked: actions.fix(user, _names(asked)),
        "undo": lambda user, asked: actions.step(user, back=True),
        "redo": lambda user, asked: actions.step(user, back=False),
        "block": lambda user, asked: actions.set_block(user, str(asked.get("sheet")), _whole(asked.get("index")), str(asked.get("text", ""))),
        "anew": lambda user, asked: actions.anew(user),
        "check": lambda user, asked: actions.check(user),
        "command": lambda user, asked: actions.show_command(user),
        "start": lambda user, asked: actions.start(user),
        "open": lambda user, asked: files.open_path(user, str(asked.get("path", ""))),
        "save": lambda user, asked: files.save(user, str(asked.get("path", ""))),
        "duplicate": lambda user, asked: files.duplicate(user),
        "compare": lambda user, asked: files.compare(user, str(asked.get("path", "")), str(asked.get("other", ""))),
        "export-json": lambda user, asked: files.export(user, "json"),
        "export-toml": lambda user, asked: files.export(user, "toml"),
        "paste": lambda user, asked: files.open_command(user, str(asked.get("text", ""))),
        "prepare": lambda user, asked: files.prepare(user, asked.get("tool") or {}),
        "guide": lambda user, asked: guide.fill(user, asked),
        "preset": lambda user, asked: presets.look(user, str(asked.get("name", ""))),
        "preset-apply": lambda user, asked: presets.apply(user, str(asked.get("name", ""))),
        "preset-keep": lambda user, asked: presets.keep(user, str(asked.get("name", ""))),
        "preset-drop": lambda user, asked: presets.drop(user, str(asked.get("name", ""))),
    }


def _is_message(asked: Asked, known: Mapping[str, object]) -> bool:
    if asked.get("do", "undo") not in known:
        return False
    values = asked.get("values", {})
    return isinstance(values, dict) and all(isinstance(value, (str, bool)) for value in values.values())


def _whole(value: object) -> int:
    return value if isinstance(value, int) else -1


def _names(asked: Asked) -> list[str]:
    names = asked.get("names", ())
    return [str(name) for name in names] if isinstance(names, list) else []


def _opened(files: FileActions, user: str, name: str, body: bytes) -> Answer:
    """A file that was sent lies under its own name while it is read: its ending says what it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (PurePosixPath(name.replace("\\", "/")).name or "config.toml")
        path.write_bytes(body)
        try:
            return files.open_upload(user, path)
        except TrainingError as failed:
            return {"outcome": told("bad", error_words(failed).replace(str(folder), "").lstrip("/"))}
