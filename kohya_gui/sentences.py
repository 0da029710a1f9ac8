"""The sentences that our code writes in English for whoever will read them, found in the source as templates; `retelling` says them anew.

They are where something is refused (`raise`), found (`error`, `warning`) or concluded (`jobs`), and need no mark of their own: a new one is found
by itself, and a language that does not have it is not complete.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
TRAINERS = HERE.parent / "sd_scripts"
OF_TRAINERS = ("params", "survey", "library")
"""Packages of the trainers whose findings and errors pages show."""
ENGLISH_ONLY = ("cli", "help")
"""Of these, modules, or the first part of their names, that speak English only: command lines."""
REASONS = ("params/migrate", "why")
"""Where tables of other programs' keys are, and which of their words say why a key has no counterpart."""
IN_A_TERMINAL = ("__init__", "__main__", "app", "catalogue", "follow", "gate", "login", "report", "sentences", "share", "text", "verbs")
"""Modules, or the first part of their names, whose sentences are read in a terminal or by programs."""
SPEAKING = ("form", "sections", "tabs")
"""Packages that speak through `say`; what they refuse is written in English all the same, since it is an error like any other."""
_FINDING = ("error", "warning", "Problem")
_APART = ("say", "_said", "param", "phrase", "counted")
"""What is said is in the catalogue already, as are the labels and helps of options; `_said` is what config.toml.example says of itself."""
_BEGINS = re.compile(r"[“\"'({]?[A-Z{]|[a-z]+(_[a-z]+)+ ")
"""With a capital letter, a value, or the name of an option."""
_ENDS = re.compile(r"[.?!…:][”\"')]?( \{\w+\})?$")
"""At a full stop, or with another sentence as a value."""
_ONE_WORD = re.compile(r"[A-Z][a-z]+\.")


def sentences() -> Iterator[str]:
    """All of them; one may come twice."""
    for path in sorted(HERE.rglob("*.py")):
        place = path.relative_to(HERE)
        if place.parts[0].partition(".")[0].partition("_")[0] in IN_A_TERMINAL or "routes" in place.stem:
            continue
        yield from sentences_of(ast.parse(path.read_text("utf-8")), refusals_only=place.parts[0] in SPEAKING)
    for path in sorted(path for package in OF_TRAINERS for path in (TRAINERS / package).rglob("*.py")):
        if not any(part.partition(".")[0].partition("_")[0] in ENGLISH_ONLY for part in path.relative_to(TRAINERS).parts):
            yield from sentences_of(ast.parse(path.read_text("utf-8")))
    folder, why = REASONS
    for path in sorted((TRAINERS / folder).rglob("*.json")):
        table = json.loads(path.read_text("utf-8"))
        yield from (row[why] for row in table if isinstance(table, list))


def sentences_of(tree: ast.Module, *, refusals_only: bool = False) -> Iterator[str]:
    """The sentences in one module, apart from what it says through `say`; `refusals_only`: of what it refuses or finds."""
    skipped = {id(node) for node in _left_out(tree)}
    for root in _refusals(tree) if refusals_only else (tree,):
        for node in ast.walk(root):
            if id(node) not in skipped and (template := template_of(node)) is not None and is_sentence(template):
                yield template


def template_of(node: ast.AST) -> str | None:
    """A text with a {0}, {1}, ... for each value, {state} for a run's state; None for what is no text.

    Numbers, so that the same sentence about different things is one sentence, and stays the same when a variable is renamed.
    """
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    places: dict[str, str] = {}
    parts = []
    for value in node.values:
        if isinstance(value, ast.FormattedValue):
            parts.append(f"{{{_place(value.value, places)}}}")
        elif isinstance(value, ast.Constant):
            parts.append(str(value.value).replace("{", "{{").replace("}", "}}"))
    return "".join(parts)


def is_sentence(text: str) -> bool:
    """Whether it reads like one: from a capital letter or a value to a full stop, with a blank in it or one plain word."""
    if not re.search(r"[A-Za-z]{2}", re.sub(r"\{\w*\}", "", text)):
        return False
    return (" " in text.strip() or bool(_ONE_WORD.fullmatch(text))) and bool(_BEGINS.match(text)) and bool(_ENDS.search(text))


def _place(value: ast.expr, places: dict[str, str]) -> str:
    """What the place of `value` is called; the same expression has the same place throughout. `places` are those of the same text."""
    code = ast.unparse(value)
    if code.rpartition(".")[2] == "state":
        return "state"
    return places.setdefault(code, str(len(places)))


def _refusals(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FINDING):
            yield node


def _left_out(tree: ast.Module) -> Iterator[ast.AST]:
    """Documentation, parts of other texts, and what is said through `say`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield from (part for part in ast.walk(node) if part is not node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _APART and node.args:
            yield from (part for argument in (*node.args, *(keyword.value for keyword in node.keywords)) for part in ast.walk(argument))
