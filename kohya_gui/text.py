"""Words and numbers as people read them: sizes, durations, times, and the labels of options in the chosen language. No page lives here."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.errors import ConfigError
from sd_scripts.params.spec import Parameter

LOCALES = Path(__file__).parent / "locales"
ENGLISH = "en"


@dataclass(frozen=True)
class Words:
    """Labels and help texts of one language; what a language does not say is said in English, whole."""

    language: str = ENGLISH
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)

    def label(self, parameter: Parameter) -> str:
        """The option's name in plain words."""
        return self.options.get(parameter.name, {}).get("label", parameter.label)

    def help(self, parameter: Parameter) -> str:
        """One or two sentences on what the option does."""
        return self.options.get(parameter.name, {}).get("help", parameter.help)

    def title(self, name: str, english: str) -> str:
        """A section's title."""
        return self.sections.get(name, english)


def languages(folder: Path = LOCALES) -> tuple[str, ...]:
    """The languages that can be chosen: English and one per file in `folder`."""
    return (ENGLISH, *sorted(path.stem for path in folder.glob("*.json")))


def read_words(language: str | None, folder: Path = LOCALES) -> Words:
    """The words of `language`; None is English.

    Raises:
        ConfigError: there is no such language, or its file is broken.
    """
    if language in (None, "", ENGLISH):
        return Words()
    path = folder / f"{language}.json"
    if language not in languages(folder):
        raise ConfigError("language", f"There is no language {language!r}.", fix=f"Choose one of: {', '.join(languages(folder))}.")
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as failed:
        raise ConfigError("language", f"{path} cannot be read: {failed}.", fix="Mend the file or leave the language out.") from failed
    return Words(str(language), data.get("options", {}), data.get("sections", {}))


def count(value: float) -> str:
    """A number with thousands separators, such as 12,345."""
    return f"{value:,.0f}"


def plural(number: int, one: str, many: str = "") -> str:
    """ "1 picture", "2,000 pictures"."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def every(interval: int | None, unit: str) -> str:
    """ "every step", "every 100 steps"; "" for never."""
    if not interval:
        return ""
    return f"every {unit}" if interval == 1 else f"every {plural(interval, unit)}"


def size(number: float) -> str:
    """Bytes in units of 1,000: "85 MB", "2.1 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit in ("bytes", "kB") or number >= 10 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def duration(seconds: float | None) -> str:
    """A length of time in the two largest units that matter: "45 s", "9 min", "2 h 05 min"; "measuring…" if it is unknown."""
    if seconds is None:
        return "measuring…"
    seconds = max(0, round(seconds))
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def clock(moment: float | None, now: float | None = None) -> str:
    """A time of day, with the date if that is not today. `moment` and `now` are unix seconds."""
    if moment is None:
        return ""
    then, today = time.localtime(moment), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%d %b %Y %H:%M", then)


def number(value: float | None, digits: int = 3) -> str:
    """A measurement with `digits` significant figures; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}g}"
