"""The launch command, its environment and its secrets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser

from kohya_gui.jobs.devices import Device, Machine, nvidia_devices
from kohya_gui.jobs.launch import launch_argv, launch_environment, needs_the_net
from kohya_gui.jobs.secrets import remembered_secrets, secrets_of
from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config

CPU = Machine("cpu")
CARDS = Machine("cuda", (Device(0, "RTX 4090", 24 * 2**30, (8, 9)), Device(1, "RTX 4090", 24 * 2**30, (8, 9))))


def config(**given: object) -> Config:
    return make_config(command("train_network"), given)


def parsed(argv: list[str]) -> object:
    assert argv[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    return launch_command_parser().parse_args(argv[3:])


def test_one_process_on_a_processor():
    options = parsed(launch_argv(config(mixed_precision="bf16"), Path("/r/config.toml"), CPU))
    assert (options.num_processes, options.cpu, options.multi_gpu, options.mixed_precision, options.dynamo_backend) == (1, True, False, "bf16", "no")
    assert options.training_script.endswith("sd_scripts/train_network.py")
    assert options.training_script_args == ["--config_file", "/r/config.toml"]


@pytest.mark.parametrize(
    ("given", "told", "machine", "threads"),
    [
        ({}, "", CPU, 8),
        ({"num_processes": 2}, "", CPU, 4),
        ({}, "3", CPU, 3),
        ({"num_cpu_threads_per_process": 1}, "3", CPU, 1),
        ({}, "", CARDS, 2),
        ({}, "3", CARDS, 3),
        ({}, "4,2", CPU, 8),
        ({}, "0", CPU, 8),
    ],
)
def test_threads_are_those_of_the_config_or_the_environment_or_the_machine(monkeypatch, given, told, machine, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert parsed(launch_argv(config(**given), Path("c.toml"), machine)).num_cpu_threads_per_process == threads


def test_two_processes_on_a_processor_need_multi_gpu_and_the_variable():
    options = parsed(launch_argv(config(num_processes=2), Path("c.toml"), CPU))
    assert (options.num_processes, options.cpu, options.multi_gpu) == (2, False, True)
    assert launch_environment(CPU, offline=True)["ACCELERATE_USE_CPU"] == "true"


def test_machines_are_told_where_they_meet_and_who_they_are():
    given = {"num_processes": 4, "num_machines": 2, "machine_rank": 1, "main_process_ip": "10.0.0.1", "main_process_port": 29500}
    options = parsed(launch_argv(config(**given), Path("c.toml"), CARDS))
    assert (options.num_machines, options.machine_rank, options.num_processes, options.multi_gpu) == (2, 1, 4, True)
    assert (options.main_process_ip, options.main_process_port) == ("10.0.0.1", 29500)


def test_the_compilers_words_reach_the_launcher_which_does_not_compile():
    words = {"dynamo_mode": "max-autotune", "dynamo_use_dynamic": True}
    options = parsed(launch_argv(config(torch_compile=True, **words), Path("c.toml"), CARDS))
    assert (options.dynamo_backend, options.dynamo_mode, options.dynamo_use_dynamic, options.dynamo_use_fullgraph) == (
        "no",
        "max-autotune",
        True,
        False,
    )


def test_chosen_cards_and_further_words_reach_the_launcher():
    options = parsed(launch_argv(config(num_processes=2, gpu_ids="0,1", extra_accelerate_launch_args="--log_dir 'a b'"), Path("c.toml"), CARDS))
    assert (options.gpu_ids, options.log_dir, options.multi_gpu) == ("0,1", "a b", True)


def test_an_open_quote_in_further_words_is_refused_by_name():
    with pytest.raises(ConfigError, match="extra_accelerate_launch_args"):
        launch_argv(config(extra_accelerate_launch_args="--log_dir 'a"), Path("c.toml"), CPU)


def test_nothing_is_fetched_unless_asked():
    assert launch_environment(CARDS, offline=True)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in launch_environment(CARDS, offline=False)


def test_a_run_that_uploads_or_fetches_a_state_may_reach_the_net():
    assert not needs_the_net(config(wandb_api_key="x"))
    assert needs_the_net(config(huggingface_repo_id="me/x")) and needs_the_net(config(resume_from_huggingface=True, resume="me/x/y"))


def test_secrets_go_by_environment_and_are_kept_for_their_owner_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    given = config(wandb_api_key="s3cr3t")
    assert secrets_of(given, tmp_path) == {"WANDB_API_KEY": "s3cr3t"}
    assert remembered_secrets(tmp_path) == {"WANDB_API_KEY": "s3cr3t"}
    assert (tmp_path / ".secrets.json").stat().st_mode & 0o777 == 0o600
    assert "s3cr3t" not in " ".join(launch_argv(given, Path("c.toml"), CPU))


def fake_tool(folder: Path, text: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    tool.chmod(0o755)


def test_cards_are_told_by_nvidias_tool(tmp_path, monkeypatch):
    fake_tool(tmp_path, "NVIDIA GeForce RTX 4090, 24564, 8.9\nTesla P40, 23040, 6.1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [(card.index, card.name, card.capability) for card in nvidia_devices()] == [
        (0, "NVIDIA GeForce RTX 4090", (8, 9)),
        (1, "Tesla P40", (6, 1)),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [(card.index, card.name) for card in nvidia_devices()] == [(0, "Tesla P40")]


def test_a_tool_that_fails_means_no_card(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert nvidia_devices() == ()
