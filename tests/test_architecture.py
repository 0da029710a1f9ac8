"""The architecture as a test: which way imports point, and how large things may get. docs/architecture.md draws the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("sd_scripts", "kohya_gui")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PARSED = {path: ast.parse(path.read_text("utf-8")) for path in FILES}
IDS = {path: str(path.relative_to(ROOT)) for path in FILES}

# A file may import only from its own row and the rows above it; "name" is a dotted prefix, the longest match counts.
ORDER = {
    "trainers": [
        ("sd_scripts.errors",),
        ("sd_scripts.params",),
        ("sd_scripts.survey",),
        (
            "sd_scripts.library.data",
            "sd_scripts.library.diffusion",
            "sd_scripts.library.optim",
            "sd_scripts.library.cache",
            "sd_scripts.library.held_weights",
            "sd_scripts.library.weights_file",
        ),
        ("sd_scripts.library.families.base",),
        ("sd_scripts.library.families", "sd_scripts.networks"),
        ("sd_scripts.library.methods",),
        ("sd_scripts.library.training",),
        (
            "sd_scripts.tools",
            "sd_scripts.train_network",
            "sd_scripts.sdxl_train_network",
            "sd_scripts.train_db",
            "sd_scripts.fine_tune",
            "sd_scripts.sdxl_train",
            "sd_scripts.train_textual_inversion",
            "sd_scripts.sdxl_train_textual_inversion",
        ),
    ],
    "gui": [
        ("sd_scripts.errors", "sd_scripts.params", "sd_scripts.survey"),
        ("kohya_gui.jobs", "kohya_gui.configs", "kohya_gui.text", "kohya_gui.settings", "kohya_gui.login"),
        ("kohya_gui.form",),
        ("kohya_gui.sections",),
        ("kohya_gui.tabs",),
        ("kohya_gui.app",),
        ("kohya_gui.verbs", "kohya_gui.__main__"),
    ],
}
FORBIDDEN = {
    "sd_scripts": ("gradio", "kohya_gui"),
    "sd_scripts/params": ("torch", "numpy", "PIL"),
    "sd_scripts/survey": ("torch", "numpy"),
    "kohya_gui": ("torch", "diffusers", "transformers", "sd_scripts.library", "sd_scripts.networks", "sd_scripts.train_network"),
    "kohya_gui/jobs": ("gradio",),
}
VAGUE_NAMES = {"utils", "util", "helpers", "common", "misc", "manager", "handler", "info"}
MAX_FUNCTION_LINES, MAX_FILE_LINES, MAX_PARAMETERS, MAX_POSITIONAL, MAX_NESTING = 80, 400, 8, 4, 4


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, also inside functions: a lazy import is an import."""
    for node in ast.walk(PARSED[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(PARSED[path]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def under(name: str, prefix: str) -> bool:
    return f"{name}.".startswith(f"{prefix}.")


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_folder_imports_what_it_may_not(folder):
    bad = [
        f"{IDS[path]} imports {name}"
        for path in FILES
        if path.is_relative_to(ROOT / folder)
        for name in imports_of(path)
        for banned in FORBIDDEN[folder]
        if under(name, banned)
    ]
    assert not bad, "\n".join(bad)


def rank(name: str, order: list[tuple[str, ...]]) -> int | None:
    matches = [(len(prefix), index) for index, row in enumerate(order) for prefix in row if under(name, prefix)]
    return max(matches)[1] if matches else None


@pytest.mark.parametrize("side", ORDER)
def test_imports_point_one_way(side):
    order = ORDER[side]
    bad = []
    for path in FILES:
        own = rank(module_name(path), order)
        for name in imports_of(path):
            other = rank(name, order)
            if own is not None and other is not None and other > own:
                bad.append(f"{IDS[path]} imports {name}")
    assert not bad, "\n".join(bad)


SHARED = "ldm"
"""The folder of what several families have in common; it imports none of them."""


def test_no_family_imports_another():
    families = ROOT / "sd_scripts/library/families"
    bad = [
        f"{IDS[path]} imports {name}"
        for path in FILES
        if families in path.parents and path.parent != families
        for name in imports_of(path)
        for other in families.iterdir()
        if other.is_dir() and other.name not in (path.relative_to(families).parts[0], SHARED)
        if under(name, f"sd_scripts.library.families.{other.name}")
    ]
    assert not bad, "\n".join(bad)


def test_there_are_no_import_cycles():
    known = {module_name(path): path for path in FILES}

    def target(name: str) -> str | None:
        return name if name in known else name.rpartition(".")[0] if name.rpartition(".")[0] in known else None

    graph = {module: {found for name in imports_of(path) if (found := target(name)) and found != module} for module, path in known.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=IDS.get)
def test_a_file_is_of_readable_size_and_says_what_it_is(path):
    tree = PARSED[path]
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= MAX_FILE_LINES, f"{lines} lines"
    assert ast.get_docstring(tree), "no module docstring"
    assert path.stem not in VAGUE_NAMES
    public = [
        node for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")
    ]
    local = {inner for node in functions_of(path) for inner in ast.walk(node) if inner is not node}
    assert [node.name for node in public if node not in local and not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", FILES, ids=IDS.get)
def test_functions_are_of_readable_size_and_typed(path):
    bad = []
    for node in functions_of(path):
        arguments = [a for a in [*node.args.posonlyargs, *node.args.args] if a.arg not in ("self", "cls")]
        everything = [*arguments, *node.args.kwonlyargs]
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > MAX_FUNCTION_LINES:
            bad.append(f"{node.name}: {length} lines")
        if len(everything) > MAX_PARAMETERS or len(arguments) > MAX_POSITIONAL:
            bad.append(f"{node.name}: {len(everything)} parameters, {len(arguments)} of them positional")
        if nesting(node) > MAX_NESTING:
            bad.append(f"{node.name}: nested {nesting(node)} deep")
        bad += [f"{node.name}: {a.arg} has no type" for a in everything if a.annotation is None]
        if node.returns is None:
            bad.append(f"{node.name}: no return type")
    assert not bad, "\n".join(bad)


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Levels of control flow in one function; `elif` is no level of its own, inner functions count for themselves."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse and len(node.orelse) == 1
        deeper = isinstance(child, (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)) and not chained
        deepest = max(deepest, nesting(child, depth + deeper))
    return deepest


@pytest.mark.parametrize("path", FILES, ids=IDS.get)
def test_no_exception_is_swallowed_wholesale(path):
    bare = [node.lineno for node in ast.walk(PARSED[path]) if isinstance(node, ast.ExceptHandler) and node.type is None]
    stars = [node.lineno for node in ast.walk(PARSED[path]) if isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names)]
    globals_ = [node.lineno for node in ast.walk(PARSED[path]) if isinstance(node, ast.Global)]
    assert (bare, stars, globals_) == ([], [], [])


def test_nothing_in_the_project_names_the_place_it_was_made_in():
    suffixes = {".py", ".md", ".toml", ".txt", ".json", ".css", ".cfg", ".yml"}
    roots = [
        ROOT / name
        for name in (*PACKAGES, "docs", "tests", "demo", "presets", "installer", "benchmarks", "README.md", "setup.py", "gui.py", "CHANGELOG.md")
    ]
    files = [path for root in roots for path in (root.rglob("*") if root.is_dir() else [root]) if path.is_file() and path.suffix in suffixes]
    words = ("/" + "work/", "/opt/" + "pypi", "/opt/" + "wheels", "../" + "shared")
    assert not [f"{path.relative_to(ROOT)}: {word}" for path in files for word in words if word in path.read_text("utf-8", errors="ignore")]
