"""The launch command: argv list and environment of a training, made from its config. Nothing is started here."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from kohya_gui.jobs.adoption import ROOT
from kohya_gui.jobs.devices import Machine
from sd_scripts.errors import ConfigError
from sd_scripts.params.config import Config
from sd_scripts.params.hub import HuggingFace
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.memory import Compile, Precision

THREADS = "OMP_NUM_THREADS"
"""The variable that tells how many threads a process computes with; accelerate's launcher sets it from its own option."""


def launch_argv(config: Config, config_path: Path, machine: Machine) -> list[str]:
    """The words of the launch command, every option of the launcher explicit, since its defaults fill the log with advice.

    Raises:
        ConfigError: the further launcher options have an open quote.
    """
    launcher, precision = config[Launcher], config[Precision]
    several = process_count(config) > 1 or launcher.multi_gpu
    argv = [sys.executable, "-m", "accelerate.commands.launch"]
    argv += ["--num_processes", str(launcher.num_processes), "--num_machines", str(launcher.num_machines)]
    argv += ["--mixed_precision", precision.mixed_precision, "--dynamo_backend", "no"]
    argv += ["--num_cpu_threads_per_process", str(_threads(config, machine)), "--main_process_port", str(launcher.main_process_port)]
    if config[Compile].torch_compile:  # the trainer compiles, and is told how by the launcher
        argv += ["--dynamo_mode", launcher.dynamo_mode]
        argv += [f"--{name}" for name in ("dynamo_use_fullgraph", "dynamo_use_dynamic") if getattr(launcher, name)]
    if launcher.num_machines > 1:
        argv += ["--machine_rank", str(launcher.machine_rank), "--main_process_ip", launcher.main_process_ip or ""]
    if launcher.gpu_ids:
        argv += ["--gpu_ids", launcher.gpu_ids]
    # accelerate refuses --cpu beside --multi_gpu, and without --multi_gpu starts one process whatever --num_processes says.
    argv += ["--multi_gpu"] if several else ["--cpu"] if machine.kind == "cpu" else []
    return [*argv, *_further_words(launcher), str(script_path(config)), "--config_file", str(config_path)]


def script_path(config: Config) -> Path:
    """The trainer's script."""
    return ROOT / "sd_scripts" / f"{config.command.script}.py"


def process_count(config: Config) -> int:
    """Processes of all machines together."""
    return config[Launcher].num_processes


def processes_here(config: Config) -> int:
    """Processes of this machine."""
    return max(1, config[Launcher].num_processes // config[Launcher].num_machines)


def launch_environment(machine: Machine, *, offline: bool) -> dict[str, str]:
    """Variables for the processes, no secrets among them. Offline keeps the Hugging Face libraries from asking their servers."""
    environment = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    if machine.kind == "cpu":
        environment["ACCELERATE_USE_CPU"] = "true"
    return environment


def needs_the_net(config: Config) -> bool:
    """Whether the run itself asks for an outside server: a repository to upload to or to resume from."""
    hub = config[HuggingFace]
    return bool(hub.huggingface_repo_id) or hub.resume_from_huggingface


def _threads(config: Config, machine: Machine) -> int:
    """What the config says, else the environment; else, without a GPU, all cores shared out among the processes."""
    launcher, told = config[Launcher], os.environ.get(THREADS, "")
    if "num_cpu_threads_per_process" in config.given:
        return launcher.num_cpu_threads_per_process
    if told.isdecimal() and int(told):
        return int(told)
    return max(1, (os.cpu_count() or 1) // processes_here(config)) if machine.kind == "cpu" else launcher.num_cpu_threads_per_process


def _further_words(launcher: Launcher) -> list[str]:
    try:
        return shlex.split(launcher.extra_accelerate_launch_args or "")
    except ValueError as failed:
        raise ConfigError("extra_accelerate_launch_args", f"It cannot be split into words: {failed}.", fix="Close the quotes.") from failed
