"""“Train again with changes”: a run's settings as a draft of the Train page, ready to start beside what the run made."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from kohya_gui.configs import Draft, draft_of
from kohya_gui.jobs.evidence import absolute_path
from kohya_gui.jobs.promise import output_folder
from kohya_gui.jobs.prompts import RUN_STEM, absolute
from kohya_gui.jobs.runs import CONFIG_FILE, read_run, read_status
from kohya_gui.jobs.tail import EVENTS_FILE, read_all_events
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config
from sd_scripts.params.config_file import read_config
from sd_scripts.params.saving import Saving
from sd_scripts.survey.outputs import last_stem

_NUMBERED = re.compile(r"^(?P<stem>.*?)_(?P<number>\d{1,4})$")


def draft_again(run: Path, cwd: Path) -> Draft:
    """The draft of another training like `run`, for a program whose relative paths start at `cwd`.

    Its prompts stand in it as lines. Its output name is free, which counts as changed, so that the page says so. What a resumption put in, a state of
    this very run, is left out: the new training begins at its beginning.

    Raises:
        RunError: the folder is no run folder.
        ConfigError: its config cannot be read any more.
    """
    record = read_run(run)
    config = read_config(run / CONFIG_FILE, command(record["command"]))
    if Path(record.get("cwd", cwd)) != cwd:
        config = absolute(config, Path(record["cwd"]))
    draft = draft_of(config)
    given = {name: value for name, value in draft.given.items() if name != "resume" or not _is_own_state(run, record, str(value))}
    prompts = draft.prompts or _prompts(run)
    if prompts:
        given.pop("sample_prompts", None)
    fresh = dataclasses.replace(draft, given=given, base=given, prompts=prompts)
    status = read_status(run)
    return fresh.with_value("output_name", free_name(config, busy=status.is_active or status.state == "queued"))


def free_name(config: Config, *, busy: bool = False) -> str:
    """An output name of which no file lies in the output folder yet: the config's own, or that with a number.

    `busy`: the config's own name is taken in any case, its files are still being written.
    """
    name, folder = last_stem(config[Saving].output_name), output_folder(config)
    taken = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    taken += [name] if busy else []
    found = _NUMBERED.match(name)
    stem, number = (found["stem"], int(found["number"])) if found else (name, 1)
    candidate = name
    while any(other == candidate or re.match(rf"{re.escape(candidate)}[.-]", other) for other in taken):
        number += 1
        candidate = f"{stem}_{number}"
    return candidate


def _is_own_state(run: Path, record: dict[str, object], resume: str) -> bool:
    states = (event for event in read_all_events(run / EVENTS_FILE) if event["kind"] == "save" and event.get("what") == "state")
    return any(str(absolute_path(record, str(event.get("path")))) == str(absolute_path(record, resume)) for event in states)


def _prompts(run: Path) -> str:
    """The lines of the run's own prompt file, so that they can be edited; "" where it is of another kind, and stays a file."""
    try:
        return (run / f"{RUN_STEM}.txt").read_text("utf-8").strip()
    except OSError:
        return ""
