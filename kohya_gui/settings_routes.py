"""Addresses that the scripts of the Settings and About pages ask: /settings/<verb>, JSON in and out, and /diagnostics, a text."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from kohya_gui.diagnostics import diagnostics_text
from kohya_gui.run_routes import NEVER, Verbs, answer_json
from kohya_gui.tabs.desk import LOCAL_USER, Desk
from kohya_gui.tabs.settings import content
from kohya_gui.tabs.settings_actions import SettingsActions


def add_settings_routes(app: FastAPI, desk: Desk) -> None:
    """Register the addresses."""
    actions, user = SettingsActions(desk, content), desk.options.username or LOCAL_USER
    verbs: Verbs = {
        "look": actions.look,
        "save": actions.save,
        "token": actions.token,
        "from-form": lambda asked: actions.from_form(asked, user),
    }

    @app.post("/settings/{verb}")
    async def settings(verb: str, request: Request) -> Response:
        return await answer_json(verbs, verb, request)

    @app.get("/diagnostics")
    def diagnostics(download: bool = False) -> Response:
        headers = {"content-disposition": 'attachment; filename="diagnostics.txt"'} if download else {}
        return PlainTextResponse(diagnostics_text(desk), headers={**headers, **NEVER})
