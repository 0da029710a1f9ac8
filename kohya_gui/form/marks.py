"""What the page's script shows at the fields: problems, changes, fields that do not apply, a line per closed section. Plain data, no widget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kohya_gui.configs import Draft
from kohya_gui.form.keys import keys_of
from kohya_gui.form.problems import problem_words
from kohya_gui.markup import Markup, tag
from kohya_gui.text import Words, retell, say
from sd_scripts.params.applies import unmet
from sd_scripts.params.commands import Command
from sd_scripts.params.config import Config
from sd_scripts.params.problem import Problem


@dataclass(frozen=True)
class SectionFacts:
    """What the marks need to know of a drawn section: its element's id, its fields, and the line that sums up a config."""

    id: str
    keys: tuple[str, ...]
    summary: Callable[[Config], str]


def make_marks(draft: Draft, config: Config, problems: Sequence[Problem], *, sections: Iterable[SectionFacts], words: Words) -> dict[str, Any]:
    """Everything the script decorates the form with, by field.

    `script`: the trainer, by which the page shows and hides fields. `draft`: a digest of the values, since new marks make the page ask for a new
    plan. `problems`: [severity, message, fix, whether a button can do it], the worst of each field. `off`: why a field does not apply. `changed`:
    what a reset goes back to. `sections`: {summary, mark, changed} by element id. `general`: problems of no drawn field. `errors` and `warnings`:
    counts.
    """
    off, keys = not_applicable(draft.command, config, words), keys_of(draft.command)
    sections = tuple(sections)
    drawn = {key for section in sections for key in section.keys}
    by_field: dict[str, list[Any]] = {}
    for problem in sorted(problems, key=lambda problem: problem.severity != "error"):
        if keys.get(problem.field) in drawn:
            by_field.setdefault(keys[problem.field], [problem.severity, problem_words(problem), retell(problem.fix), bool(problem.mend)])
    changed = {keys[name]: base_words(draft.base_value(name)) for name in draft.changed() if keys[name] in drawn}
    return {
        "script": draft.script,
        "draft": _digest(draft),
        "problems": by_field,
        "off": {keys[name]: reason for name, reason in off.items() if keys[name] not in changed},
        "changed": changed,
        "sections": {section.id: _section_marks(section, config, by_field, changed) for section in sections},
        "general": [[p.severity, problem_words(p), retell(p.fix)] for p in problems if keys.get(p.field) not in drawn],
        "errors": sum(problem.severity == "error" for problem in problems),
        "warnings": sum(problem.severity == "warning" for problem in problems),
    }


def as_markup(marks: Mapping[str, Any]) -> Markup:
    """The marks as an element that the script reads."""
    return tag("span", data_marks=json.dumps(marks, ensure_ascii=False, separators=(",", ":")), hidden=True)


def not_applicable(command: Command, config: Config, words: Words) -> dict[str, str]:
    """Options without effect as things stand, with the reason."""
    reasons: dict[str, str] = {}
    for section in command.descriptions:
        for parameter in section.params:
            fixed = parameter.hints.unavailable or parameter.hints.settled
            if fixed:
                reasons[parameter.name] = retell(fixed)
                continue
            condition = unmet(command, parameter.name, config.value)
            if condition is not None:
                reasons[parameter.name] = _reason(words.label(command.parameter(condition[0])), condition[1])
    return reasons


def base_words(value: object) -> str:
    """A value in the words of a reset button."""
    if value in (None, "", ()):
        return say("empty")
    if isinstance(value, bool):
        return say("on") if value else say("off")
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _digest(draft: Draft) -> str:
    values = [draft.script, sorted(draft.given.items()), sorted(draft.wrong.items()), draft.prompts]
    return hashlib.blake2b(repr(values).encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()


def _reason(label: str, wanted: object) -> str:
    if wanted is True:
        return say("Needs “{label}”.", label=label)
    if wanted is False:
        return say("Not together with “{label}”.", label=label)
    allowed = wanted if isinstance(wanted, tuple) else (wanted,)
    if len(allowed) == 1:
        return say("Only where “{label}” is {value}.", label=label, value=allowed[0])
    return say("Only where “{label}” is one of {values}.", label=label, values=", ".join(map(str, allowed)))


def _section_marks(section: SectionFacts, config: Config, problems: Mapping[str, Sequence[str]], changed: Mapping[str, str]) -> dict[str, Any]:
    severities = {problems[name][0] for name in section.keys if name in problems}
    mark = "error" if "error" in severities else "warning" if severities else ""
    return {"summary": section.summary(config), "mark": mark, "changed": sum(name in changed for name in section.keys)}
