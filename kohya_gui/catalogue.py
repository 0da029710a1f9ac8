"""What a language has to say, collected from the code, and what of it a catalogue lacks. The verb `languages` prints it.

Sentences are found where they are said: strings given to `say` or another of `SAYING`, and the words of tables that are said by name.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from kohya_gui.form.blocks import SHEETS, SIDES
from kohya_gui.form.plan import LAYERS
from kohya_gui.form.switch import METHODS
from kohya_gui.guide import GOALS, SAVINGS
from kohya_gui.presets import PRESETS, read_preset
from kohya_gui.retelling import SENTENCES_END
from kohya_gui.sections import SECTIONS
from kohya_gui.sections.preparation import BLURB, INPUTS
from kohya_gui.sections.samples import COLUMNS, PROMPTS_HELP
from kohya_gui.sentences import sentences
from kohya_gui.tabs.run_files import STATES
from kohya_gui.tabs.run_parts import GROUPS, PHASES
from kohya_gui.tabs.shell import MARKS, PAGES
from kohya_gui.tabs.training_files import THIS_FORM
from kohya_gui.text import LOCALES, MONTHS, UNITS, Words, read_words
from kohya_gui.text_origins import KEY, changed, origins
from kohya_gui.theme import script_texts
from sd_scripts.params.commands import COMMANDS
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.migrate.ledger import Outcome
from sd_scripts.params.problem import Severity
from sd_scripts.params.spec import Parameter, Section, section_of
from sd_scripts.survey.dataset_options import OWN_SECTIONS

HERE = Path(__file__).parent
SAYING = ("say", "_button", "Button", "text", "phrase")
"""Functions whose first argument is a sentence for a person."""
LABELLING = ("label", "info")
"""Arguments of Gradio's components that are translated when a page leaves the server."""
COUNTING = ("plural", "counted")
"""Functions that are given what they count, once for one and once for several."""
PHRASES = HERE.parent / "sd_scripts" / "survey"
"""Where words of ours are made that pages say, see `survey.phrase`."""


@dataclass(frozen=True)
class Catalogue:
    """English texts: `options` by name, or "name--Section" where sections declare an option differently; `sections` by class name; other `texts`;
    `sentences` that are written where nobody knows the reader.
    """

    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()
    sentences: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return sum(map(len, self.options.values())) + len(self.sections) + len(self.texts | self.sentences)

    def as_file(self, name: str) -> dict[str, Any]:
        """The form of a language's file, in English."""
        return {
            "name": name,
            "options": {key: dict(row) for key, row in self.options.items()},
            "sections": dict(self.sections),
            "texts": {text: text for text in sorted(self.texts)},
            "sentences": {text: text for text in sorted(self.sentences - self.texts)},
            KEY: dict(sorted(origins(self.options, self.sections).items())),
        }


def english() -> Catalogue:
    """All there is to say."""
    texts = frozenset({*_said(), *_tables(), *script_texts()} - {""})
    return Catalogue(_options(), _sections(), texts, frozenset({*sentences(), *_hints(), *_presets()}))


def missing(words: Words, every: Catalogue) -> list[str]:
    """What a language does not say."""
    options = [
        f"options.{key}.{part}"
        for key, row in every.options.items()
        for part in row
        if not words.options.get(key, {}).get(part) and not words.options.get(key.partition("--")[0], {}).get(part)
    ]
    sections = [f"sections.{name}" for name in every.sections if not words.sections.get(name)]
    texts = [f"texts.{text}" for text in sorted(every.texts) if not words.texts.get(text)]
    known = {text for table in (words.sentences, words.texts) for text, told in table.items() if told}
    return options + sections + texts + [f"sentences.{text}" for text in sorted(every.sentences - known)]


def stale(words: Words, every: Catalogue) -> list[str]:
    """What a language says that nobody asks for any more."""
    options = [f"options.{key}" for key in words.options if key not in every.options]
    sections = [f"sections.{name}" for name in words.sections if name not in every.sections]
    texts = [f"texts.{text}" for text in words.texts if text not in every.texts]
    return options + sections + texts + [f"sentences.{text}" for text in words.sentences if text not in every.sentences]


def report(folder: Path = LOCALES, every: Catalogue | None = None) -> dict[str, dict[str, Any]]:
    """By language: how many texts of `every` (all) there are, and which are missing, stale, or made from another English. Raises ConfigError."""
    every = every or english()
    now = origins(every.options, every.sections)
    answer = {}
    for path in sorted(folder.glob("*.json")):
        words = read_words(path.stem, folder)
        answer[path.stem] = {"name": words.name, "texts": len(every), "missing": missing(words, every), "stale": stale(words, every)}
        answer[path.stem]["changed"] = changed(path, now)
    return answer


def _described() -> Iterator[Section]:
    """Sections of options: those of commands, and those that only dataset files have."""
    for row in COMMANDS:
        yield from row.descriptions
    yield from map(section_of, OWN_SECTIONS)


