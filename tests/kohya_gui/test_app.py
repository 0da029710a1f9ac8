"""The whole server, asked as a browser or an attacker would ask it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from kohya_gui.app import build_app, serve
from kohya_gui.gate import ATTEMPTS
from kohya_gui.settings import ServerOptions, Settings
from sd_scripts.errors import ConfigError, RunError
from tests.kohya_gui.small_runs import write_run

HERE = "http://127.0.0.1:7860"


def settings_in(folder: Path) -> Settings:
    return Settings(runs_dir=folder / "runs", output_dir=folder / "out", models_dir=folder / "models", allowed_roots=(folder,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The allowed root: a picture, a page that wants to run a script, a link out, and a run whose files lie elsewhere."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    folder = tmp_path_factory.mktemp("allowed")
    (folder / "猫 ü.png").write_bytes(b"\x89PNG")
    (folder / "evil.html").write_text("<script>alert(1)</script>")
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[TestClient]:
    """A server without a login."""
    with TestClient(build_app(settings_in(folder), ServerOptions()), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[TestClient]:
    """A server with a login, behind a prefix."""
    options = ServerOptions(listen="0.0.0.0", username="ann", password="pw", root_path="/studio")
    with TestClient(build_app(settings_in(folder), options), base_url=HERE, follow_redirects=False) as client:
        yield client


def test_every_page_answers_and_names_no_other_host(page: TestClient) -> None:
    for path in ("/", "/runs", "/run?id=x", "/about"):
        text = page.get(path).text
        assert page.get(path).status_code == 200
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?://[^"]+)"', text)
        assert [address for address in loaded if not address.startswith(HERE)] == []


def test_there_is_no_interface_description(page: TestClient) -> None:
    assert [page.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 404]


def test_no_event_is_public(page: TestClient) -> None:
    assert page.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_pages_are_compressed(page: TestClient) -> None:
    assert page.get("/").headers["content-encoding"] == "gzip"


def test_a_picture_is_shown_and_a_page_is_not(page: TestClient, folder: Path) -> None:
    picture = page.get(f"/file?path={quote(str(folder / '猫 ü.png'))}")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert page.get(f"/file?path={folder / 'evil.html'}").status_code == 403


@pytest.mark.parametrize("text", ["/etc/passwd", "{folder}/../outside0/secret.txt", "{folder}/link.txt", "link.txt", ""])
def test_no_spelling_leads_out_of_the_allowed_folders(page: TestClient, folder: Path, text: str) -> None:
    answer = page.get("/file", params={"path": text.format(folder=folder)})
    assert answer.status_code == 403
    assert "secret" not in answer.text.replace("secret.txt", "")


@pytest.mark.parametrize("name", [".keys.json", ".cache/token.txt"])
def test_hidden_files_are_not_handed_out(page: TestClient, folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("secret", "utf-8")
    answer = page.get("/file", params={"path": str(path)})
    assert answer.status_code == 403
    assert "secret" not in answer.text


def test_the_text_for_reports_is_a_download_when_asked(page: TestClient) -> None:
    assert page.get("/diagnostics").text.startswith("== Program ==")
    assert "attachment" in page.get("/diagnostics?download=true").headers["content-disposition"]


def test_gradio_hands_out_no_file_of_ours(page: TestClient, folder: Path) -> None:
    assert page.get(f"/gradio_api/file={folder / 'evil.html'}").status_code == 403


def test_a_runs_own_files_are_handed_out_and_no_others(page: TestClient, folder: Path) -> None:
    run = write_run(folder / "runs")
    assert page.get("/file", params={"run": run.name, "path": "log.txt"}).headers["content-type"].startswith("text/plain")
    weights = page.get("/file", params={"run": run.name, "path": str(run.parent / "cat.safetensors"), "download": True})
    assert (weights.content, weights.headers["content-disposition"]) == (b"cat.safetensors", 'attachment; filename="cat.safetensors"')
    assert page.get("/file", params={"run": run.name, "path": "../../x"}).status_code == 403
    assert page.get("/file", params={"run": "../x", "path": "log.txt"}).status_code == 403


def test_a_report_has_no_secrets_and_no_home(page: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(folder / "runs")
    monkeypatch.setenv("HOME", str(folder))
    (run / "log.txt").write_text(f"token=hf_abcdefghijkl {folder}/pictures")
    text = page.get("/report", params={"run": run.name}).text
    assert "hf_abcdefghijkl" not in text
    assert "~/pictures" in text


def test_folders_are_listed_only_where_allowed(page: TestClient, folder: Path) -> None:
    listed = page.get("/browse", params={"path": str(folder)}).json()
    assert ["猫 ü.png", False, 4] in listed["entries"]
    assert "link.txt" not in [name for name, _, _ in listed["entries"]]
    assert page.get("/browse", params={"path": "/etc"}).status_code == 403


def test_the_draft_can_be_downloaded_as_toml(page: TestClient) -> None:
    assert "network_dim = 16" in page.get("/draft.toml").text


def test_the_top_bar_names_the_device(page: TestClient) -> None:
    assert "memory free" in page.get("/status").text or "free" in page.get("/status").text


def test_a_foreign_name_or_origin_reaches_nothing(page: TestClient) -> None:
    assert page.get("/", headers={"host": "evil.example"}).status_code == 400
    assert page.post("/gradio_api/run/predict", json={}, headers={"origin": "http://evil.example"}).status_code == 403


def test_without_a_login_nothing_but_the_login_answers(guarded: TestClient) -> None:
    for path in ("/gradio_api/info", "/config", "/browse", "/status", "/draft.toml", "/file?path=x"):
        assert guarded.get(f"/studio{path}").status_code == 401
    assert guarded.get("/studio/", headers={"accept": "text/html"}).headers["location"] == "/studio/login?next=/"


def test_a_login_opens_the_pages_and_its_cookie_is_for_the_browser_alone(guarded: TestClient) -> None:
    answer = guarded.post("/studio/login", data={"username": "ann", "password": "pw", "next": "/runs"}, headers={"origin": HERE})
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio/runs")
    assert {"httponly", "samesite=lax", "path=/studio"} <= {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert guarded.get("/studio/runs", headers={"accept": "text/html"}).status_code == 200
    guarded.get("/studio/logout")
    assert guarded.get("/studio/status").status_code == 401


def test_guessing_passwords_is_slowed_down(guarded: TestClient) -> None:
    answers = [guarded.post("/studio/login", data={"username": "ann", "password": str(i)}).status_code for i in range(ATTEMPTS + 1)]
    assert answers == [401] * ATTEMPTS + [429]


@pytest.mark.parametrize("options", [ServerOptions(listen="0.0.0.0"), ServerOptions(share=True), ServerOptions(listen="0.0.0.0", username="ann")])
def test_nothing_is_open_to_others_without_a_login(folder: Path, options: ServerOptions) -> None:
    with pytest.raises(ConfigError, match="no login"):
        build_app(settings_in(folder), options)


def test_a_taken_port_is_told(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match="cannot be used"):
            serve(settings_in(folder), ServerOptions(server_port=taken.getsockname()[1]))
