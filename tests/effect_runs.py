"""What one small training shows of itself, piece by piece, so that two of them can be compared: for tests/test_effects.py."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
import torch
from safetensors import safe_open

from sd_scripts.library.weights_file import read_weights
from sd_scripts.params.commands import Command, command

CAPTIONS = (
    "a {red|blue} cat, warm ||| soft (bright:1.4);;; small, dry",
    "cold ||| two, tall, green;;; wide; old, cat",
    "cat, {round|square}, dark, new ||| far",
    "high; low, cat ||| near, thin;;; big, wet",
)
SIZES = ((64, 64), (80, 64), (64, 128), (100, 90))
"""At 64 px they make two steps of two pictures in each epoch; four steps are trained."""
WORD = {"token_string": "sks", "init_word": "cat", "caption_prefix": "sks ", "save_model_as": "safetensors"}
"""What a textual inversion is told besides."""
CHANGING = ("started_at", "finished_at", "session_id", "date", "hash")
"""Parts of the names of header entries that differ between any two runs."""


@dataclass(frozen=True)
class Seen:
    """One training from outside.

    `code` is the exit code, `said` what was printed, `plan` the plan, `losses` and `rates` those of each step, `phases` what it did in which order,
    `validation` the losses on kept pictures, `files` the names of all files it made (in the output, log and picture folders), `tensors` name, type,
    shape and content of what it saved, `header` the entries beside them, `samples` the content of pictures it drew, `calls` how many modules ran.
    """

    code: int
    said: str
    plan: Mapping[str, Any]
    losses: tuple[float, ...]
    rates: tuple[Mapping[str, float], ...]
    phases: tuple[tuple[object, ...], ...]
    validation: tuple[object, ...]
    files: tuple[str, ...]
    tensors: Mapping[str, tuple[object, ...]]
    header: Mapping[str, str]
    samples: tuple[str, ...]
    calls: int

    @property
    def shapes(self) -> Mapping[str, object]:
        """Shapes of what was saved."""
        return {name: described[1] for name, described in self.tensors.items()}

    @property
    def types(self) -> set[object]:
        """Number formats of what was saved."""
        return {described[0] for described in self.tensors.values()}


def words_of(row: Command, given: Mapping[str, object]) -> dict[str, object]:
    """`given` as flags: options of a list (`network_args`, ...) become its words."""
    flags: dict[str, object] = {}
    for name, value in given.items():
        sink = row.section(name).sink if name in row.by_name else "flag"
        if sink.startswith("list:"):
            flags.setdefault(sink.removeprefix("list:"), [])
            flags[sink.removeprefix("list:")] = [*_many(flags[sink.removeprefix("list:")]), f"{name}={value}"]
        else:
            flags[name] = value
    return flags


def _many(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def draw_pictures(folder: Path) -> Path:
    """The four pictures with their captions. Returns `folder`."""
    tiny_runs.draw_pictures(folder, SIZES)
    for number, caption in enumerate(CAPTIONS):
        (folder / f"{number}.txt").write_text(caption, encoding="utf-8")
        (folder / f"{number}.cap").write_text(f"other words {number}", encoding="utf-8")
    return folder


@contextlib.contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Counts every module's forward pass."""
    calls = [0]

    def count(*_: object) -> None:
        calls[0] += 1

    handle = torch.nn.modules.module.register_module_forward_hook(count)
    try:
        yield calls
    finally:
        handle.remove()


def look(script: str, folder: Path, models: Path, given: Mapping[str, object]) -> Seen:
    """Train `script` in `folder` with the small models of `models`: four steps, unless `given` says otherwise. A folder is used once."""
    folder.mkdir(parents=True)
    draw_pictures(folder / "own" / "1_cat")
    for made in (tiny_runs.micro_model(models), tiny_runs.sdxl_model(models)):
        (folder / made.name).symlink_to(made)
    basics: dict[str, object] = {"train_data_dir": folder / "own", "output_dir": folder / "out", "max_train_steps": 4, "learning_rate": 1e-3}
    if "inversion" in script:
        basics |= WORD
    own = {name: folder.joinpath(*value.parts[1:]) if isinstance(value, Path) and value.parts[0] == "OWN" else value for name, value in given.items()}
    asked = words_of(command(script), {**basics, **own})
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), counted_calls() as calls:
        run_dir = tiny_runs.report_to(folder / "run", patch)
        try:
            code = tiny_runs.train(folder, script, **asked)
        except SystemExit as ended:
            code = int(str(ended.code))
    return seen(folder, run_dir, code=code, said=said.getvalue(), calls=calls[0])


def seen(folder: Path, run_dir: Path, *, code: int, said: str, calls: int) -> Seen:
    """What the run in `folder` left behind; the folder is taken away."""
    told = tiny_runs.events(run_dir)
    steps = [event for event in told if event["kind"] == "step"]
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    files = sorted(re.sub(r"\d{6,}[\d.]*", "N", str(path)) for path in paths)  # names of logs hold the time
    saved = sorted((folder / "out").glob("cat.*")) if (folder / "out").is_dir() else []
    found = Seen(
        code=code,
        said=said.replace(str(folder), ""),
        plan=next((event["plan"] for event in told if event["kind"] == "plan"), {}),  # type: ignore[arg-type]
        losses=tuple(float(str(event["loss"])) for event in steps),
        rates=tuple(event["lr"] for event in steps),  # type: ignore[misc]
        phases=tuple((event["phase"], event["done"], event["total"]) for event in told if event["kind"] == "phase"),
        validation=tuple((event["step"], event["loss"]) for event in told if event["kind"] == "validation"),
        files=tuple(name for name in files if not name.startswith(("pictures/", "run/"))),
        tensors=_tensors(saved[0]) if saved else {},
        header=_header(saved[0]) if saved and saved[0].suffix == ".safetensors" else {},
        samples=tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("sample/*.png"))),
        calls=calls,
    )
    shutil.rmtree(folder)
    return found


def _tensors(path: Path) -> dict[str, tuple[object, ...]]:
    tensors, _ = read_weights(path)
    return {
        name: (tensor.dtype, tuple(tensor.shape), hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest())
        for name, tensor in ((name, value if value.ndim else value.view(1)) for name, value in tensors.items())
    }


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return {key: value for key, value in (file.metadata() or {}).items() if not any(part in key for part in CHANGING)}
