"""Command lines as they stand in guides, and the settings that a LoRA file tells of its training."""

from __future__ import annotations

import json

import pytest

from sd_scripts.errors import ConfigError
from sd_scripts.params.commands import command
from sd_scripts.params.migrate import Imported, import_any, import_command_line, import_metadata

LORA = command("train_network")
POSIX = """cd sd-scripts
accelerate launch --num_cpu_threads_per_process=2 --num_processes 2 --mixed_precision bf16 "./sdxl_train_network.py" \\
  --pretrained_model_name_or_path="/models/sd xl.safetensors" \\
  --network_module=networks.lora --network_dim 16 --optimizer_args weight_decay=0.1 betas=0.9,0.99 \\
  --cache_latents --output_name 'my cat' --wandb_api_key s3cret --flux_capacitor 1
"""
WINDOWS = 'accelerate launch train_db.py ^\n --train_data_dir="D:\\my pictures\\cat" ^\n --learning_rate 1e-6 ^\n --seed 7'


def row(made: Imported, key: str):
    return next(row for row in made.rows if row.key == key)


def test_a_posix_command_with_launcher_is_taken():
    made = import_command_line(POSIX, LORA)
    given = made.config.given
    assert made.config.command.script == "sdxl_train_network"
    assert given["pretrained_model_name_or_path"] == "/models/sd xl.safetensors"
    assert (given["network_dim"], given["cache_latents"], given["output_name"]) == (16, True, "my cat")
    assert given["optimizer_args"] == ("weight_decay=0.1", "betas=0.9,0.99")
    assert (given["num_processes"], given["mixed_precision"]) == (2, "bf16")


def test_what_cannot_be_taken_has_a_row_and_no_secret_is_shown():
    made = import_command_line(POSIX, LORA)
    assert row(made, "flux_capacitor").outcome == "unknown"
    assert "s3cret" not in str(made.rows) + str(dict(made.config.given)) + str(made.config.studio)


def test_a_windows_command_keeps_its_backslashes():
    made = import_command_line(WINDOWS, LORA)
    assert made.config.command.script == "train_db"
    assert made.config.given["train_data_dir"] == "D:\\my pictures\\cat"
    assert (made.config.given["learning_rate"], made.config.given["seed"]) == (1e-6, 7)


def test_options_alone_are_for_the_trainer_of_the_form():
    assert import_command_line("--network_dim 4", command("sdxl_train_network")).config.command.script == "sdxl_train_network"


@pytest.mark.parametrize("text", ["accelerate launch gen_img.py --W 512", '--output_name "open', "hello there"])
def test_what_is_no_training_command_is_refused(text):
    with pytest.raises(ConfigError):
        import_command_line(text, LORA)


def test_a_shell_script_is_opened_like_a_config(tmp_path):
    path = tmp_path / "train.sh"
    path.write_text("#!/bin/sh\n" + POSIX)
    assert import_any(path, LORA).config.given["network_dim"] == 16


METADATA = {
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "32",
    "ss_network_alpha": "16.0",
    "ss_network_args": json.dumps({"conv_dim": "8", "dropout": None}),
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.01,betas=(0.9,0.99))",
    "ss_learning_rate": "0.0003",
    "ss_num_epochs": "12",
    "ss_max_train_steps": "3000",
    "ss_gradient_checkpointing": "True",
    "ss_min_snr_gamma": "None",
    "ss_num_train_images": "250",
    "ss_datasets": json.dumps([{"resolution": [1024, 1024], "batch_size_per_device": 2, "enable_bucket": True, "min_bucket_reso": 256,
                                "subsets": [{"num_repeats": 5, "shuffle_caption": True, "keep_tokens": 1}]}]),
    "modelspec.title": "cat",
}  # fmt: skip


def test_train_like_this_one():
    made = import_metadata(METADATA, LORA)
    given = made.config.given
    assert made.config.command.script == "sdxl_train_network"
    assert (given["network_dim"], given["network_alpha"], given["conv_dim"]) == (32, 16.0, 8)
    assert (given["optimizer_type"], given["optimizer_args"]) == ("AdamW8bit", ("weight_decay=0.01", "betas=0.9,0.99"))
    assert (given["learning_rate"], given["max_train_epochs"], given["gradient_checkpointing"]) == (3e-4, 12, True)
    assert (given["resolution"], given["train_batch_size"], given["dataset_repeats"]) == ("1024,1024", 2, 5)
    assert (given["enable_bucket"], given["shuffle_caption"], given["keep_tokens"]) == (True, True, 1)
    assert "max_train_steps" not in given


def test_every_entry_about_the_training_has_a_row():
    rows = {row.key for row in import_metadata(METADATA, LORA).rows}
    parts = {"ss_datasets": "ss_datasets resolution", "ss_network_args": "network_args"}
    assert {parts.get(key, key) for key in METADATA if key.startswith("ss_")} <= rows


def test_the_kind_of_sd_2_is_read():
    given = import_metadata({"ss_network_module": "networks.lora", "ss_base_model_version": "sd_v2_v"}, LORA).config.given
    assert given["v2"] is True
    assert given["v_parameterization"] is True


def test_a_file_that_says_nothing_is_refused():
    with pytest.raises(ConfigError, match="says nothing"):
        import_metadata({"format": "pt"}, LORA)
