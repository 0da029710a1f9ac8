"""Rules on what a run starts from, writes and shows."""

from __future__ import annotations

import pytest

from sd_scripts.params.check import check
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.rules import rule, run

LORA = command("train_network")


def found(rule_, **values) -> list[tuple[str, str]]:
    return [(problem.field, problem.severity) for problem in rule_(make_config(LORA, values))]


def test_a_run_needs_model_and_output():
    assert found(run.model_is_named) == [("pretrained_model_name_or_path", "error")]
    assert found(run.output_is_named) == [("output_dir", "error")]
    assert found(run.output_is_named, output_dir="o") == []


@pytest.mark.parametrize("name", ["a/b", "a\\b", "../a", "."])
def test_the_output_name_is_no_path(name):
    assert ("output_name", "error") in found(run.output_is_named, output_dir="o", output_name=name)


def test_sd2_is_not_made_for_clip_skip():
    assert found(run.clip_skip_applies, v2=True, clip_skip=2) == [("clip_skip", "warning")]
    assert found(run.clip_skip_applies, clip_skip=2) == []


def test_samples_need_prompts_and_a_moment():
    assert found(run.prompts_for_samples, sample_every_n_steps=10) == [("sample_prompts", "error")]
    assert found(run.prompts_for_samples, sample_prompts="p.txt") == [("sample_prompts", "warning")]
    assert found(run.prompts_for_samples, sample_prompts="a cat", sample_at_first=True) == [("sample_prompts", "error")]
    assert found(run.prompts_for_samples, sample_prompts="p.toml", sample_every_n_epochs=1) == []


def test_prompts_typed_into_a_form_count_as_prompts():
    config = make_config(LORA, {"sample_at_first": True}, {"prompts": "a cat"})
    assert list(run.prompts_for_samples(config)) == []


def test_sampling_by_epochs_replaces_sampling_by_steps():
    assert found(run.samples_by_epochs_count_first, sample_every_n_steps=1, sample_every_n_epochs=1) == [("sample_every_n_steps", "warning")]


def test_a_number_of_saves_replaces_their_distance():
    assert found(run.saves_by_ratio_count_first, save_n_epoch_ratio=2, save_every_n_epochs=1) == [("save_every_n_epochs", "warning")]


def test_keeping_needs_saving():
    assert found(run.keeping_needs_saving, save_last_n_epochs=2, save_last_n_steps=100) == [
        ("save_last_n_epochs", "warning"),
        ("save_last_n_steps", "warning"),
    ]
    assert found(run.keeping_needs_saving, save_last_n_epochs=2, save_every_n_epochs=1) == []


def test_keep_last_n_counts_steps_not_files():
    assert found(run.last_n_steps_are_steps, save_every_n_steps=100, save_last_n_steps=3) == [("save_last_n_steps", "warning")]
    assert found(run.last_n_steps_are_steps, save_every_n_steps=100, save_last_n_steps=300) == []


def test_pruning_states_needs_states():
    assert found(run.state_files_need_saving, save_last_n_steps_state=100) == [("save_last_n_steps_state", "warning")]
    assert found(run.state_files_need_saving, save_last_n_steps_state=100, save_state=True) == []


def test_saving_in_bf16_what_was_trained_otherwise_is_named():
    assert found(run.saved_precision_fits, mixed_precision="fp16", save_precision="bf16") == [("save_precision", "warning")]
    assert found(run.saved_precision_fits, mixed_precision="bf16", save_precision="bf16") == []
    assert found(run.saved_precision_fits, mixed_precision="bf16", save_precision="fp16") == []


def test_log_services_need_a_folder(monkeypatch):
    monkeypatch.setattr(run, "is_installed", lambda package: True)
    assert found(run.log_services_can_start, log_with="wandb") == [("logging_dir", "error")]
    assert found(run.log_services_can_start, log_with="tensorboard") == [("logging_dir", "error")]
    assert found(run.log_services_can_start, log_with="all", logging_dir="l") == []
    assert found(run.log_services_can_start, logging_dir="l", wandb_run_name="x") == [("wandb_run_name", "warning")]


HUB = [
    ({"huggingface_repo_id": "me/x"}, []),
    ({"huggingface_repo_id": "x"}, [("huggingface_repo_id", "error")]),
    ({"huggingface_repo_id": "me/x", "huggingface_repo_type": "modell"}, [("huggingface_repo_type", "error")]),
    ({"async_upload": True}, [("async_upload", "warning")]),
    ({"huggingface_repo_id": "me/x", "save_state_to_huggingface": True}, [("save_state_to_huggingface", "warning")]),
    ({"resume_from_huggingface": True}, [("resume_from_huggingface", "error")]),
    ({"resume_from_huggingface": True, "resume": "me/x"}, [("resume_from_huggingface", "error")]),
    ({"resume_from_huggingface": True, "resume": "me/x/y-state:main:model"}, []),
]


def test_machines_need_an_address_a_port_and_even_shares():
    two = {"num_machines": 2, "num_processes": 4, "main_process_ip": "10.0.0.1", "main_process_port": 29500}
    assert found(run.machines_find_each_other, **two) == []
    assert found(run.machines_find_each_other, num_machines=2, num_processes=2) == [("main_process_ip", "error"), ("main_process_port", "error")]
    assert found(run.machines_find_each_other, **{**two, "num_processes": 3}) == [("num_processes", "error")]
    assert found(run.machines_find_each_other, **{**two, "machine_rank": 2}) == [("machine_rank", "error")]
    assert found(run.machines_find_each_other, machine_rank=1) == [("machine_rank", "warning")]
    assert found(run.machines_find_each_other, **two, cache_latents_to_disk=True) == [("cache_latents_to_disk", "warning")]


@pytest.mark.parametrize(("given", "named"), HUB, ids=str)
def test_what_concerns_a_repository_needs_one(given, named):
    assert found(run.a_repository_is_named, **given) == named


def test_an_absent_package_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setattr(run, "is_installed", lambda package: False)
    board, wandb = run.log_services_can_start(make_config(LORA, {"logging_dir": "logs", "log_with": "all"}))
    assert board.severity == wandb.severity == "error"
    assert "pip install tensorboard" in board.fix and "extras logging" in wandb.fix


def test_packages_are_found_without_importing_them():
    assert rule.is_installed("json")
    assert not rule.is_installed("no_such_package_at_all")


def test_a_secret_in_a_config_is_a_warning_that_does_not_show_it():
    problem = next(problem for problem in check(make_config(LORA, {"wandb_api_key": "s3cret"})) if problem.field == "wandb_api_key")
    assert problem.severity == "warning"
    assert "s3cret" not in str(problem)


def test_launcher_words_need_closed_quotes():
    assert found(run.launcher_words_are_words, extra_accelerate_launch_args='--a "b') == [("extra_accelerate_launch_args", "error")]
    assert found(run.launcher_words_are_words, extra_accelerate_launch_args='--a "b c"') == []
