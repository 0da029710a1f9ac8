"""Addresses that the Dataset page's script asks: /dataset/<verb>, JSON in and out; /dataset/upload, a file's bytes; /dataset/file, a download.

A sentence for the person who asked comes as "told" in an ordinary answer.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response

from kohya_gui.dataset_desk import QUIET, DatasetDesk, Told, text_of
from kohya_gui.dataset_fixes import readings
from kohya_gui.dataset_transfers import Transfer
from kohya_gui.dataset_upload import Received, receive
from kohya_gui.dataset_verbs import answer
from kohya_gui.markup import Markup, tag
from kohya_gui.run_routes import NEVER, Verbs, answer_json
from kohya_gui.tabs.dataset import parts
from kohya_gui.tabs.dataset_sight import make_sight
from kohya_gui.tabs.dataset_words import does
from kohya_gui.tabs.desk import LOCAL_USER, Desk
from kohya_gui.tabs.training_actions import told
from kohya_gui.text import error_words, say
from sd_scripts.errors import DataError, TrainingError

FOLDER = ".datasets"
SOON_S = 0.35
"""A look that is done within this is shown at once, without a page that says that it is looking."""
CHUNKS = 16
"""Parts of an upload that may wait to be written."""


def add_dataset_routes(app: FastAPI, desk: Desk) -> None:
    """Register the addresses."""
    user, root = desk.options.username or LOCAL_USER, desk.options.root_path
    datasets = DatasetDesk(desk.settings.runs_dir / FOLDER, lambda: desk.settings, lambda: desk.roots, lambda: desk.drafts)

    def shown(said: Told, *, wait: float = SOON_S) -> dict[str, Any]:
        sight = make_sight(datasets, user, root, wait=wait)
        return {"parts": parts(sight), "busy": not sight.job.ready.is_set(), "told": _sentence(said, root)}

    verbs: Verbs = {
        "do": lambda asked: shown(answer(datasets, user, asked)),
        "look": lambda asked: shown(QUIET),
        "folder": lambda asked: {"folder": datasets.transfers.begin(desk.settings.datasets_dir, text_of(asked, "name") or say("pictures")).name},
        "readings": lambda asked: {"readings": [[row.encoding, row.title, row.text] for row in readings(datasets.caption(user, asked))]},
    }

    @app.post("/dataset/upload")
    async def upload(folder: str, name: str, request: Request) -> Response:
        try:
            with datasets.transfers.receiving(datasets.upload_folder(folder)) as transfer:
                received = await _received(transfer, name, request)
                transfer.kept += received.kept
        except TrainingError as failed:
            return JSONResponse({"told": told("bad", error_words(failed)), "failed": True}, headers=NEVER)
        return JSONResponse({"kept": len(received.kept), "left": received.left}, headers=NEVER)

    @app.post("/dataset/{verb}")
    async def do(verb: str, request: Request) -> Response:
        return await answer_json(verbs, verb, request)

    @app.get("/dataset/file")
    def file() -> Response:
        edition = datasets.states.read(user).edition
        name = Path(edition.file).name or f"dataset.{edition.document.kind}"
        return PlainTextResponse(edition.document.text, headers={"content-disposition": f'attachment; filename="{_plain(name)}"', **NEVER})


def _sentence(said: Told, root: str) -> Markup:
    if not said.sentence:
        return Markup()
    link = tag("a", say("Open it"), href=f"{root}{said.link}", class_="link") if said.link else None
    offer = does(said.offered, request=dict(said.offer)) if said.offer else None
    return tag("p", said.sentence, " ", link, offer, class_=f"told {said.tone}")


async def _received(transfer: Transfer, name: str, request: Request) -> Received:
    """Write a request's body as it comes, in a thread, while the server goes on."""
    waiting: queue.Queue[bytes | None] = queue.Queue(CHUNKS)
    broken = threading.Event()

    def chunks() -> Iterator[bytes]:
        while (chunk := waiting.get()) is not None:
            yield chunk
        if broken.is_set():
            raise DataError(say("The upload of {name} was broken off.", name=name), fix=say("Send it again."))

    writing = asyncio.ensure_future(run_in_threadpool(receive, transfer.folder, name, chunks(), cancelled=lambda: transfer.cancelled))
    broken.set()
    try:
        async for part in request.stream():
            if part and not await _put(waiting, part, writing):
                break
        broken.clear()
    except ClientDisconnect:
        pass  # the writer hears of it and removes what it has
    finally:
        await _put(waiting, None, writing)
    return await writing


async def _put(waiting: queue.Queue[bytes | None], part: bytes | None, writing: asyncio.Future[Received]) -> bool:
    """Hand a part to the writer; False once it has ended, because it refused what came."""
    while not writing.done():
        try:
            waiting.put_nowait(part)
            return True
        except queue.Full:
            await asyncio.sleep(0.01)
    return False


def _plain(name: str) -> str:
    """A file's name as a header may hold it."""
    return "".join(letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name)
