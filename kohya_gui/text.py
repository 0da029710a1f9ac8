"""Words and numbers as people read them: sizes, durations, times, and all texts in the language of whoever asks. No page lives here."""

from __future__ import annotations

import json
import string
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kohya_gui.retelling import Retelling
from sd_scripts.errors import ConfigError, DataError, TrainingError
from sd_scripts.params.spec import Parameter

LOCALES = Path(__file__).parent / "locales"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNITS = ("step", "epoch")
"""What `every` counts."""
ENGLISH = "en"


@dataclass(frozen=True)
class Words:
    """The texts of one language; what a language does not say is said in English, whole.

    `options` has label and help by an option's name, or by "name--Section" where sections declare it differently; `sections` has titles by the
    class name of a section; `texts` has what the page says, by the English sentence; `sentences` has what is written in English where nobody
    knows who will read (`sentences.py`).
    """

    language: str = ENGLISH
    name: str = "English"
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    sentences: Mapping[str, str] = field(default_factory=dict)

    def label(self, parameter: Parameter) -> str:
        """The option's name in plain words."""
        return self.option(parameter).get("label") or parameter.label

    def help(self, parameter: Parameter) -> str:
        """One or two sentences on what the option does."""
        return self.option(parameter).get("help") or parameter.help

    def option(self, parameter: Parameter) -> Mapping[str, str]:
        """What this language says of an option: of that section's, else of every option with its name."""
        general = self.options.get(parameter.name, {})
        return {**general, **self.options.get(f"{parameter.name}--{parameter.section}", {})}

    def title(self, name: str, english: str) -> str:
        """A section's title."""
        return self.sections.get(name) or english

    def text(self, english: str) -> str:
        """Any other sentence or word, its {places} still open."""
        return self.texts.get(english) or english

    @cached_property
    def retelling(self) -> Retelling:
        """The sentences that were written in English, in this language."""
        return Retelling(self.sentences, self.texts)


_CURRENT: ContextVar[Words] = ContextVar("words", default=Words())  # noqa: B039, frozen, and its mappings are never written to
"""What `words` and `say` answer with: per request, since each request runs in a context of its own."""


def words() -> Words:
    """The words of whoever made the request that is being answered; English outside of any."""
    return _CURRENT.get()


@contextmanager
def speaking(chosen: Words) -> Generator[None]:
    """Answer with `chosen` inside the block, and in everything that is started there."""
    before = _CURRENT.set(chosen)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def say(english: str, **values: object) -> str:
    """A sentence in the reader's language. `values` fill its {places}: whole sentences, never pieces, so that another grammar can move them."""
    text = words().text(english)
    return text.format(**values) if values else text


def retell(english: str) -> str:
    """A sentence that was written in English, in the reader's language: an error, a finding, how a run ended. Others stay as they are."""
    return words().retelling.of(english) if english else ""


def error_words(failed: TrainingError) -> str:
    """What was refused and how to mend it, with the option or the file that it is about, in the reader's language."""
    where = f"--{failed.field}: " if isinstance(failed, ConfigError) and failed.field else ""
    where = f"{failed.path}: " if isinstance(failed, DataError) and failed.path is not None else where
    return f"{where}{retell(failed.message)} {retell(failed.fix)}".strip()


def languages(folder: Path = LOCALES) -> tuple[str, ...]:
    """The languages that can be chosen: English and one per file in `folder`."""
    return (ENGLISH, *sorted(path.stem for path in folder.glob("*.json")))


def all_words(folder: Path = LOCALES) -> Mapping[str, Words]:
    """The words of every language, by its code, English first. Raises ConfigError, see `read_words`."""
    return {language: read_words(language, folder) for language in languages(folder)}


def read_words(language: str | None, folder: Path = LOCALES) -> Words:
    """The words of `language`; None is English.

    Raises:
        ConfigError: there is no such language, its file is broken, or a sentence leaves out a place for a value.
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
    texts, sentences = data.get("texts", {}), data.get("sentences", {})
    for english, text in (*texts.items(), *sentences.items()):
        if text and _places(english) != _places(text):
            raise ConfigError("language", f"{path}: {text!r} has other {{places}} than {english!r}.", fix="Use the same names in braces.")
    return Words(str(language), str(data.get("name", language)), data.get("options", {}), data.get("sections", {}), texts, sentences)


def _places(text: str) -> set[str]:
    """Names in braces; of a text without any, since single braces may stand in one."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        return set()


def count(value: float) -> str:
    """A number with thousands separators, such as 12,345."""
    return f"{value:,.0f}"


def plural(number: int, one: str, many: str = "") -> str:
    """ "1 picture", "2,000 pictures"."""
    return say(f"1 {one}") if number == 1 else say(f"{{count}} {many or one + 's'}", count=count(number))


def every(interval: int | None, unit: str) -> str:
    """ "every step", "every 100 steps"; "" for never."""
    if not interval:
        return ""
    return say(f"every {unit}") if interval == 1 else say(f"every {{count}} {unit}s", count=count(interval))


def size(number: float) -> str:
    """Bytes in units of 1,000: "85 MB", "2.1 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {say(unit)}" if unit in ("bytes", "kB") or number >= 10 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def duration(seconds: float | None) -> str:
    """A length of time in the two largest units that matter: "45 s", "9 min", "2 h 05 min"; "measuring…" if it is unknown."""
    if seconds is None:
        return say("measuring…")
    seconds = max(0, round(seconds))
    if seconds < 90:
        return say("{seconds} s", seconds=seconds)
    minutes = round(seconds / 60)
    return (
        say("{minutes} min", minutes=minutes) if minutes < 60 else say("{hours} h {minutes} min", hours=minutes // 60, minutes=f"{minutes % 60:02d}")
    )


def clock(moment: float | None, now: float | None = None) -> str:
    """A time of day, with the date if that is not today. `moment` and `now` are unix seconds."""
    if moment is None:
        return ""
    then, today = time.localtime(moment), time.localtime(now)
    at = time.strftime("%H:%M", then)
    if then[:3] == today[:3]:
        return at
    return say("{day} {month} {year} {time}", day=f"{then.tm_mday:02d}", month=say(MONTHS[then.tm_mon - 1]), year=then.tm_year, time=at)


def number(value: float | None, digits: int = 3) -> str:
    """A measurement with `digits` significant figures; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}g}"
