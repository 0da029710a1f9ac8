"""A config as a form of the kohya GUI, proved by reading it back: what does not come back goes to its additional parameters, or is listed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.config import Config, network_words
from sd_scripts.params.migrate.fields import RENAMED
from sd_scripts.params.migrate.form_fields import fields_of, tab_of
from sd_scripts.params.migrate.gui import gui_keys, import_gui
from sd_scripts.params.migrate.ledger import KEPT, Imported, Row, shown
from sd_scripts.params.migrate.lost import lost_value, why_not
from sd_scripts.params.migrate.shared import STUDIO_PROMPTS
from sd_scripts.params.migrate.trainer import trainer_of_form

ADDITIONAL = "additional_parameters"


def form_of(config: Config) -> tuple[str, tuple[Row, ...]]:
    """The JSON that the kohya GUI loads, and a row for everything that was given."""
    fields = fields_of(config)
    extra = _extra(config, fields)
    fields[ADDITIONAL] = extra.text()
    kept = _kept_again(config, fields)
    read = _read(fields, config)
    rows = [*_rows(config, read, extra), *_unasked(config, read), *_of_studio(config, kept)]
    return json.dumps(dict(sorted(fields.items())), indent=2, ensure_ascii=False) + "\n", tuple(rows)


class _Words:
    """Options as words of the form's additional parameters, which that form splits at blanks."""

    def __init__(self) -> None:
        self.words: dict[str, list[str]] = {}

    def add(self, name: str, values: Iterable[str]) -> bool:
        """Add an option, unless its value cannot stand there."""
        made = [f"--{name}", *values]
        if any(not word or word != word.strip() or any(letter.isspace() or letter in "\"'" for letter in word) for word in made):
            return False
        self.words[name] = made
        return True

    def text(self) -> str:
        """The words as they stand in the field."""
        return " ".join(word for words in self.words.values() for word in words)


def _extra(config: Config, fields: dict[str, Any]) -> _Words:
    """Words for what the fields do not bring back. What a word cannot bring back either is taken out again."""
    extra = _Words()
    for name in _different(config, _read(fields, config)):
        if config.command.section(name).sink == "list:network_args":
            _add_network_args(config, extra)
        elif not why_not(config.command, name) and not lost_value(name, config.value(name)) and name in {flag.name for flag in config.command.flags}:
            extra.add(name, _words_of(config.value(name)))
    for name in list(extra.words):
        if name in _different(config, _read({**fields, ADDITIONAL: extra.text()}, config)) and name != "network_args":
            del extra.words[name]
    return extra


def _add_network_args(config: Config, extra: _Words) -> None:
    """All of the adapter's arguments: on a command line they replace those of the fields."""
    words = [word for word in network_words(config) if not _is_own(config, word)]
    if words:
        extra.add("network_args", words)


def _is_own(config: Config, word: str) -> bool:
    name = word.partition("=")[0]
    return name in config.command.by_name and bool(why_not(config.command, name))


def _words_of(value: object) -> list[str]:
    if value is True:
        return []
    if isinstance(value, tuple):
        return [_word(item) for item in value]
    # An option that is off, or not set, has no word that says so: it is listed.
    return [""] if value is False or value is None else [_word(value)]


