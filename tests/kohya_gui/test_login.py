"""Who may open the page."""

from __future__ import annotations

import pytest

from kohya_gui.login import is_loopback, resolve_login
from kohya_gui.settings import ServerOptions
from sd_scripts.errors import ConfigError


def test_on_loopback_nobody_has_to_log_in():
    login = resolve_login(ServerOptions(), environment={})
    assert (login.options.password, login.notes) == ("", ())


@pytest.mark.parametrize(
    "options", [ServerOptions(listen="0.0.0.0"), ServerOptions(listen="::"), ServerOptions(share=True), ServerOptions(listen="192.168.1.9")]
)
def test_whoever_can_be_reached_gets_a_login_that_is_told(options):
    login = resolve_login(options, environment={})
    assert len(login.options.password) == 16
    assert login.options.password in login.notes[0]
    assert login.options.username in login.notes[0]


def test_made_up_passwords_differ():
    options = ServerOptions(listen="0.0.0.0")
    assert resolve_login(options, environment={}).options.password != resolve_login(options, environment={}).options.password


def test_a_password_on_the_command_line_works_with_a_warning():
    login = resolve_login(ServerOptions(username="ann", password="pw"), environment={"STUDIO_PASSWORD": "other"})
    assert (login.options.username, login.options.password) == ("ann", "pw")
    assert "STUDIO_PASSWORD" in login.notes[0]
    assert "--password-file" in login.notes[0]
    assert "pw" not in login.notes[0].replace("password", "")


def test_a_file_counts_before_the_environment(tmp_path):
    (tmp_path / "pw").write_text("from file\n")
    login = resolve_login(ServerOptions(), password_file=tmp_path / "pw", environment={"STUDIO_PASSWORD": "env"})
    assert (login.options.password, login.options.username, login.notes) == ("from file", "studio", ())


def test_the_environment_is_enough(tmp_path):
    login = resolve_login(ServerOptions(listen="0.0.0.0"), environment={"STUDIO_PASSWORD": "env", "STUDIO_USERNAME": "bob"})
    assert (login.options.username, login.options.password, login.notes) == ("bob", "env", ())


def test_a_name_without_a_password_is_refused():
    with pytest.raises(ConfigError, match="no password"):
        resolve_login(ServerOptions(username="ann"), environment={})


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_a_password_file_without_a_password_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "pw").write_text(text)
    with pytest.raises(ConfigError, match="--password-file"):
        resolve_login(ServerOptions(), password_file=tmp_path / "pw", environment={})


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("127.8.9.1", True),
        ("0.0.0.0", False),
        ("", False),
        ("no.such.host.invalid", False),
    ],
)
def test_loopback_is_judged_by_address(host, alone):
    assert is_loopback(host) is alone
