"""What a user can be told. Anything else that reaches the top is our bug and exits with 1.

TrainingError            exit code
  ConfigError    2       an option, or a combination of options, is wrong; nothing was loaded yet
  DataError      2       an image, caption, weight file or folder is unusable
  Stopped        3       somebody asked for it; what could be saved is saved
  RunError       1       disk full, file vanished, device lost
    OutOfMemory  4
    Diverged     5       NaN or Inf in the loss, latents or weights
"""

from __future__ import annotations

from pathlib import Path


class TrainingError(Exception):
    """A sentence for the user: `message` says what is wrong, with the value; `fix` says how to mend it. `code` names the kind for machines."""

    exit_code = 1
    code = "error"

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(f"{message} {fix}".strip())
        self.message, self.fix = message, fix


class ConfigError(TrainingError):
    """`field` is the option's name (no dashes), `message` says what is wrong with the value in it, `fix` says what to do."""

    exit_code = 2
    code = "config"

    def __init__(self, field: str, message: str, *, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.field = field

    def __str__(self) -> str:
        return f"--{self.field}: {super().__str__()}" if self.field else super().__str__()


class DataError(TrainingError):
    """An image, caption, weight file or folder is unusable; `path` names it where one file is to blame."""

    exit_code = 2
    code = "data"

    def __init__(self, message: str, *, fix: str = "", path: Path | str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.path = None if path is None else Path(path)

    def __str__(self) -> str:
        return f"{self.path}: {super().__str__()}" if self.path is not None else super().__str__()


class Stopped(TrainingError):
    """The run ended because somebody asked for it; weights and state were saved first."""

    exit_code = 3
    code = "stopped"


class RunError(TrainingError):
    """The machine, not the request, is to blame: disk full, file vanished, device lost."""

    code = "run"


class OutOfMemory(RunError):
    """The accelerator or the machine ran out of memory; `fix` names the next cheapest remedy."""

    exit_code = 4
    code = "memory"


class Diverged(RunError):
    """NaN or Inf in the loss, latents or weights; the message names the step and, where known, the image."""

    exit_code = 5
    code = "diverged"
