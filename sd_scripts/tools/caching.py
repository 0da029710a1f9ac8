"""What the caching tools share: a training's own options in, its cache files out, and nothing trained.

They read the same command line and config file as the training, so that what they write is what the training looks for. Which training it is follows
from the model's file, or from `--script`.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from sd_scripts.errors import ConfigError, DataError, TrainingError
from sd_scripts.library.data.dataset import Listing
from sd_scripts.library.families.base import Family
from sd_scripts.library.training.caches import Filling
from sd_scripts.library.training.console import LOG, close_console, open_console
from sd_scripts.library.training.control import Control
from sd_scripts.library.training.main import refuse
from sd_scripts.library.training.report import Report
from sd_scripts.library.training.runtime import start_runtime
from sd_scripts.params.cli import parse_args
from sd_scripts.params.commands import COMMANDS, Command, command
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.logging import Logging
from sd_scripts.params.problem import Problem
from sd_scripts.survey.checks import survey
from sd_scripts.survey.header import detect

MODEL = "pretrained_model_name_or_path"
FAMILY_SWITCHES = {"--sdxl": "sdxl"}
"""kohya's switches of these tools that name a family, and are no options of a training."""
USED_SECTIONS = frozenset(
    [
        "SourceModel",
        "SDModel",
        "Folders",
        "MetadataFile",
        "Regularisation",
        "Images",
        "Captions",
        "CaptionDropout",
        "Augmentation",
        "Masks",
        "Cache",
        "TextCache",
        "ClipText",
        "Loader",
        "Precision",
        "ConfigFile",
        "Distributed",
    ]
)
"""Sections whose options matter before training: a problem with any other option is the training's business."""

Fill = Callable[[Filling, Family], str]


def run(fill: Fill, switch: str, argv: Sequence[str] | None = None) -> int:
    """Fill a cache for the training that the command line describes; the exit code (see sd_scripts/errors.py).

    Args:
        fill: makes the files, and says in one line what it did.
        switch: the option that asks a training for these files; it is set here.
        argv: the command line without the program's name; None for this process's.
    """
    rank = int(os.environ.get("RANK", "0"))
    report = Report(None, main=rank == 0)
    open_console()
    try:
        script, words = _script_of(sys.argv[1:] if argv is None else list(argv))
        config = parse_args(script, [*words, f"--{switch}"])
        open_console(config[Logging])
        report.say(_fill(fill, config, report))
    except TrainingError as error:
        LOG.error(f"error: {error}")
        return error.exit_code
    except Exception as error:  # noqa: BLE001  # the process's border
        traceback.print_exc()
        LOG.error(f"error: {error}")
        return 1
    finally:
        report.close()
        close_console()
    return 0


def _fill(fill: Fill, config: Config, report: Report) -> str:
    found = survey(config)
    refuse([problem for problem in found.problems if _matters(config, problem)], report)
    if found.blueprint is None or found.scan is None:
        raise DataError("There are no pictures.", fix="Look at train_data_dir or dataset_config.")
    runtime = start_runtime(config)
    try:
        path = f"sd_scripts.library.families.{config.command.family}:FAMILY"
        family: Family = pkgutil.resolve_name(path).load(config, device=runtime.device, weight_dtype=runtime.weight_dtype)
        return fill(Filling(config, Listing(found.scan.items, found.blueprint), runtime, report, Control(None)), family)
    finally:
        runtime.close()


def _matters(config: Config, problem: Problem) -> bool:
    """Whether a problem concerns what is cached: one without an option, or with one of the sections above."""
    return problem.field not in config.command.by_name or config.command.section(problem.field).name in USED_SECTIONS


def _script_of(words: list[str]) -> tuple[Command, list[str]]:
    """The command whose options these are, and the words that are its own."""
    named = _taken(words, "--script")
    if named is not None:
        known = [row.script for row in COMMANDS if row.kind == "train"]
        if named.removesuffix(".py") not in known:
            raise ConfigError("script", f"There is no training script {named!r}.", fix=f"Use one of {', '.join(known)}.")
        return command(named), words
    if "--skip_existing" in words:
        words[words.index("--skip_existing")] = "--skip_cache_check"
    switches = [word for word in words if word in FAMILY_SWITCHES]
    words = [word for word in words if word not in FAMILY_SWITCHES]
    family = FAMILY_SWITCHES[switches[0]] if switches else _family_of(words)
    facts = next((facts for facts in FAMILIES.values() if family == facts.name or family in facts.kinds), None)
    if facts is None:
        raise ConfigError(MODEL, f"There is no training for the model family {family or 'of this file'}.", fix="Name the training with --script.")
    return command(facts.scripts["adapter"]), words


def _taken(words: list[str], name: str) -> str | None:
    """The value after `name`, which leaves the list with it."""
    if name not in words[:-1]:
        return None
    place = words.index(name)
    value = words[place + 1]
    del words[place : place + 2]
    return value


def _family_of(words: list[str]) -> str:
    """The kind of the model that the command line or its config file names, by its header; for a hub id, that of the first family."""
    config = parse_args(command(next(iter(FAMILIES.values())).scripts["adapter"]), [word for word in words if word not in ("-h", "--help")])
    name = str(config.value(MODEL) or "")
    return detect(name).family if Path(name).exists() else next(iter(FAMILIES))
