"""Reading caption files: which file belongs to a picture, and its text. What the text becomes at a step is `captions`' matter."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.errors import DataError

OTHER_EXTENSIONS = (".txt", ".caption", ".cap", ".tags")
"""Extensions that people use for captions; looked for only to say that the chosen one is probably wrong."""
_FACE_FIELDS = 4
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class CaptionNames:
    """The caption files of one folder: found by a picture's stem, with the extension in any case."""

    by_stem: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Iterable[str], extension: str) -> CaptionNames:
        """Those of `names` that end in `extension`. One that is spelled exactly so wins over one in other case."""
        found: dict[str, str] = {}
        for name in names:
            if name.lower().endswith(extension.lower()):
                stem = name[: -len(extension)]
                if stem not in found or name.endswith(extension):
                    found[stem] = name
        return cls(found)

    def find(self, stem: str) -> str | None:
        """Name of the caption file for a picture called `stem`; for `name_cx_cy_w_h`, as face croppers write it, also that of `name`."""
        found = self.by_stem.get(stem)
        if found is None:
            parts = stem.split("_")
            if len(parts) > _FACE_FIELDS:
                found = self.by_stem.get("_".join(parts[:-_FACE_FIELDS]))
        return found


def read_caption(path: Path) -> str:
    """The text of a caption file: its lines without blank ones, each stripped, joined by newlines.

    UTF-8, with or without a byte-order mark; UTF-16 with one.

    Raises:
        DataError: the file cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise DataError(f"The caption cannot be read ({reason.strerror or reason}).", fix="Check that it may be read.", path=path) from reason
    return meant_text(decode_caption(content, path))


def encoding_of(content: bytes) -> str:
    """The encoding that a caption file's first bytes tell: UTF-8 unless there is a byte-order mark."""
    return next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")


def decode_caption(content: bytes, path: Path) -> str:
    """The bytes of the caption file `path` as text, a byte-order mark left out.

    Raises:
        DataError: it is in another encoding.
    """
    encoding = encoding_of(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as reason:
        raise DataError(
            f"The caption is not {encoding.upper().removesuffix('-SIG')}: byte {content[reason.start]:#04x} at position {reason.start}.",
            fix="Save the file as UTF-8.",
            path=path,
        ) from reason


def meant_text(text: str) -> str:
    """What of a caption file's text counts: its lines without blank ones, each stripped, joined by newlines."""
    return "\n".join(line for line in (line.strip() for line in text.splitlines()) if line)
