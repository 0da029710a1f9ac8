"""Small versions of pictures under the allowed roots, for every page that shows them: /thumb?path=…&size=small|large&v=<version>."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI
from starlette.responses import FileResponse, PlainTextResponse, Response

from kohya_gui.tabs.desk import Desk
from kohya_gui.thumbs import EDGES, FOLDER, Thumbs
from sd_scripts.errors import DataError, RunError
from sd_scripts.survey.picture_names import is_picture

KEPT = "private, max-age=31536000, immutable"
"""An address with the picture's version in it shows the same for good."""
ASKED = "private, no-cache"


def add_picture_routes(app: FastAPI, desk: Desk) -> None:
    """Register /thumb."""
    thumbs = Thumbs(desk.settings.runs_dir / FOLDER)

    @app.get("/thumb")
    def thumb(path: str, size: str = "small", v: str = "") -> Response:
        if size not in EDGES:
            return PlainTextResponse(f"There is no size {size!r}; there are {' and '.join(EDGES)}.", status_code=400)
        try:
            resolved = desk.roots.resolve(path)
        except DataError as failed:
            return PlainTextResponse(str(failed), status_code=403)
        if not is_picture(resolved.name):
            return PlainTextResponse("That is no picture.", status_code=403)
        try:
            kept = thumbs.get(resolved, size)
        except DataError as failed:
            # A damaged picture is nothing that is missing: pages show it as one without a preview, and no browser complains.
            return Response(status_code=204) if resolved.is_file() else PlainTextResponse(str(failed), status_code=404)
        except RunError as failed:
            return PlainTextResponse(str(failed), status_code=507)
        return FileResponse(kept, media_type="image/jpeg", headers={"cache-control": KEPT if v else ASKED})


def thumb_address(path: Path, *, root_path: str = "", version: str = "", size: str = "small") -> str:
    """The address of a picture's small version; with a `version` of the file the browser keeps it for good."""
    tail = f"&v={quote(version, safe='')}" if version else ""
    return f"{root_path}/thumb?path={quote(str(path), safe='')}&size={size}{tail}"
