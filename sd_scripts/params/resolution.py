"""The training size: text to pixels."""

from __future__ import annotations

import re

from sd_scripts.errors import ConfigError


def parse_resolution(text: str) -> tuple[int, int]:
    """Width and height in pixels from "width,height", or from one number for a square.

    Raises:
        ConfigError: the text is neither.
    """
    parts = [part.strip() for part in text.strip().strip("[]()").split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(parts) > 2:
        numbers = re.findall(r"\d+", text)
        fix = f'Write "{",".join(numbers)}".' if 1 <= len(numbers) <= 2 else 'Write "512,512", or 512 for a square.'
        raise ConfigError("resolution", f'{text!r} is not "width,height".', fix=fix)
    return int(parts[0]), int(parts[-1])
