"""Prompt files for previews: text with kohya's line options, TOML or JSON. What is drawn from a prompt is the family's matter."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.problem import Problem, warning
from sd_scripts.params.samples import Samples
from sd_scripts.params.spec import section_of
from sd_scripts.params.values import nearest

FIELD = "sample_prompts"
MAX_STEPS = 1000
MANY = 5
"""Places that a warning names before it says "and others"."""
SAMPLERS = section_of(Samples).param("sample_sampler").choices


@dataclass(frozen=True, slots=True)
class Prompt:
    """One preview picture. `index` counts the prompts of a file from 0. None means that the prompt does not say; `width` and `height` are in pixels,
    as written; `scale` is the strength of classifier-free guidance, `guidance_scale` the one that some models take as an input."""

    prompt: str
    index: int = 0
    negative_prompt: str | None = None
    width: int = 512
    height: int = 512
    seed: int | None = None
    scale: float = 7.5
    sample_steps: int = 30
    sample_sampler: str = "ddim"
    guidance_scale: float | None = None
    controlnet_image: str | None = None
    cfg_trunc_ratio: float | None = None
    renorm_cfg: float | None = None
    flow_shift: float | None = None


@dataclass(frozen=True, slots=True)
class PromptFile:
    """The prompts of a file, and what in it was not understood."""

    prompts: tuple[Prompt, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Option:
    """A line option: the prompt's field, the pattern of its value at the start of the text, and how the value is read."""

    field: str
    pattern: str
    read: Callable[[str], Any]


def _steps(text: str) -> int:
    return max(1, min(MAX_STEPS, int(text)))


def _optional_float(text: str) -> float | None:
    return None if text.strip().lower() == "none" else float(text)


_WHOLE, _FRACTION, _TEXT = r"\d+", r"[\d.]+", r".+"
OPTIONS = {
    "n": _Option("negative_prompt", _TEXT, str),
    "w": _Option("width", _WHOLE, int),
    "h": _Option("height", _WHOLE, int),
    "d": _Option("seed", _WHOLE, int),
    "l": _Option("scale", _FRACTION, float),
    "s": _Option("sample_steps", _WHOLE, _steps),
    "g": _Option("guidance_scale", _FRACTION, float),
    "ss": _Option("sample_sampler", _TEXT, str),
    "cn": _Option("controlnet_image", _TEXT, str),
    "ctr": _Option("cfg_trunc_ratio", _FRACTION, float),
    "rcfg": _Option("renorm_cfg", _FRACTION, float),
    "fs": _Option("flow_shift", _TEXT, _optional_float),
}
"""Line options, each written ` --name value`, in any case."""

FAMILY_OPTIONS = ("g", "cn", "ctr", "rcfg", "fs")
"""Those that only some families take (`PreviewDefaults.options`)."""

_FIELDS = {option.field for option in OPTIONS.values()} | {"prompt"}
_NUMBERS = {option.field: option.read for option in OPTIONS.values() if option.pattern != _TEXT}


def read_prompts(path: Path | str, *, sampler: str) -> tuple[Prompt, ...]:
    """The prompts of a file; `sampler` is for those that name none.

    Raises:
        ConfigError: the file is missing, is of another kind, or holds a value that cannot be used.
    """
    return read_prompt_file(path, sampler=sampler).prompts


def read_prompt_file(path: Path | str, *, sampler: str) -> PromptFile:
    """Like `read_prompts`, with what was not understood and therefore has no effect."""
    path = Path(path)
    problems: list[Problem] = []
    prompts = []
    for index, (values, ignored) in enumerate(_entries(path)):
        place = f"{path.name}, prompt {index + 1}"
        problems += [
            warning(FIELD, f"{place}: {text!r} has no effect.", f"Options are {', '.join('--' + name for name in OPTIONS)}.") for text in ignored
        ]
        made: dict[str, Any] = {"sample_sampler": sampler, **values}
        if made["sample_sampler"] not in SAMPLERS:
            near = nearest(str(made["sample_sampler"]), SAMPLERS)
            raise ConfigError(
                FIELD,
                f"{place}: there is no sampler {made['sample_sampler']!r}.",
                fix=f"Did you mean {near}?" if near else f"Use one of {', '.join(SAMPLERS)}.",
            )
        prompts.append(Prompt(index=index, **made))
    return PromptFile(tuple(prompts), tuple(problems))


