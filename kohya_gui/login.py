"""Who may open the page: name and password from the command line, a file or the environment, or made up where a stranger could reach the server."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.settings import ServerOptions
from sd_scripts.errors import ConfigError

USERNAME_VARIABLE = "STUDIO_USERNAME"
PASSWORD_VARIABLE = "STUDIO_PASSWORD"
DEFAULT_USERNAME = "studio"
# Letters and digits that nobody confuses, for a password that is copied from a terminal or a phone.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Login:
    """Options with the login filled in, and lines that the terminal must show: warnings, and a login that was made up."""

    options: ServerOptions
    notes: tuple[str, ...] = ()


def resolve_login(options: ServerOptions, *, password_file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Login:
    """Fill in name and password. The command line counts before the file, the file before the environment.

    A server that listens beyond this machine, or is shared, never goes without a login: one is made up and told.

    Raises:
        ConfigError: the password file cannot be read or is empty, or there is a name without a password.
    """
    notes: list[str] = []
    password = options.password
    if password:
        notes.append(
            f"warning: --password can be read by everybody who lists processes. Use {PASSWORD_VARIABLE} in the environment, or --password-file FILE."
        )
    else:
        password = _from_file(password_file) if password_file is not None else environment.get(PASSWORD_VARIABLE, "")
    username = options.username or environment.get(USERNAME_VARIABLE, "")
    if username and not password:
        raise ConfigError("username", f"There is a name ({username}) but no password.", fix=f"Set {PASSWORD_VARIABLE}, or use --password-file FILE.")
    if not password and (options.share or not is_loopback(options.listen)):
        password = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
        notes.append(f"This page can be reached from other machines, so it has a login: name {username or DEFAULT_USERNAME}, password {password}")
    if password:
        username = username or DEFAULT_USERNAME
    return Login(dataclasses.replace(options, username=username, password=password), tuple(notes))


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` can be reached from this machine alone. A name counts by all its addresses."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(addresses) and all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in addresses)


def _from_file(path: Path) -> str:
    try:
        password = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as failed:
        raise ConfigError("password-file", f"{path} cannot be read: {failed}.", fix="Check the path.") from failed
    if not password:
        raise ConfigError("password-file", f"{path} is empty.", fix="Write the password into it.")
    return password
