"""Nothing that a person reads on a page stays outside of the catalogue: words in the code of the pages are found, and each must be in it.

A heuristic over the source. What it takes for words for people: texts with a capital first or with blanks between words, in the place of a value,
an element's content or a label. What it cannot see is a word that is in the catalogue for another page's sake and is not said here; the pages
themselves are looked at in tests/e2e/test_languages.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kohya_gui.catalogue import english
from kohya_gui.sentences import template_of

ROOT = Path(__file__).parents[2] / "kohya_gui"
PAGES = [path for package in ("form", "sections", "tabs") for path in sorted((ROOT / package).glob("*.py"))]
SAYING = ("say", "text", "retell", "plural", "every", "title", "_button", "deeds", "html_block", "get", "removeprefix", "startswith", "glob")
SHOWN = ("alt", "aria_label", "fix", "info", "label", "placeholder", "title", "value")
"""Arguments with a name that a person reads; others are classes, ids and the like."""
NAMES = {
    *("A1111, Forge", "AdamW", "ComfyUI", "Hugging Face", "LoRA Studio", "Python", "Stable Diffusion", "TensorBoard", "Weights & Biases"),
    *("Compare", "Run"),  # titles of Gradio's own routes, which no page shows
    *("Aa", "Alt+↑ Alt+↓", "Ctrl+A", "Ctrl+Enter", "Ctrl+Z Ctrl+Y", "Enter", "Esc", "Home End PgUp PgDn", "Shift+arrows", "Space"),  # keys
    *("ohwx person", "a photo of sks cat on a chair --w 512 --h 512 --d 1 --l 7 --s 25"),  # examples of what is typed
    *("python setup.py", "accelerate launch sdxl_train_network.py --network_dim 16 ..."),
}
"""Names, keys and commands, the same in every language."""
STYLES = {name for path in (ROOT / "assets").glob("*.[cj]s*") for name in re.findall(r"\.([a-z][\w-]*)", path.read_text("utf-8"))}
"""Classes, which stand in the code like words."""
CODE = re.compile(r"<|.*[(=]")


def unsaid(tree: ast.Module) -> Iterator[str]:
    """Words for people that are not said, in one module."""
    skipped = {id(node) for node in _skipped(tree)}
    for node in ast.walk(tree):
        text = template_of(node)
        if text is not None and id(node) not in skipped and _is_for_people(text):
            yield text


def _is_for_people(text: str) -> bool:
    plain = re.sub(r"\{\w*\}", "", text)
    if CODE.match(text) or not re.search(r"[A-Za-z]{2}", plain) or all(word in STYLES or word.startswith("ds-") for word in plain.split()):
        return False
    return bool(re.match(r"\s*“?[A-Z][a-z]", text) or re.search(r"[a-z,.] [a-z]", plain) or re.search(r"\} [a-z]{2}|[a-z]{2} \{", text))


def _skipped(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield from (part for part in ast.walk(node) if part is not node)
        elif isinstance(node, ast.Raise):
            yield from ast.walk(node)
        elif isinstance(node, ast.Subscript):
            yield from ast.walk(node.slice)
        elif isinstance(node, ast.Dict):
            yield from (key for key in node.keys if key is not None)
        elif isinstance(node, ast.Compare):
            yield from ast.walk(node)
        elif isinstance(node, ast.AnnAssign):
            yield from ast.walk(node.annotation)
        elif isinstance(node, ast.Call):
            yield from _skipped_of(node)


def _skipped_of(call: ast.Call) -> Iterator[ast.AST]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""
    if name in SAYING:
        yield from (node for argument in call.args for node in ast.walk(argument))
    elif name == "tag":
        yield call.args[0]
    for keyword in call.keywords:
        if keyword.arg not in SHOWN:
            yield from (node for node in ast.walk(keyword.value) if isinstance(node, (ast.Constant, ast.JoinedStr)))


@pytest.fixture(scope="module")
def known() -> frozenset[str]:
    """Whatever a language has to say."""
    every = english()
    return frozenset({*every.texts, *every.sentences, *every.sections.values(), *NAMES})


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_words_of_a_page_are_in_the_catalogue(path: Path, known: frozenset[str]) -> None:
    found = {text for text in unsaid(ast.parse(path.read_text("utf-8"))) if text not in known}
    assert found == set(), "say(...) them, and translate them; see docs/adding.md"


def test_words_that_bypass_say_are_seen() -> None:
    module = """
def draw(count):
    parts = [tag("h2", "A fine title"), tag("p", f"{count} things found", class_="small soft"), tag("a", say("Said"), aria_label="Open it")]
    words = "no folder chosen" if count else "done here"
    return tag("div", parts, id="Some-id", class_="card banner"), words
"""
    assert set(unsaid(ast.parse(module))) == {"A fine title", "{0} things found", "Open it", "no folder chosen", "done here"}


SCRIPT_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
IN_SCRIPTS = re.compile(r"[A-Z][a-z]{2,} |.*[a-z,.] [a-z].*[.?!…]$")


@pytest.mark.parametrize("path", sorted((ROOT / "assets").glob("*.js")), ids=lambda path: path.stem)
def test_sentences_of_a_script_are_said(path: Path) -> None:
    text = re.sub(r'\bsay\("(?:[^"\\]|\\.)*"', "say(", re.sub(r"(?m)(^|\s)//.*$", "", path.read_text("utf-8")))
    found = [plain or template for plain, template in SCRIPT_TEXT.findall(text)]
    assert [words for words in found if IN_SCRIPTS.match(re.sub(r"\$\{[^}]*\}", "", words))] == [], 'studio.say("...") them'
