"""Everything that can be known to go wrong before anything large is loaded: each finding with its value and its remedy.

Options (unknown keys, rates that do not fit the method, options of another family), pictures, prompts and model files are `survey`'s, which
the trainer asks as well; here is what only a start can know: programs, devices, folders, disk, other runs. Together they guard what the
kohya GUI takes for granted.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kohya_gui.jobs.devices import Machine, machine
from kohya_gui.jobs.launch import launch_argv, process_count, processes_here, script_path
from kohya_gui.jobs.promise import output_folder, promise
from kohya_gui.jobs.prompts import absolute, typed_prompts, with_values
from kohya_gui.jobs.runs import active_run
from sd_scripts.errors import ConfigError
from sd_scripts.params.check import Problem
from sd_scripts.params.config import Config
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.logging import Logging
from sd_scripts.params.memory import FrozenPrecision, Precision
from sd_scripts.params.problem import error, warning
from sd_scripts.params.saving import Saving, State
from sd_scripts.survey.checks import Report, survey

_PACKAGES = ("accelerate", "torch", "diffusers", "transformers", "safetensors")
_SPARE_BYTES = 200 * 2**20
_NEEDS = {"fp16": (7, 0), "bf16": (8, 0)}


class Refused(ConfigError):
    """A start that preflight refused: `problems` are all findings, warnings too; the message is the first error's."""

    def __init__(self, problems: list[Problem]) -> None:
        first = next(problem for problem in problems if problem.severity == "error")
        super().__init__(first.field, first.message, fix=first.fix)
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at: the request, what survey found, where runs live, and the machine."""

    config: Config
    survey: Report
    runs_dir: Path
    machine: Machine

    def listing(self) -> list[str]:
        """A line per picture of the dataset."""
        scan = self.survey.scan
        return [f"{item.path}\t{item.size[0]}x{item.size[1]}\t{item.repeats}" for item in scan.items] if scan is not None else []


def preflight(config: Config, *, runs_dir: Path, processes: int | None = None) -> list[Problem]:
    """All findings, errors first. Looks at files and devices, loads nothing large, changes nothing. `processes` overrides the config's."""
    return problems_of(gather(config, runs_dir=runs_dir, processes=processes))


def gather(config: Config, *, runs_dir: Path, processes: int | None = None, on_machine: Machine | None = None) -> Facts:
    """Look at everything once."""
    return Facts(config, ask_survey(config, processes=processes), Path(runs_dir), on_machine or machine())


def ask_survey(config: Config, *, cwd: Path | None = None, processes: int | None = None) -> Report:
    """What is at the config's paths, relative ones counted from `cwd` (default: the current folder), for as many processes as will be started.

    Prompts that were typed are judged as the file that a start will write: they are written down for the moment, and read back.
    """
    with tempfile.TemporaryDirectory(prefix="prompts-") as folder:
        prompts = typed_prompts(config)
        if prompts is not None:
            config = with_values(config, {"sample_prompts": str(prompts.write(Path(folder), "prompts"))})
        return survey(absolute(config, cwd or Path.cwd()), processes=processes or process_count(config))


def problems_of(facts: Facts) -> list[Problem]:
    """What survey and all rules say, errors first, nothing twice."""
    found = [*facts.survey.problems, *(problem for rule in RULES for problem in rule(facts))]
    return sorted(dict.fromkeys(found), key=lambda problem: problem.severity != "error")


def programs_are_there(facts: Facts) -> Iterator[Problem]:
    """The trainer's script, the launcher and what they import."""
    script = script_path(facts.config)
    if not script.is_file():
        yield error("", f"The trainer {script} is missing.", "Put it back, or install again with setup.py.")
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        yield error("", f"Not installed: {', '.join(missing)}.", "Run setup.py again.")
    try:
        launch_argv(facts.config, Path("config.toml"), facts.machine)
    except ConfigError as wrong:
        yield error(wrong.field, wrong.message, wrong.fix)


def nothing_else_trains(facts: Facts) -> Iterator[Problem]:
    """One training at a time, judged by living processes and not by what somebody remembers."""
    other = active_run(facts.runs_dir)
    if other is not None:
        yield error("", f"Another training is running: {other.id}.", "Wait for it to end, or stop it.")


def devices_are_enough(facts: Facts) -> Iterator[Problem]:
    """As many devices as processes, and only ones that exist."""
    launcher, devices = facts.config[Launcher], facts.machine.devices
    here = processes_here(facts.config)
    if launcher.machine_rank:
        fix = "Start it with the command that `gui.py command` prints, or start the whole training from machine number 0."
        yield error("machine_rank", "Only machine number 0 reports how a training goes, so runs of others cannot be followed here.", fix)
    named = [word.strip() for word in (launcher.gpu_ids or "").split(",") if word.strip()]
    wrong = [word for word in named if word != "all" and not (word.isdecimal() and int(word) < len(devices))]
    if wrong:
        names, count = ", ".join(wrong), len(devices)
        there = (
            f"There is no GPU {names}; this machine has {count}, counted from 0." if devices else f"There is no GPU {names}; this machine has none."
        )
        yield error("gpu_ids", there, "Leave gpu_ids empty to use what is there.")
    if facts.machine.kind == "cpu":
        cores = os.cpu_count() or 1
        if here > cores:
            yield error("num_processes", f"{here} processes are more than the {cores} processor cores.", "Use 1.")
        return
    usable = len(named) if named and not wrong and named != ["all"] else len(devices)
    if here > usable:
        most = usable * launcher.num_machines
        yield error("num_processes", f"{here} processes need as many GPUs, but {usable} can be used.", f"Use at most {most}.")


