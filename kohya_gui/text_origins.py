"""Which English a translation was made from, for texts that are looked up by a name: their English may change under them.

A language's file keeps a short digest of it per name, under "of". A text whose digest is another one, or none, is to be looked at again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError

KEY = "of"


def origins(options: Mapping[str, Mapping[str, str]], sections: Mapping[str, str]) -> dict[str, str]:
    """The digests of today's English: of each option's label and help, and of each section's title."""
    made = {f"options.{name}": _digest("\n".join(row[part] for part in sorted(row))) for name, row in options.items()}
    return made | {f"sections.{name}": _digest(title) for name, title in sections.items()}


def changed(file: Path, now: Mapping[str, str]) -> list[str]:
    """Names of a language's texts whose English is another one than they were made from. Raises OSError, ValueError."""
    data = json.loads(file.read_text("utf-8"))
    made: Mapping[str, str] = data.get(KEY, {})
    return [name for name, digest in now.items() if _has(data, name) and made.get(name) != digest]


def confirm(file: Path, now: Mapping[str, str]) -> int:
    """Write down that all of a language's texts fit today's English; how many did not say so before. Raises ConfigError."""
    try:
        count, data = len(changed(file, now)), json.loads(file.read_text("utf-8"))
        data[KEY] = {name: digest for name, digest in sorted(now.items()) if _has(data, name)}
        file.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", "utf-8")
    except (OSError, ValueError) as failed:
        raise ConfigError("confirm", f"{file} cannot be changed: {failed}.", fix="Check the name of the language.") from failed
    return count


def _has(data: Mapping[str, Any], name: str) -> bool:
    group, _, key = name.partition(".")
    return bool(data.get(group, {}).get(key))


def _digest(english: str) -> str:
    return hashlib.blake2b(english.encode(), digest_size=4).hexdigest()