def _word(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _read(fields: Mapping[str, Any], config: Config) -> Imported | None:
    """What an import makes of the form; None where it makes another trainer of it, or nothing."""
    command, told = trainer_of_form(fields, config.command)
    try:
        imported = import_gui(fields, command, told)
    except ConfigError:
        return None
    return imported if command is config.command else None


def _different(config: Config, read: Imported | None) -> list[str]:
    """Options whose value does not come back."""
    names = [name for name, parameter in config.command.by_name.items() if not parameter.hints.secret and name not in ("network_args", *NO_VALUES)]
    return [name for name in names if read is None or not _equal(read.config, config, name)]


NO_VALUES = ("config_file", "output_config")


def _equal(read: Config, config: Config, name: str) -> bool:
    if config.command.section(name).sink == "list:network_args":
        # Defaults of an argument are the module's own matter: what was given counts.
        return read.given.get(name) == config.given.get(name)
    if name in RATES_OF_TEXT:
        return _rate(read, name) == _rate(config, name)
    if name in RATES_OF_PARTS:
        return _rate_of_part(read, name) == _rate_of_part(config, name)
    return read.value(name) == config.value(name)


RATES_OF_TEXT = ("learning_rate_te", "learning_rate_te1", "learning_rate_te2")

RATES_OF_PARTS = ("unet_lr", "text_encoder_lr")


def _rate_of_part(config: Config, name: str) -> object:
    """The rate that counts for a part of an adapter's model."""
    own = config.value(name)
    return (config.value("learning_rate") if own is None else own,) if not isinstance(own, tuple) else own


def _rate(config: Config, name: str) -> object:
    """The rate that counts for a text encoder: the main one where it has none of its own, 0 where it is not trained."""
    if "train_text_encoder" in config.command.by_name and not config.value("train_text_encoder"):
        return 0.0
    own = config.value(name)
    return config.value("learning_rate") if own is None else own


def _rows(config: Config, read: Imported | None, extra: _Words) -> list[Row]:
    different = set(_different(config, read))
    return [_row(config, name, value, lost=name in different, extra=extra) for name, value in config.given.items()]


def _row(config: Config, name: str, value: object, *, lost: bool, extra: _Words) -> Row:
    parameter = config.command.parameter(name)
    if parameter.hints.secret:
        return Row(name, "(not shown)", "no counterpart", "Secrets are not written to files.")
    if lost:
        why = why_not(config.command, name) or lost_value(name, value) or "That form has no field that says so."
        return Row(name, value, "no counterpart", why)
    if name in extra.words:
        return Row(name, value, "converted", became=f"{ADDITIONAL} {' '.join(extra.words[name])}")
    field = {option: field for field, option in RENAMED.items() if field in gui_keys()}.get(name, name)
    if name in gui_keys() and tab_of(config) in gui_keys()[name].tabs:
        return Row(name, value, "taken")
    if field in gui_keys():
        return Row(name, value, "converted", became=field)
    return Row(name, value, "default" if value == parameter.default else "converted", became="" if value == parameter.default else "other fields")


def _unasked(config: Config, read: Imported | None) -> list[Row]:
    """Options that nobody gave and that come back with another value."""
    if read is None:
        return [Row("", "", "no counterpart", f"That form cannot say that the trainer is {config.command.script}.")]
    names = [name for name in _different(config, read) if name not in config.given]
    made = {name: shown(read.config.value(name)) for name in names}
    return [Row(name, config.value(name), "no counterpart", f"That form always sets it: it will be {made[name]}.") for name in names]


def _kept_again(config: Config, fields: dict[str, Any]) -> set[str]:
    """Put fields back that were kept from such a form, where that changes nothing else."""
    tab = tab_of(config)
    back: set[str] = set()
    before = _different(config, _read(fields, config))
    for key, value in dict(config.studio.get(KEPT, {})).items():
        known = gui_keys().get(key)
        if known is None or tab not in known.tabs or key == ADDITIONAL:
            continue
        tried = {**fields, key: value}
        if _different(config, _read(tried, config)) == before:
            fields[key] = value
            back.add(key)
    return back


def _of_studio(config: Config, kept: set[str]) -> list[Row]:
    rows = [Row(STUDIO_PROMPTS, config.studio[STUDIO_PROMPTS], "converted", became="sample_prompts")] if config.studio.get(STUDIO_PROMPTS) else []
    for key, value in dict(config.studio.get(KEPT, {})).items():
        if key in kept:
            rows.append(Row(key, value, "taken", "It was kept from such a form."))
        else:
            rows.append(Row(key, value, "no counterpart", "It was kept from another program's file, and is no field of that form."))
    return rows
