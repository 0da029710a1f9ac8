"""Addresses that the Captions page's script asks: /captions/<verb>, JSON in and out. What they do is `caption_desk`'s matter.

A sentence for the person who asked comes as "told" in an ordinary answer: a wrong pattern or a file that changed is no failure of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from kohya_gui.caption_desk import Answer, CaptionDesk, Conflict, Moved
from kohya_gui.run_routes import answer_json
from kohya_gui.tabs.desk import LOCAL_USER, Desk
from kohya_gui.tabs.training_actions import told
from sd_scripts.params.config import Config

FOLDER = ".captions"
LONGEST_REQUEST = 32_000_000
"""Names of all pictures of a large place may travel with a change."""
Verb = Callable[[str, Mapping[str, Any]], Answer]


def add_caption_routes(app: FastAPI, desk: Desk) -> CaptionDesk:
    """Register the addresses; the desk that answers them."""
    user = desk.options.username or LOCAL_USER

    def config_of(name: str) -> Config:
        return desk.drafts.read(name).config()[0]

    captions = CaptionDesk(desk.settings.runs_dir / FOLDER, lambda: desk.roots, config_of)
    verbs: Mapping[str, Verb] = {
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
        return await answer_json({name: partial(_answered, run, user) for name, run in verbs.items()}, verb, request, most=LONGEST_REQUEST)

    return captions


def _answered(verb: Verb, user: str, asked: Mapping[str, Any]) -> Answer:
    """What a verb answers; a refusal that the script has more to do about says so beside its sentence."""
    try:
        return verb(user, asked)
    except Conflict as reason:
        return {"told": told("bad", f"{reason.message} {reason.fix}"), "failed": True, "conflict": reason.entry}
    except Moved as reason:
        return {"told": told("bad", str(reason)), "failed": True, "moved": True}
