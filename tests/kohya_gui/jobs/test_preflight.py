"""The ten things that the kohya GUI takes for granted, each found before a start, with its value and its remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.jobs import launch
from kohya_gui.jobs.adoption import spawn_supervisor
from kohya_gui.jobs.devices import Device, Machine
from kohya_gui.jobs.executor import CommandExecutor
from kohya_gui.jobs.preflight import Facts, gather, problems_of, unwritable
from kohya_gui.jobs.prompts import STUDIO_PROMPTS, prompts_of
from kohya_gui.jobs.runs import create_run, read_status
from sd_scripts.errors import ConfigError
from sd_scripts.params.check import Problem
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from tests.tiny_models import build_sd15_micro

LORA = command("train_network")
CPU = Machine("cpu")


def card(major: int, minor: int, count: int = 1) -> Machine:
    return Machine("cuda", tuple(Device(i, f"Card {major}{minor}", 8 * 2**30, (major, minor)) for i in range(count)))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preflight") / "with spaces, 'quotes' and 猫"
    pictures = folder / "pictures" / "2_cat"
    pictures.mkdir(parents=True)
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (64, 64), colour).save(pictures / f"{name}.png")
        (pictures / f"{name}.txt").write_text("cat", encoding="utf-8")
    build_sd15_micro(folder / "micro.safetensors")
    return folder


@pytest.fixture
def find(root: Path, tmp_path: Path) -> Callable[..., list[Problem]]:
    """What preflight says about the small training with other options, on a machine."""

    def find(machine: Machine = CPU, *, studio: dict[str, object] | None = None, **given: object) -> list[Problem]:
        return problems_of(facts_of(root, tmp_path, machine, studio or {}, given))

    return find


def facts_of(root: Path, tmp_path: Path, machine: Machine, studio: dict[str, object], given: dict[str, object]) -> Facts:
    values = {
        "pretrained_model_name_or_path": str(root / "micro.safetensors"),
        "train_data_dir": str(root / "pictures"),
        "caption_extension": ".txt",
        "output_dir": str(tmp_path / "out"),
        "output_name": "cat",
        "resolution": "64",
        "network_module": "networks.lora",
        "network_dim": 4,
        "learning_rate": 1e-3,
        "max_train_steps": 3,
        **given,
    }
    return gather(make_config(LORA, values, studio), runs_dir=tmp_path / "runs", on_machine=machine)


def said(problems: list[Problem], field: str, severity: str = "error") -> str:
    return " ".join(f"{problem.message} {problem.fix}" for problem in problems if (problem.field, problem.severity) == (field, severity))


def test_a_sound_request_has_no_error(find):
    assert [problem for problem in find() if problem.severity == "error"] == []


def test_1_a_missing_trainer_is_named(find, monkeypatch, tmp_path):
    monkeypatch.setattr(launch, "ROOT", tmp_path)
    assert "train_network.py is missing" in said(find(), "")


def test_1_a_missing_package_is_named(find, monkeypatch):
    monkeypatch.setattr("kohya_gui.jobs.preflight._PACKAGES", ("accelerate", "no_such_package"))
    assert "Not installed: no_such_package" in said(find(), "")


def test_2_a_prompt_file_that_is_not_there_is_refused(find):
    assert "absent.txt" in said(find(sample_prompts="/absent.txt", sample_at_first=True), "sample_prompts")


def test_2_samples_without_a_prompt_are_refused(find):
    assert said(find(sample_every_n_steps=2), "sample_prompts")


def test_2_typed_prompts_are_enough(find):
    assert not said(find(sample_every_n_steps=2, studio={STUDIO_PROMPTS: "a cat --w 64"}), "sample_prompts")


def test_3_more_processes_than_cards_are_refused_with_the_number(find):
    assert "4 processes need as many GPUs, but 2 can be used. Use at most 2." in said(find(card(8, 9, 2), num_processes=4), "num_processes")


def test_3_a_card_that_does_not_exist_is_refused(find):
    assert "no GPU 3; this machine has 2, counted from 0" in said(find(card(8, 9, 2), gpu_ids="0,3"), "gpu_ids")


def test_3_more_processes_than_processor_cores_are_refused(find):
    assert said(find(num_processes=(os.cpu_count() or 1) + 1), "num_processes")


def test_4_an_unknown_key_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="Did you mean --learning_rate"):
        make_config(LORA, {"learnig_rate": 1e-4})


def test_5_a_rate_for_whole_models_is_warned_about(find):
    assert said(find(learning_rate=None), "learning_rate", "warning")


def test_6_a_living_run_is_named(find, tmp_path):
    run = create_run(tmp_path / "runs", argv=[sys.executable, "-c", "import time; time.sleep(60)"])
    spawn_supervisor(run)
    assert run.name in said(find(), "")
    CommandExecutor(tmp_path / "runs").stop(run, hard=True)


def test_6_a_run_that_was_killed_does_not_stand_in_the_way(find, tmp_path):
    run = create_run(tmp_path / "runs", argv=[sys.executable])
    (run / "status.json").write_text('{"state": "running", "supervisor": {"pid": 1, "started": 5.0}, "launcher": {"pid": 1, "started": 5.0}}')
    assert read_status(run).state == "interrupted"
    assert not said(find(), "")


def test_7_a_folder_that_cannot_be_made_is_refused(find, tmp_path):
    (tmp_path / "file").touch()
    assert "file is not a folder" in said(find(output_dir=str(tmp_path / "file" / "out")), "output_dir")


def test_7_a_folder_is_really_written_to():
    assert "/proc" in unwritable(Path("/proc/here"))


def test_7_looking_leaves_nothing_behind(find, tmp_path):
    find(logging_dir=str(tmp_path / "logs"), log_with="tensorboard")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("machine", "precision", "severity", "words"),
    [
        (card(6, 1), "bf16", "error", "Card 61 has 6.1. Use no."),
        (card(7, 5), "bf16", "warning", "Card 75 has 7.5. Use fp16."),
        (card(6, 1), "fp16", "warning", "needs compute capability 7.0 to be fast; Card 61 has 6.1"),
        (CPU, "fp16", "warning", "no GPU"),
    ],
)
def test_8_a_number_format_that_the_card_lacks_is_told(find, machine, precision, severity, words):
    assert words in said(find(machine, mixed_precision=precision), "mixed_precision", severity)


def test_8_a_card_that_has_it_is_left_alone(find):
    assert not said(find(card(8, 9), mixed_precision="bf16"), "mixed_precision", "warning")


def test_9_the_prompts_are_written_whole_and_read_back(root, tmp_path):
    prompts = prompts_of(make_config(LORA, {}, {STUDIO_PROMPTS: "ein Bär --w 64\r\n猫\n"}))
    assert prompts.write(tmp_path, "prompts").read_bytes() == "ein Bär --w 64\n猫\n".encode()


def test_10_an_option_of_another_family_is_refused():
    with pytest.raises(ConfigError, match="cache_text_encoder_outputs"):
        make_config(LORA, {"cache_text_encoder_outputs": True})


def test_a_file_of_the_users_is_never_overwritten(find, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cat.safetensors").touch()
    (tmp_path / "out" / "cat_2.safetensors").touch()
    assert "cat.safetensors exists already. Use another name, such as cat_3." in said(find(), "output_name")


def test_room_for_all_promised_files_is_asked_for(find, monkeypatch):
    monkeypatch.setattr("kohya_gui.jobs.preflight.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000_000})())
    assert "has 1 MB left" in said(find(), "output_dir")
