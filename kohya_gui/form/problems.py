"""How pages say a problem: a file by its folder's and its own name, with a way to the place where it is mended."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from kohya_gui.markup import Markup, join, tag
from kohya_gui.text import retell, say
from sd_scripts.params.problem import Problem


def problem_words(problem: Problem) -> str:
    """What is wrong, without the folders above a file."""
    start = f"{problem.path}: "
    if not problem.path or not problem.message.startswith(start):
        return retell(problem.message)
    return f"{short_path(problem.path)}: {retell(problem.message.removeprefix(start))}"


def problem_markup(problem: Problem) -> Markup:
    """The same, with the whole path for whoever points at it."""
    start = f"{problem.path}: "
    if not problem.path or not problem.message.startswith(start):
        return join(retell(problem.message))
    return join(tag("b", short_path(problem.path), title=problem.path, class_="file"), ": ", retell(problem.message.removeprefix(start)))


def short_path(path: str) -> str:
    """A file's own name and its folder's."""
    return "/".join(Path(path).parts[-2:])


def pictures_link(problem: Problem, root_path: str) -> Markup | None:
    """A way to the picture, or to the folder of pictures, on the page that mends it; None for a problem of something else."""
    if not problem.path:
        return None
    return tag("a", say("Show on the Dataset page"), href=f"{root_path}/dataset?at={quote(problem.path, safe='')}", class_="link")
