"""What stands before every page."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from kohya_gui.gate import ATTEMPTS, COOKIE, Gate, Sessions, safe_target

HTML = {"accept": "text/html"}


def client(*, sessions: Sessions | None = None, hosts: frozenset[str] = frozenset({"localhost"}), root_path: str = "") -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", lambda request: PlainTextResponse("inside"), methods=["GET", "POST"])])
    return TestClient(Gate(app, hosts=hosts, sessions=sessions, root_path=root_path), base_url="http://localhost:7860", follow_redirects=False)


def test_a_name_that_was_pointed_here_is_refused() -> None:
    answer = client().get("/", headers={"host": "evil.example:7860"})
    assert (answer.status_code, "inside" in answer.text) == (400, False)


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:9999"}, {"sec-fetch-site": "cross-site"}]
)
def test_a_post_from_another_site_is_refused(headers: Mapping[str, str]) -> None:
    assert client().post("/run", headers=dict(headers)).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"origin": "http://localhost:7860"}])
def test_our_own_page_and_programs_may_post(headers: Mapping[str, str]) -> None:
    assert client().post("/run", headers=dict(headers)).text == "inside"


def test_every_answer_forbids_other_hosts_and_frames() -> None:
    headers = client().get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")


def test_without_a_session_pages_lead_to_the_login_and_data_is_refused() -> None:
    page = client(sessions=Sessions("ann", "pw"))
    asked = page.get("/run?id=a&b=1", headers=HTML)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/run%3Fid%3Da%26b%3D1")
    assert page.get("/config").status_code == 401
    assert page.post("/gradio_api/run/predict").status_code == 401


def test_the_login_page_and_its_styles_need_no_session() -> None:
    page = client(sessions=Sessions("ann", "pw"))
    assert [page.get(path).status_code for path in ("/login", "/look/studio.css")] == [200, 200]


def test_a_session_opens_the_pages_and_its_end_closes_them() -> None:
    sessions = Sessions("ann", "pw")
    token = sessions.open("ann", "pw")
    page = client(sessions=sessions)
    page.cookies.set(COOKIE, str(token))
    assert page.get("/").text == "inside"
    sessions.close(str(token))
    assert page.get("/").status_code == 401


@pytest.mark.parametrize(("name", "password"), [("ann", "no"), ("bob", "pw"), ("", ""), ("ann", "pẅ")])
def test_a_wrong_name_or_password_opens_nothing(name: str, password: str) -> None:
    assert Sessions("ann", "pw").open(name, password) is None


def test_after_some_wrong_passwords_an_address_has_to_wait_and_others_do_not() -> None:
    sessions = Sessions("ann", "pw")
    for _ in range(ATTEMPTS):
        assert sessions.wait_seconds("10.0.0.9") == 0
        sessions.failed("10.0.0.9")
    assert sessions.wait_seconds("10.0.0.9") > 0
    assert sessions.wait_seconds("10.0.0.8") == 0


def test_a_prefix_of_a_proxy_is_kept_in_the_redirect() -> None:
    page = client(sessions=Sessions("ann", "pw"), root_path="/studio")
    for path in ("/studio/runs", "/runs"):
        assert page.get(path, headers=HTML).headers["location"] == "/studio/login?next=/runs"


@pytest.mark.parametrize("text", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", ""])
def test_the_login_leads_to_no_other_host(text: str) -> None:
    assert safe_target(text) == "/"
