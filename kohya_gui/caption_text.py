"""One caption file, as bytes and as text for an editor. What nobody changes stays: encoding, byte-order mark, line ends, blank last lines."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.jobs.states import replace_file
from sd_scripts.errors import DataError
from sd_scripts.survey.caption_files import decode_caption, encoding_of

ENCODINGS = ("cp1252", "shift_jis", "gb18030", "big5", "euc_kr", "cp1251", "utf-16-le")
"""What a file that is not UTF-8 may be read as, when a person says so."""
_LINES = re.compile(r"(.*?)(\r\n|\r|\n|\Z)", re.DOTALL)
_MADE = 0o666


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption file that can be read. `content` are its bytes, None where there is no file; `raw` is all of its text."""

    content: bytes | None
    raw: str

    @property
    def body(self) -> str:
        """The text as an editor shows it: lines end with a newline, and none follows the last one."""
        return _plain(self.raw[: len(self.raw) - len(self._tail)])

    def written(self, body: str) -> bytes:
        """The file with `body` as its text. Lines that are as before keep their ends, new ones get the end that is most common.

        Raises:
            DataError: the text holds half a character, which no file can.
        """
        body = _plain(body).rstrip("\n")
        if self.content is not None and body == self.body:
            return self.content
        ends = Counter(end for _, end in _lines(self.raw) if end)
        usual = ends.most_common(1)[0][0] if ends else "\n"
        text = _with_ends(_lines(self.raw[: len(self.raw) - len(self._tail)]), body.split("\n"), usual) + self._tail
        try:
            return _encoded(text, self.content or b"")
        except UnicodeEncodeError as reason:
            raise DataError("The text holds half a character, which cannot be saved.", fix="Delete it and type it again.") from reason

    @property
    def _tail(self) -> str:
        return self.raw[len(self.raw.rstrip("\r\n")) :]


def read_bytes(path: Path) -> bytes | None:
    """The bytes of a file, None where there is none.

    Raises:
        DataError: it is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as reason:
        raise DataError(f"The caption cannot be read ({reason.strerror or reason}).", fix="Check that it may be read.", path=path) from reason


def caption_of(content: bytes | None, path: Path) -> Caption:
    """The caption that a file's bytes are. Raises DataError for another encoding than UTF-8, or UTF-16 with a byte-order mark."""
    return Caption(content, "" if content is None else decode_caption(content, path))


def recoded(content: bytes, encoding: str, path: Path) -> bytes:
    """The file as UTF-8, read as `encoding`, one of `ENCODINGS`.

    Raises:
        DataError: the bytes are none of that encoding.
    """
    try:
        return content.decode(encoding).encode()
    except UnicodeError as reason:
        raise DataError(f"The caption is not {encoding} either.", fix="Choose another encoding.", path=path) from reason


def version(content: bytes | None) -> str:
    """What tells one content of a file from another; "" where there is no file."""
    return "" if content is None else hashlib.blake2b(content, digest_size=8).hexdigest()


def put(path: Path, content: bytes | None, *, sync: bool = True) -> None:
    """Give a file this content at once and as a whole; None removes it. A link stays one, and so do the permissions.

    Without `sync` the disk may be late: for many files whose content stands elsewhere too.

    Raises:
        OSError: it cannot be done; the file is as before.
    """
    target = path.resolve()
    if content is None:
        target.unlink(missing_ok=True)
        return
    exists = target.exists()
    if exists and not os.access(target, os.W_OK):
        raise PermissionError(13, "The file is write-protected", str(target))
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MADE), "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if exists:
            fresh.chmod(target.stat().st_mode & 0o7777)
        replace_file(fresh, target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _encoded(text: str, before: bytes) -> bytes:
    """Text in the encoding, and behind the byte-order mark, of the bytes that were there before."""
    if encoding_of(before) == "utf-16":
        mark = before[:2]
        return mark + text.encode("utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be")
    return text.encode(encoding_of(before))


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(text: str) -> list[tuple[str, str]]:
    """Each line with its end; the last one's is ""."""
    return [(line, end) for line, end in _LINES.findall(text) if end] + [(text[max(text.rfind("\n"), text.rfind("\r")) + 1 :], "")]


def _with_ends(old: list[tuple[str, str]], new: list[str], usual: str) -> str:
    """New lines with ends: as in `old` where lines from the front or from the back agree, else `usual`."""
    shared = min(len(old), len(new)) - 1
    made = [usual] * (len(new) - 1)
    for at in range(shared):
        if old[at][0] != new[at]:
            break
        made[at] = old[at][1]
    # From the back it is the end in front of a line that belongs to it: the last line has none behind it.
    for back in range(1, shared + 1):
        if old[-back][0] != new[-back]:
            break
        made[-back] = old[-back - 1][1]
    # A lone carriage return in front of an empty line would make one end of two.
    if any(end == "\r" and not line and after == "\n" for end, line, after in zip(made, new[1:], made[1:], strict=False)):
        made = ["\n"] * len(made)
    return "".join(line + end for line, end in zip(new, [*made, ""], strict=True))
