"""Our own addresses beside Gradio's pages: login, files, folder lists, the top bar, and what a page loads in its head."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from kohya_gui.board_routes import add_board_routes
from kohya_gui.caption_routes import add_caption_routes
from kohya_gui.dataset_routes import add_dataset_routes
from kohya_gui.files import content_type, list_folder
from kohya_gui.form_routes import add_form_routes
from kohya_gui.gate import COOKIE, SESSION_SECONDS, Sessions, safe_target, session_token
from kohya_gui.jobs.notes import read_note
from kohya_gui.markup import Markup, tag
from kohya_gui.picture_routes import add_picture_routes
from kohya_gui.report import report_text
from kohya_gui.run_routes import add_run_routes
from kohya_gui.settings_routes import add_settings_routes
from kohya_gui.tabs.desk import LOCAL_USER, Desk
from kohya_gui.tabs.shell import NAME, icon
from kohya_gui.tabs.status import status_line
from kohya_gui.tabs.training import make_actions
from kohya_gui.text import error_words
from kohya_gui.theme import ALL_STYLES, bundle, version
from sd_scripts.errors import DataError, RunError, TrainingError
from sd_scripts.params.config_file import dumps

LONGEST_FORM = 8192
ASSET_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
RUN_TEXTS = ("log.txt", "config.toml", "prompts.txt", "events.jsonl", "run.json", "status.json")
MODEL_FIELDS = ("f-pretrained_model_name_or_path", "f-vae", "f-network_weights", "f-base_weights")
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
NEVER = {"cache-control": "no-store"}


def add_routes(app: FastAPI, desk: Desk, sessions: Sessions | None) -> None:
    """Register every route of ours on `app`; they come before Gradio's mount."""
    add_asset_routes(app)
    add_file_routes(app, desk)
    add_picture_routes(app, desk)
    add_page_routes(app, desk)
    add_form_routes(app, desk, make_actions(desk))
    add_run_routes(app, desk)
    add_caption_routes(app, desk)
    add_dataset_routes(app, desk)
    add_board_routes(app, desk.board)
    add_settings_routes(app, desk)
    if sessions is not None:
        add_login_routes(app, sessions, desk.options.root_path)


def add_asset_routes(app: FastAPI) -> None:
    """Our style sheets and our scripts, as one file each."""

    @app.get("/look/{name}")
    async def asset(name: str) -> Response:
        text = bundle(name)
        if text is None:
            return PlainTextResponse("There is no such file.", status_code=404)
        return Response(text, media_type=ASSET_TYPES[Path(name).suffix], headers=FOREVER)

    @app.get("/healthz")
    async def health() -> Response:
        return PlainTextResponse("ok", headers=NEVER)


def add_file_routes(app: FastAPI, desk: Desk) -> None:
    """Files and folder lists, each checked against the allowed roots or a run's own record."""

    @app.get("/file")
    def file(path: str, run: str = "", download: bool = False) -> Response:
        try:
            resolved = _run_file(desk, run, path) if run else _open_file(desk, path)
            kind, inline = content_type(resolved)
        except TrainingError as failed:
            return PlainTextResponse(str(failed), status_code=403)
        if not resolved.is_file():
            return PlainTextResponse("There is no such file.", status_code=404)
        disposition = "inline" if inline and not download else "attachment"
        # A picture may be replaced under the same name by a later run, so the browser has to ask; FileResponse answers 304 by its ETag.
        return FileResponse(
            resolved, media_type=kind, filename=resolved.name, content_disposition_type=disposition, headers={"cache-control": "no-cache"}
        )

    @app.get("/browse")
    def browse(path: str = "", want: str = "any", field: str = "") -> Response:
        if not path and field in MODEL_FIELDS and desk.settings.models_dir.is_dir():
            path = str(desk.settings.models_dir)
        try:
            listing = list_folder(desk.roots, path, want="folder" if want == "folder" else "any")
        except DataError as failed:
            return JSONResponse({"error": error_words(failed), "roots": [str(root) for root in desk.roots.folders if root.is_dir()]}, status_code=403)
        entries = [[entry.name, entry.folder, entry.size] for entry in listing.entries]
        roots = [str(root) for root in desk.roots.folders if root.is_dir()]
        return JSONResponse(
            {
                "path": str(listing.path),
                "parent": str(listing.parent) if listing.parent else None,
                "entries": entries,
                "hidden": listing.hidden,
                "roots": roots,
            },
            headers=NEVER,
        )

    @app.get("/report")
    def report(run: str) -> Response:
        try:
            return PlainTextResponse(report_text(desk.run_folder(run)), headers={"content-disposition": 'attachment; filename="report.txt"', **NEVER})
        except TrainingError as failed:
            return PlainTextResponse(str(failed), status_code=404)


