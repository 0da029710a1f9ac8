"""Config files of a user: those that were opened or saved lately, and names for new ones that replace nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.jobs.states import write_whole

MOST = 12


@dataclass(frozen=True)
class Shelf:
    """Remembers files in `folder`, one small list per user."""

    folder: Path

    def recent(self, user: str) -> list[str]:
        """Files that are still there, the latest first."""
        try:
            paths = json.loads(self._path(user).read_text("utf-8"))
        except (OSError, ValueError):
            return []
        return [path for path in paths if isinstance(path, str) and Path(path).is_file()] if isinstance(paths, list) else []

    def note(self, user: str, path: str) -> None:
        """Put a file first. A list that cannot be written is no reason to fail: the file itself was opened or saved."""
        paths = [path, *(other for other in self.recent(user) if other != path)][:MOST]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._path(user), json.dumps(paths, ensure_ascii=False))
        except OSError:
            return

    def _path(self, user: str) -> Path:
        return self.folder / f"{hashlib.sha256(user.encode()).hexdigest()[:16]}-recent.json"


def free_path(path: Path) -> Path:
    """`path`, or the first of `name-2`, `name-3`, ... where there is no file yet."""
    stem, number, found = path.stem, 2, path
    while found.exists():
        found, number = path.with_name(f"{stem}-{number}{path.suffix}"), number + 1
    return found
