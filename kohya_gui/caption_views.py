"""What each user looked at last on the Captions page, in a small file: a reload, another browser or a restart shows it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_gui.jobs.states import write_whole
from kohya_gui.text import say
from sd_scripts.errors import RunError

EMPTY: Mapping[str, Any] = {"folder": "", "extension": "", "trigger": "", "filter": {}, "picture": "", "selected": []}
"""Folder ("" is the form's) and ending of captions as asked for, trigger words, filter, the picture that had the focus, and the chosen ones."""


@dataclass(frozen=True, slots=True)
class Views:
    """Views by user, in `folder`."""

    folder: Path

    def path(self, user: str) -> Path:
        """Where a user's view is kept."""
        return self.folder / f"{hashlib.sha256(user.encode()).hexdigest()[:16]}.json"

    def read(self, user: str) -> dict[str, Any]:
        """The user's view; an empty one where there is none or its file cannot be read."""
        try:
            kept = json.loads(self.path(user).read_text("utf-8"))
        except (OSError, ValueError):
            kept = {}
        return {**EMPTY, **_sound(kept if isinstance(kept, dict) else {})}

    def write(self, user: str, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Keep parts of a view; the others stay, but another folder starts with no filter and no choice. The view as it is then.

        Raises:
            RunError: it cannot be written.
        """
        before, parts = self.read(user), _sound(parts)
        moved = parts.get("folder", before["folder"]) != before["folder"]
        view = {**(EMPTY if moved else before), **parts}
        path = self.path(user)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(view, ensure_ascii=False))
        except (OSError, UnicodeEncodeError) as reason:
            message = say("The view of the page cannot be kept in {path}.", path=path)
            raise RunError(message, fix=say("Free space, or choose another runs_dir.")) from reason
        return view


def _sound(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `parts` that a view has, of the right type."""
    return {name: parts[name] for name, empty in EMPTY.items() if name in parts and isinstance(parts[name], type(empty))}