def add_page_routes(app: FastAPI, desk: Desk) -> None:
    """Small answers that pages ask for: the top bar, and the form as a config file."""

    @app.get("/status")
    def status() -> Response:
        return HTMLResponse(status_line(desk), headers=NEVER)

    @app.get("/draft.toml")
    def draft() -> Response:
        config, _ = desk.drafts.read(desk.options.username or LOCAL_USER).config()
        return PlainTextResponse(dumps(config), headers={"content-disposition": 'attachment; filename="config.toml"', **NEVER})


def add_login_routes(app: FastAPI, sessions: Sessions, root_path: str) -> None:
    """The login page, its form, and the way out."""

    @app.get("/login")
    async def login_page(request: Request) -> Response:
        return HTMLResponse(_login_page(root_path, request.query_params.get("next", "/")), headers=NEVER)

    @app.post("/login")
    async def login(request: Request) -> Response:
        address = request.client.host if request.client else ""
        wait = sessions.wait_seconds(address)
        if wait:
            return HTMLResponse(_login_page(root_path, "/", f"Too many attempts. Try again in {wait:.0f} seconds."), status_code=429, headers=NEVER)
        fields = parse_qs((await request.body())[:LONGEST_FORM].decode("utf-8", "replace"))
        target = safe_target(fields.get("next", ["/"])[0])
        token = await run_in_threadpool(sessions.open, fields.get("username", [""])[0], fields.get("password", [""])[0])
        if token is None:
            sessions.failed(address)
            return HTMLResponse(_login_page(root_path, target, "Name or password is wrong."), status_code=401, headers=NEVER)
        answer = RedirectResponse(root_path + target, status_code=303)
        answer.set_cookie(
            COOKIE, token, max_age=SESSION_SECONDS, httponly=True, samesite="lax", secure=request.url.scheme == "https", path=root_path or "/"
        )
        return answer

    @app.get("/logout")
    async def logout(request: Request) -> Response:
        sessions.close(session_token(request.headers))
        answer = RedirectResponse(f"{root_path}/login", status_code=303)
        answer.delete_cookie(COOKIE, path=root_path or "/")
        return answer


def _open_file(desk: Desk, path: str) -> Path:
    resolved = desk.roots.resolve(path)
    if desk.roots.hides(resolved):
        raise DataError("Hidden files are not handed out.", fix="Copy it to a name without a point in front.", path=resolved)
    return resolved


def _run_file(desk: Desk, run_id: str, path: str) -> Path:
    """A file that the run itself names: its texts, what its events say it drew and saved, or the copy of the chosen one."""
    folder = desk.run_folder(run_id)
    if path in RUN_TEXTS:
        return folder / path
    if path and path == read_note(folder).copy:
        return Path(path)
    view = desk.views.of(folder)
    if path not in view.saves and all(sample.path != path for sample in view.samples):
        raise RunError(f"The run {run_id} made no such file.")
    resolved = Path(view.record.get("cwd", "."), path).resolve()
    return resolved


def _login_page(root_path: str, target: str, problem: str = "") -> str:
    styles = tag("link", rel="stylesheet", href=f"{root_path}/look/{ALL_STYLES}?v={version()}")
    form = tag(
        "form",
        tag("div", icon("brand"), NAME, class_="brand"),
        tag("p", problem, class_="told bad", role="alert") if problem else None,
        tag("label", "Name", tag("input", name="username", autocomplete="username", autofocus=True, required=True)),
        tag("label", "Password", tag("input", name="password", type="password", autocomplete="current-password", required=True)),
        tag("input", type="hidden", name="next", value=safe_target(target)),
        tag("button", "Log in", class_="button primary", type="submit"),
        method="post",
        action=f"{root_path}/login",
        class_="card login",
    )
    dark = Markup("<script>if(matchMedia('(prefers-color-scheme: dark)').matches)document.documentElement.classList.add('dark')</script>")
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", f"Log in · {NAME}"),
            styles,
            dark,
        ),
        tag("body", tag("main", form, class_="login-page")),
        lang="en",
    )
    return f"<!doctype html>{page}"
