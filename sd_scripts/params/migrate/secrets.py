"""Secrets in other programs' files: told by their name or their look, and cut out wherever they stand."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "(not shown)"
_ENDS = ("api_key", "apikey", "secret", "password", "passwd", "access_key", "access_key_id", "access_token", "auth_token", "hf_token", "bearer")
_NAMES = frozenset({"huggingface_token", "hub_token", "secrets", "credentials", "webhook_url"})
_LOOKS = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16}|xox[abprs]-[A-Za-z0-9-]{10,})")
"""Tokens of Hugging Face, OpenAI, GitHub, Amazon and Slack have a form of their own."""
_OPTION = re.compile(r"(--[\w-]*(?:api[_-]?key|token|password|secret)\s*[= ]\s*)(\"[^\"]*\"|'[^']*'|\S+)")
"""An option of a command line that takes a secret, and its value."""


def names_a_secret(key: str) -> bool:
    """Whether a key's last part says that its value is a secret."""
    name = key.rpartition(".")[2].lstrip("-").lower().replace("-", "_")
    return name in _NAMES or name.endswith(_ENDS)


def without_secrets(value: Any) -> Any:
    """`value` with every secret in it replaced by a mark, in nested values and in text too."""
    if isinstance(value, dict):
        return {key: _hidden(item) if names_a_secret(str(key)) else without_secrets(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    if isinstance(value, str):
        return _LOOKS.sub(HIDDEN, _OPTION.sub(lambda found: f"{found[1]}{HIDDEN}", value))
    return value


def says_nothing(value: object) -> bool:
    """Whether a secret's place is empty."""
    return value in ("", None, False, "False") or value == {} or value == []


def _hidden(value: Any) -> Any:
    return value if says_nothing(value) else HIDDEN
