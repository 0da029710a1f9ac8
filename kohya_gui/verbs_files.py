"""Verbs that turn one program's file into another's: import, export. Nothing that exists is overwritten."""

from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from kohya_gui.configs import import_file, script_of
from kohya_gui.verbs_config import read_any, trainer_of
from sd_scripts.errors import ConfigError
from sd_scripts.params.config_file import dumps
from sd_scripts.params.migrate import Imported, Row, Target, dataset_toml, export_text, with_dataset
from sd_scripts.params.migrate.shared import STUDIO_PROMPTS

TARGETS: dict[str, Target] = {".json": "json", ".toml": "toml"}


def run(arguments: Namespace) -> int:
    """Run the verb that was named."""
    return _import(arguments) if arguments.verb == "import" else _export(arguments)


def _import(arguments: Namespace) -> int:
    named = arguments.script is not None or script_of(arguments.file) is not None
    imported = import_file(arguments.file, trainer_of(arguments.file, arguments.script), exactly=named)
    made: list[Path] = []
    if arguments.to is not None:
        made = _keep(imported, arguments.to)
    if arguments.json:
        dataset = str(made[1]) if len(made) > 1 else ""
        print(json.dumps({"rows": _plain(imported.rows), "to": str(arguments.to or ""), "dataset": dataset}, ensure_ascii=False, default=str))
        return 0
    _print(imported.rows)
    said = f"{len(imported.rows)} keys read"
    if made:
        said += f", written to {' and '.join(map(str, made))}"
    elif imported.dataset is not None:
        said += "; the file describes a dataset too, which --to writes beside the config"
    print(said)
    return 0


def _keep(imported: Imported, to: Path) -> list[Path]:
    """Write the config, and the dataset that came along beside it; their paths."""
    if imported.dataset is None:
        return _write({to: dumps(imported.config)})
    place = to.with_name(f"{to.stem}-dataset.toml")
    return _write({to: dumps(with_dataset(imported, place.absolute()).config), place: dataset_toml(imported)})


def _export(arguments: Namespace) -> int:
    target = TARGETS.get(arguments.to.suffix.lower())
    if target is None:
        raise ConfigError("to", f"{arguments.to} has neither ending.", fix="End it in .json for the kohya GUI, or in .toml for sd-scripts.")
    config = read_any(arguments.file, arguments.script)
    prompts = str(config.studio.get(STUDIO_PROMPTS) or "")
    place = arguments.to.with_name(f"{arguments.to.stem}-prompts.txt") if prompts and target == "toml" else None
    text, rows = export_text(config, target, prompts_file=str(place.absolute()) if place else "")
    made = _write({arguments.to: text} | ({place: prompts.rstrip() + "\n"} if place else {}))
    if arguments.json:
        print(json.dumps({"rows": _plain(rows), "to": [str(path) for path in made]}, ensure_ascii=False, default=str))
        return 0
    _print(row for row in rows if row.outcome != "taken")
    lost = sum(row.outcome == "no counterpart" for row in rows)
    print(f"{len(rows)} settings, {lost} of them without a counterpart there, written to {' and '.join(map(str, made))}")
    return 0


def _write(texts: dict[Path, str]) -> list[Path]:
    """Write new files, none if one of them exists."""
    for path in texts:
        if path.exists():
            raise ConfigError("to", f"{path} exists already.", fix="Choose another name.")
    for path, text in texts.items():
        try:
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as failed:
            raise ConfigError("to", f"{path} cannot be written: {failed.strerror}.", fix="Choose another folder.") from failed
    return list(texts)


def _plain(rows: Iterable[Row]) -> list[dict[str, object]]:
    return [dataclasses.asdict(row) for row in rows]


def _print(rows: Iterable[Row]) -> None:
    for row in rows:
        print(f"{row.outcome:<14} {row.key} = {row.value!r}  {row.note}".rstrip())