def without_effect(prompts: Iterable[Prompt], taken: frozenset[str]) -> Iterator[Problem]:
    """Options of these prompts that a family does not take; `taken` are those of `FAMILY_OPTIONS` that it does."""
    for name in FAMILY_OPTIONS:
        given = [prompt.index + 1 for prompt in prompts if getattr(prompt, OPTIONS[name].field) is not None]
        if given and name not in taken:
            places = ", ".join(map(str, given[:MANY])) + (" and others" if len(given) > MANY else "")
            yield warning(FIELD, f"Prompt {places}: --{name} has no effect with this kind of model.", "Leave it out.")


def parse_line(line: str) -> tuple[dict[str, Any], list[str]]:
    """What one line of a text file says, by field of `Prompt`, and its options that were not understood."""
    prompt, *parts = line.split(" --")
    values: dict[str, Any] = {"prompt": prompt}
    ignored = []
    for part in parts:
        name, _, text = part.partition(" ")
        option = OPTIONS.get(name.lower())
        found = re.match(option.pattern, text) if option else None
        try:
            read = option.read(found.group()) if option and found else None
        except ValueError:
            found = None
        if option is None or found is None:
            ignored.append(f"--{part}")
        elif read is not None:
            values[option.field] = read
    return values, ignored


def _entries(path: Path) -> list[tuple[dict[str, Any], list[str]]]:
    text = _text(path)
    kind = path.suffix.lower()
    if kind == ".txt":
        return [parse_line(line.strip()) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if kind not in (".toml", ".json"):
        raise ConfigError(FIELD, f"{path.name} is no prompt file.", fix="Use .txt with one prompt per line, .toml or .json.")
    try:
        return _toml(tomllib.loads(text), path) if kind == ".toml" else _json(json.loads(text), path)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as reason:
        raise ConfigError(FIELD, f"{path.name} is no valid {kind[1:].upper()}: {reason}.") from reason


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(FIELD, f"The file {path} does not exist.", fix="Check the path, or write the file.") from None
    except UnicodeDecodeError as reason:
        raise ConfigError(FIELD, f"{path.name} is not UTF-8.", fix="Save it as UTF-8.") from reason
    except OSError as reason:
        raise ConfigError(FIELD, f"The file {path} cannot be read ({reason.strerror}).") from reason


def _toml(document: Mapping[str, Any], path: Path) -> list[tuple[dict[str, Any], list[str]]]:
    shared = document.get("prompt")
    if not isinstance(shared, dict):
        raise ConfigError(FIELD, f"{path.name} has no [prompt] table.", fix="Put shared values into [prompt] and each prompt into [[prompt.subset]].")
    common = {key: value for key, value in shared.items() if key != "subset"}
    subsets = shared.get("subset", [{}] if "prompt" in common else [])
    if not isinstance(subsets, list) or not subsets:
        raise ConfigError(FIELD, f"{path.name} has no prompt.", fix='Add a [[prompt.subset]] with prompt = "...".')
    return [_from_table({**common, **subset}, path) for subset in subsets]


def _json(document: object, path: Path) -> list[tuple[dict[str, Any], list[str]]]:
    if not isinstance(document, list):
        raise ConfigError(FIELD, f"{path.name} holds no list.", fix="Write a list of prompts, each a text or an object with the key prompt.")
    return [parse_line(entry) if isinstance(entry, str) else _from_table(entry, path) for entry in document]


def _from_table(table: object, path: Path) -> tuple[dict[str, Any], list[str]]:
    if not isinstance(table, dict) or not isinstance(table.get("prompt"), str):
        raise ConfigError(FIELD, f"{path.name} has an entry without a prompt.", fix="Give each entry the key prompt.")
    values = {}
    for key, value in table.items():
        if key not in _FIELDS or value is None:
            continue
        try:
            values[key] = _NUMBERS[key](str(value)) if key in _NUMBERS else _optional_float(str(value)) if key == "flow_shift" else str(value)
        except ValueError:
            raise ConfigError(FIELD, f"{path.name}: {key} = {value!r} is not a number.") from None
    return values, [key for key in table if key not in _FIELDS and key not in ("enum", "subset")]
