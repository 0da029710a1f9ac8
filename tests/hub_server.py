"""A small server that speaks the part of Hugging Face's protocol which uploads and downloads of whole files need."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

REVISION = "0" * 40


@dataclass
class Hub:
    """What a server holds, and how it behaves.

    `files` by "owner/name/path", `kinds` of repositories that were sent files ("models", "datasets"), `repos` with the words they were made with,
    `tokens` that requests came with; `fail` uploads are refused with 500, and none is taken in while `open` is not set.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    repos: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    fail: int = 0
    refuse: bool = False
    open: threading.Event = field(default_factory=threading.Event)


@contextmanager
def running_hub() -> Generator[Hub]:
    """A server on a free port of this machine, for as long as the block lasts."""
    hub = Hub()
    hub.open.set()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

        def answer(self, code: int, content: object = None, headers: dict[str, str] | None = None) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def begin(self) -> tuple[str, bytes]:
            hub.tokens.add(self.headers.get("Authorization", ""))
            return unquote(urlsplit(self.path).path), self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_POST(self) -> None:
            path, body = self.begin()
            if hub.refuse:
                return self.answer(401, {"error": "Invalid username or password."})
            if path == "/api/repos/create":
                made = json.loads(body)
                name = f"{made.get('organization') or 'me'}/{made['name']}"
                hub.repos[name] = made
                return self.answer(200, {"url": f"{hub.address}/{name}", "id": name})
            repo = "/".join(path.split("/")[3:5])
            if "/preupload/" in path:
                names = [file["path"] for file in json.loads(body)["files"]]
                return self.answer(200, {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
            hub.open.wait(20)
            hub.kinds.add(path.split("/")[2])
            if hub.fail:
                hub.fail -= 1
                return self.answer(500, {"error": "the disk is full"})
            for line in body.splitlines():
                part = json.loads(line)
                if part["key"] == "file":
                    hub.files[f"{repo}/{part['value']['path']}"] = base64.b64decode(part["value"]["content"])
            return self.answer(200, {"commitUrl": f"{hub.address}/{repo}/commit/{REVISION}", "commitOid": REVISION, "success": True})

        def do_GET(self) -> None:
            path, _ = self.begin()
            if path.startswith("/api/"):
                repo = "/".join(path.split("/")[3:5])
                inside = [name.removeprefix(f"{repo}/") for name in hub.files if name.startswith(f"{repo}/")]
                if not inside:
                    return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
                if "/tree/" in path:
                    return self.answer(200, [self.entry(repo, name) for name in inside])
                return self.answer(200, {"id": repo, "sha": REVISION, "siblings": [{"rfilename": name} for name in inside]})
            repo, _, name = path.strip("/").partition("/resolve/")
            name = name.partition("/")[2]
            content = hub.files.get(f"{repo}/{name}")
            if content is None:
                return self.answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            tag = hashlib.sha1(content).hexdigest()
            return self.answer(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": REVISION, "Content-Type": "application/octet-stream"})

        do_HEAD = do_GET

        def entry(self, repo: str, name: str) -> dict[str, object]:
            content = hub.files[f"{repo}/{name}"]
            return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
