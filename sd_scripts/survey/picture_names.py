"""Which names are those of pictures."""

from __future__ import annotations

import os
from pathlib import Path

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".jxl")
OTHER_EXTENSIONS = (".gif", ".tif", ".tiff", ".heic", ".heif", ".jfif", ".jp2", ".tga", ".psd")
"""Pictures of kinds that are not trained on: looked for only to say so."""


def is_picture(name: str) -> bool:
    """Whether a file of this name counts as a picture: by its extension in any case, and not hidden."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def stem_of(name: str) -> str:
    """A file's name without its extension. On strings, because a folder may hold a hundred thousand."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name


def holds_pictures(folder: Path) -> bool:
    """Whether at least one picture lies directly in `folder`; False for a folder that cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return any(is_picture(entry.name) for entry in entries)
    except OSError:
        return False