def _options() -> dict[str, dict[str, str]]:
    declared: dict[str, dict[str, Parameter]] = {}
    for section in _described():
        for parameter in section.params:
            declared.setdefault(parameter.name, {}).setdefault(section.name, parameter)
    found: dict[str, dict[str, str]] = {}
    for name, by_section in declared.items():
        (_, first), *others = by_section.items()
        found[name] = _words_of(first)
        for section, parameter in others:
            differing = {part: text for part, text in _words_of(parameter).items() if text != found[name][part]}
            found |= {f"{name}--{section}": differing} if differing else {}
    return found


def _words_of(parameter: Parameter) -> dict[str, str]:
    return {"label": parameter.label, "help": parameter.help}


def _sections() -> dict[str, str]:
    titles = {section.name: section.title for section in _described()}
    return titles | {cls.__name__: cls.title for cls in SECTIONS}


def _hints() -> Iterator[str]:
    """Why options have no effect."""
    for row in COMMANDS:
        for parameter in row.parameters:
            yield from (words for words in (parameter.hints.unavailable, parameter.hints.settled) if words)


def _presets() -> Iterator[str]:
    """What bundled presets say of themselves, sentence by sentence; their sizes and steps are places."""
    yield "Start values"
    for path in sorted(PRESETS.glob("*/*.json")):
        preset = read_preset(path)
        if not preset.group:
            yield re.sub(r"\d+(?= GB$)", "{0}", preset.title)
        for sentence in SENTENCES_END.split(preset.about):
            if sentence:
                yield re.sub(r"^\d[\d,]*(?= steps, whatever)", "{0}", sentence)


def _tables() -> Iterator[str]:
    """Words that are said by a name that stands for them."""
    yield from (label for _, label, _ in PAGES)
    yield from (
        *MARKS,
        *PHASES.values(),
        *GROUPS.values(),
        *METHODS.values(),
        *STATES.values(),
        *COLUMNS,
        *get_args(Outcome),
    )
    yield from (BLURB, PROMPTS_HELP, THIS_FORM)
    for sheet in SHEETS.values():
        yield from (sheet.title, sheet.help)
    for goal in GOALS.values():
        yield from (goal.title, goal.help)
    for _, _, label, info, _ in INPUTS:
        yield from (label, info)
    yield from (saving.sentence for saving in SAVINGS)
    yield from (family.title for family in FAMILIES.values())
    yield from (*SIDES.values(), *LAYERS, *MONTHS, *get_args(Severity), "bytes", "unknown model")
    for unit in UNITS:
        yield from (f"every {unit}", f"every {{count}} {unit}s")


def _said() -> Iterator[str]:
    for path in sorted([*HERE.rglob("*.py"), *PHRASES.glob("*.py")]):
        tree = ast.parse(path.read_text("utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield from _of_call(node, constants)
            elif isinstance(node, (ast.ListComp, ast.GeneratorExp)):
                yield from _of_loop(node)


def _of_call(call: ast.Call, constants: Mapping[str, str]) -> Iterator[str]:
    name = _name(call.func)
    if name in COUNTING:
        yield from _counted(call, in_full=name == "counted")
    if name in SAYING and call.args and not (name == "text" and "words" not in ast.unparse(call.func)):
        yield from _strings(call.args[0], constants)
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "gr":
        for argument in call.keywords:
            if argument.arg in LABELLING:
                yield from _strings(argument.value, constants)


def _counted(call: ast.Call, *, in_full: bool) -> Iterator[str]:
    """`plural(3, "process", "processes")` and `counted(3, "1 process", "{count} processes")`, whose words stand there in full."""
    words = [argument.value for argument in call.args[1:] if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
    if in_full:
        yield from words
    elif words:
        yield from (f"1 {words[0]}", f"{{count}} {words[1] if len(words) > 1 else words[0] + 's'}")


def _of_loop(loop: ast.ListComp | ast.GeneratorExp) -> Iterator[str]:
    """`say(word) for word in ("Key", "Value")`, also of one place of rows."""
    said = {argument.id for argument in map(_said_argument, ast.walk(loop.elt)) if isinstance(argument, ast.Name)}
    for part in loop.generators:
        if not isinstance(part.iter, (ast.Tuple, ast.List)):
            continue
        names = part.target.elts if isinstance(part.target, ast.Tuple) else [part.target]
        for place, name in enumerate(names):
            if isinstance(name, ast.Name) and name.id in said:
                for row in part.iter.elts:
                    chosen = row.elts[place] if isinstance(row, ast.Tuple) else row
                    yield from _strings(chosen, {})


def _said_argument(node: ast.AST) -> ast.expr | None:
    return node.args[0] if isinstance(node, ast.Call) and _name(node.func) == "say" and node.args else None


def _strings(node: ast.expr, constants: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    elif isinstance(node, ast.IfExp):
        yield from _strings(node.body, constants)
        yield from _strings(node.orelse, constants)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""


def write_template(path: Path, name: str) -> None:
    """A new language's file, in English, to be translated. Raises FileExistsError."""
    with path.open("x", encoding="utf-8") as file:
        json.dump(english().as_file(name), file, ensure_ascii=False, indent=1)
        file.write("\n")
