"""Sample prompts of other programs as lines of kohya's prompt files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sd_scripts.params.migrate.ledger import Ledger
from sd_scripts.params.migrate.shared import STUDIO_PROMPTS


@dataclass(frozen=True, slots=True)
class PromptLine:
    """One prompt; what is None or "" is left to the trainer."""

    prompt: str
    negative: str = ""
    width: object = None
    height: object = None
    seed: object = None
    steps: object = None
    scale: object = None
    sampler: str = ""

    def text(self) -> str:
        """The line. Line breaks become blanks, and a prompt cannot begin with what starts a comment."""
        words = [_one_line(self.prompt).lstrip("#").strip()]
        if self.negative.strip():
            words.append(f"--n {_one_line(self.negative)}")
        for option, value in (("w", self.width), ("h", self.height), ("d", self.seed)):
            number = _number(value)
            if number is not None and number >= 0:
                words.append(f"--{option} {int(number)}")
        scale, steps = _number(self.scale), _number(self.steps)
        if scale is not None:
            words.append(f"--l {scale:g}")
        if steps is not None and steps >= 1:
            words.append(f"--s {int(steps)}")
        if self.sampler:
            words.append(f"--ss {self.sampler}")
        return " ".join(words)


def take_prompts(ledger: Ledger, lines: Iterable[PromptLine]) -> None:
    """Keep the prompts as a form's text, which a start writes to a file. Empty ones are left out."""
    made = [line.text() for line in lines if line.prompt.strip()]
    if made:
        before = str(ledger.studio.get(STUDIO_PROMPTS) or "").strip()
        ledger.studio[STUDIO_PROMPTS] = "\n".join([*([before] if before else []), *made]) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.replace(" --", " - -").split())


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) and str(value).strip() else None
    except ValueError:
        return None
