"""What is wrong with a request, as data. The rules that find problems live in `check.py` and `survey`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: `field` is the option's name or "", `message` says what is wrong, `fix` how to mend it. An error stops a start."""

    field: str
    message: str
    fix: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        where = f"--{self.field}: " if self.field else ""
        return f"{self.severity}: {where}{self.message} {self.fix}".strip()


def error(field: str, message: str, fix: str = "") -> Problem:
    """A problem that stops a start."""
    return Problem(field, message, fix, "error")


def warning(field: str, message: str, fix: str = "") -> Problem:
    """A problem that a person should know of, and may start with."""
    return Problem(field, message, fix, "warning")
