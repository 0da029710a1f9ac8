"""What is wrong with a request, as data. The rules that find problems live in `check.py` and `survey`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning"]


LEAVE_OUT = "Leave it out."
"""The fix where the option itself has no place."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: `field` is the option's name or "", `message` says what is wrong, `fix` how to mend it. An error stops a start.

    `mend` are (option, value) pairs that do what `fix` says, where that is one clear thing; the value None takes an option out. `path` is the file
    or the folder of pictures that is to blame, "" where it is none; the message of one file begins with it.
    """

    field: str
    message: str
    fix: str = ""
    severity: Severity = "error"
    mend: tuple[tuple[str, object], ...] = ()
    path: str = ""

    def __str__(self) -> str:
        where = f"--{self.field}: " if self.field else ""
        return f"{self.severity}: {where}{self.message} {self.fix}".strip()


def error(field: str, message: str, fix: str = "", mend: Mapping[str, object] | None = None, *, path: Path | None = None) -> Problem:
    """A problem that stops a start."""
    return _problem("error", field, message, fix, mend=mend, path=path)


def warning(field: str, message: str, fix: str = "", mend: Mapping[str, object] | None = None, *, path: Path | None = None) -> Problem:
    """A problem that a person should know of, and may start with."""
    return _problem("warning", field, message, fix, mend=mend, path=path)


def _problem(severity: Severity, field: str, message: str, fix: str, *, mend: Mapping[str, object] | None, path: Path | None) -> Problem:
    if mend is None and fix == LEAVE_OUT:
        mend = {field: None}
    return Problem(field, message, fix, severity, tuple((mend or {}).items()), "" if path is None else str(path))