def precision_fits_the_device(facts: Facts) -> Iterator[Problem]:
    """Number formats that the card computes in, by compute capability."""
    precision = facts.config[Precision]
    wanted = precision.mixed_precision
    in_8_bits = precision.fp8_base or (FrozenPrecision in facts.config and facts.config[FrozenPrecision].fp8_base_unet)
    if facts.machine.kind == "cpu" and (wanted == "fp16" or precision.full_fp16):
        yield warning("mixed_precision", "There is no GPU, and fp16 is slow and coarse on a processor.", "Use bf16, or no.")
    if facts.machine.kind == "mps" and in_8_bits:
        yield error("fp8_base", "PyTorch has no 8-bit floats on Apple GPUs.", "Use quantize_base int8.")
    for device in facts.machine.devices:
        if device.capability is None:
            continue
        has = f"{device.capability[0]}.{device.capability[1]}"
        needed = _NEEDS.get(wanted)
        if needed and device.capability < needed:
            below_7 = device.capability < (7, 0)
            remedy = "Use no." if below_7 else "Use fp16."
            level = error if wanted == "bf16" and below_7 else warning
            least = f"{needed[0]}.{needed[1]}"
            yield level("mixed_precision", f"{wanted} needs compute capability {least} to be fast; {device.name} has {has}.", remedy)


def folders_can_be_written(facts: Facts) -> Iterator[Problem]:
    """Really tried, in each folder or the nearest one that exists above it."""
    folders = {"output_dir": output_folder(facts.config), "logging_dir": facts.config[Logging].logging_dir, "": facts.runs_dir}
    for field, folder in folders.items():
        if folder and (problem := unwritable(Path(folder))):
            yield error(field, problem, "Choose another folder, or change its permissions.")


def nothing_is_overwritten(facts: Facts) -> Iterator[Problem]:
    """No file of the user's has the name of one that this run will write. A run that resumes meets its own."""
    if facts.config[State].resume:
        return
    there = [Path(file.path) for file in promise(facts.config, facts.survey.plan) if Path(file.path).exists()]
    if there:
        first, others, free = there[0], len(there) - 1, _free_name(facts)
        words = f"{first} and {others} more of its names exist already." if others else f"{first} exists already."
        yield error("output_name", words, f"Use another name, such as {free}.")


def disk_has_room(facts: Facts) -> Iterator[Problem]:
    """Room for all promised files at their expected size."""
    folder = _nearest(output_folder(facts.config))
    free = shutil.disk_usage(folder).free
    needed = expected_bytes(facts) + _SPARE_BYTES
    if free < needed:
        words = f"The run needs about {needed / 2**20:,.0f} MB, but {folder} has {free / 2**20:,.0f} MB left."
        yield error("output_dir", words, "Free space, or save less often.")


def expected_bytes(facts: Facts) -> int:
    """What the promised files will take, by the size that survey computed for one; a state holds the weights and two moments in 32 bits."""
    size = facts.survey.adapter.file_bytes if facts.survey.adapter is not None else 0
    promised = promise(facts.config, facts.survey.plan)
    return sum(size if file.kind == "weights" else 6 * size for file in promised)


RULES: tuple[Callable[[Facts], Iterator[Problem]], ...] = (
    programs_are_there,
    nothing_else_trains,
    devices_are_enough,
    precision_fits_the_device,
    folders_can_be_written,
    nothing_is_overwritten,
    disk_has_room,
)


def unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder that exists or would be made; empty if it can."""
    nearest = _nearest(folder)
    if not nearest.is_dir():
        return f"{nearest} is not a folder."
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return ""
    except OSError as failed:
        if failed.errno == errno.ENOSPC:
            return f"{nearest} cannot be written: the disk is full."
        reason = (failed.strerror or str(failed)).lower()
        return f"{nearest} cannot be written: {reason}."


def _nearest(folder: Path) -> Path:
    folder = folder.absolute()
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)


def _free_name(facts: Facts) -> str:
    name = facts.config[Saving].output_name or "last"
    taken = {path.name for path in output_folder(facts.config).iterdir()} if output_folder(facts.config).is_dir() else set()
    return next(f"{name}_{number}" for number in range(2, 10_000) if not any(other.startswith(f"{name}_{number}") for other in taken))
