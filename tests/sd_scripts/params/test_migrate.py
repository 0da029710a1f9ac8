"""Other programs' configs: everything that can be taken is, and no key is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.errors import ConfigError
from sd_scripts.params.check import check
from sd_scripts.params.commands import command
from sd_scripts.params.config_file import dumps
from sd_scripts.params.migrate import Imported, gui, import_any
from sd_scripts.params.migrate.lora_types import LORA_TYPES

LORA = command("train_network")
CONFIGS = Path(__file__).parents[2] / "fixtures" / "configs"
FORMS, OPTIONS, DATASETS = CONFIGS / "gui_json", CONFIGS / "config_toml", CONFIGS / "dataset_toml"


def imported(tmp_path, document: dict, name: str = "a.json") -> Imported:
    path = tmp_path / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return import_any(path, LORA)


def outcome(made: Imported, key: str) -> str:
    return next(row.outcome for row in made.rows if row.key == key)


def test_a_saved_form_of_the_main_kind_trains_with_paths_alone():
    made = import_any(FORMS / "2024-03_bmaltais_locon-AdamW8bit.json", LORA)
    config = made.config
    assert config.value("network_module") == "networks.lora"
    assert (config.value("conv_dim"), config.value("conv_alpha"), config.value("network_dim")) == (16, 8.0, 16)
    assert (config.value("optimizer_type"), config.value("resolution")) == ("AdamW8bit", "512,512")
    assert config.studio["prompts"].startswith("a painting")
    assert not [problem for problem in check(config) if problem.severity == "error" and problem.field != "optimizer_type"]


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"lr_warmup": "10", "lr_scheduler": "cosine"}, "lr_warmup_steps", 0.1),
        ({"lr_warmup": 10, "lr_warmup_steps": 50, "lr_scheduler": "cosine"}, "lr_warmup_steps", 50),
        ({"lr_warmup": 10, "lr_scheduler": "constant"}, "lr_warmup_steps", 0),
        ({"epoch": "3"}, "max_train_epochs", 3),
        ({"epoch": 3, "max_train_epochs": "5"}, "max_train_epochs", 5),
        ({"epoch": 3, "max_train_steps": 700}, "max_train_steps", 700),
        ({"epoch": 3, "max_train_steps": 700}, "max_train_epochs", None),
        ({"stop_text_encoder_training": 80}, "stop_text_encoder_training", 0.8),
        ({"stop_text_encoder_training_pct": -1}, "stop_text_encoder_training", -1),
        ({"stop_text_encoder_training": 0}, "stop_text_encoder_training", None),
        ({"max_token_length": "75"}, "max_token_length", None),
        ({"max_token_length": 150}, "max_token_length", 150),
        ({"caption_extension": ""}, "caption_extension", ".caption"),
        ({}, "caption_extension", ".txt"),
        ({"caption_extention": ".cap"}, "caption_extension", ".cap"),
        ({"xformers": True}, "sdpa", True),
        ({"xformers": "sdpa"}, "sdpa", True),
        ({"xformers": "none"}, "sdpa", False),
        ({"mem_eff_attn": True, "xformers": False}, "sdpa", True),
        ({"text_encoder_lr": 0, "unet_lr": "1e-4"}, "network_train_unet_only", True),
        ({"text_encoder_lr": "5e-5", "unet_lr": 0}, "network_train_text_encoder_only", True),
        ({"text_encoder_lr": 0, "unet_lr": 0, "learning_rate": 1e-3}, "unet_lr", None),
        ({"seed": 0}, "seed", None),
        ({"seed": "1234"}, "seed", 1234),
        ({"noise_offset_type": "Multires", "noise_offset": 0.1, "multires_noise_iterations": 6}, "noise_offset", None),
        ({"noise_offset_type": "Multires", "noise_offset": 0.1, "multires_noise_iterations": 6}, "multires_noise_iterations", 6),
        ({"noise_offset_type": "Original", "noise_offset": "0.1", "multires_noise_iterations": 6}, "noise_offset", 0.1),
        ({"noise_offset": 0, "adaptive_noise_scale": 0.01}, "adaptive_noise_scale", None),
        ({"gradient_accumulation_steps": 1.0, "bucket_reso_steps": "64.0"}, "bucket_reso_steps", 64),
        ({"min_timestep": False, "max_timestep": 1000}, "max_timestep", None),
        ({"use_8bit_adam": True}, "optimizer_type", "AdamW8bit"),
        ({"use_8bit_adam": True, "optimizer": "Lion"}, "optimizer_type", "Lion"),
        ({"optimizer_args": '"weight_decay=0.01" "betas=.9,.95"'}, "optimizer_args", ("weight_decay=0.01", "betas=.9,.95")),
        ({"optimizer_args": None}, "optimizer_args", None),
        ({"lora_network_weights": "a.safetensors"}, "network_weights", "a.safetensors"),
        ({"conv_dims": "4"}, "conv_block_dims", "4"),
        ({"num_processes": 2}, "num_processes", 2),
        ({"save_model_as": "diffusers"}, "save_model_as", "safetensors"),
        ({"metadata_author": "False"}, "metadata_author", None),
        ({"sample_prompts": "p.txt", "sample_every_n_steps": 10}, "sample_prompts", "p.txt"),
        ({"sample_prompts": "", "sample_every_n_steps": 10}, "sample_every_n_steps", None),
        ({"additional_parameters": '--max_grad_norm=0 --log_prefix "xl"', "max_grad_norm": 1}, "max_grad_norm", 0.0),
        ({"network_module": "networks.lora", "network_args": ["conv_dim=8"]}, "conv_dim", 8),
    ],
)
def test_fields_of_the_form_become_options(tmp_path, fields, name, value):
    assert imported(tmp_path, fields).config.value(name) == value


def test_absent_fields_take_that_forms_defaults_and_say_so(tmp_path):
    made = imported(tmp_path, {"LoRA_type": "Standard"})
    assert (made.config.value("optimizer_type"), made.config.value("lr_warmup_steps")) == ("AdamW8bit", 0.1)
    assert outcome(made, "optimizer") == "default"


@pytest.mark.parametrize("name", LORA_TYPES)
def test_every_lora_type_names_its_module(tmp_path, name):
    made = imported(tmp_path, {"LoRA_type": name, "conv_dim": 8, "rank_dropout": 0.1})
    assert made.config.value("network_module") == LORA_TYPES[name].module


def test_conv_fields_count_for_locon_alone(tmp_path):
    assert imported(tmp_path, {"LoRA_type": "Kohya LoCon", "conv_dim": 8, "conv_alpha": 1}).config.value("conv_dim") == 8
    standard = imported(tmp_path, {"LoRA_type": "Standard", "conv_dim": 8})
    assert standard.config.value("conv_dim") is None
    assert standard.config.studio["kept"] == {"conv_dim": 8}


def test_the_old_locon_is_lycoris(tmp_path):
    config = imported(tmp_path, {"LoRA_type": "LoCon", "conv_dim": 8}).config
    assert config.value("network_module") == "lycoris.kohya"
    assert {"algo=locon", "conv_dim=8"} <= set(config.value("network_args"))
    assert config.value("preset") == "full"


def test_a_file_of_another_family_is_refused_by_name(tmp_path):
    made = imported(tmp_path, {"flux1_checkbox": True})
    assert "FLUX.1" in next(problem.message for problem in check(made.config))


@pytest.mark.parametrize(
    ("document", "script"),
    [
        ({"LoRA_type": "Standard"}, "train_network"),
        ({"LoRA_type": "Standard", "sdxl": True}, "sdxl_train_network"),
        ({"reg_data_dir": "", "v2": False}, "train_db"),
        ({"reg_data_dir": "", "sdxl": True}, "sdxl_train"),
        ({"image_folder": "a", "train_dir": "b"}, "fine_tune"),
        ({"image_folder": "a", "sdxl_checkbox": True}, "sdxl_train"),
        ({"token_string": "cat", "sdxl": "True"}, "sdxl_train_textual_inversion"),
        ({"num_vectors_per_token": 2}, "train_textual_inversion"),
        ({"network_module": "networks.lora", "cache_text_encoder_outputs": True, "resolution": "1024"}, "sdxl_train_network"),
        ({"network_module": "networks.lora", "resolution": "512"}, "train_network"),
        ({"optimizer_type": "AdamW", "learning_rate_te1": 1e-5, "resolution": "1024"}, "sdxl_train"),
    ],
)
def test_the_trainer_is_told_by_the_keys(tmp_path, document, script):
    assert imported(tmp_path, document).config.command.script == script


def test_a_named_trainer_counts_before_the_keys(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"LoRA_type": "Standard", "sdxl": True}))
    assert import_any(path, LORA, exactly=True).config.command is LORA


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"image_folder": "p", "train_dir": "m", "latent_metadata_filename": "lat.json"}, "in_json", "m/lat.json"),
        ({"image_folder": "p", "train_dir": "m", "caption_metadata_filename": "c.json", "use_latent_files": "No"}, "in_json", "m/c.json"),
        ({"image_folder": "p"}, "train_data_dir", "p"),
        ({"image_folder": "p"}, "dataset_repeats", 40),
        ({"token_string": "cat", "template": "style template"}, "use_style_template", True),
        ({"reg_data_dir": "", "sdxl": True, "learning_rate_te2": 1e-6}, "train_text_encoder", True),
        ({"reg_data_dir": "", "save_model_as": "diffusers", "sdxl": True}, "save_model_as", "diffusers"),
        ({"reg_data_dir": "", "save_model_as": "same as source model", "sdxl": True}, "save_model_as", None),
        ({"LoRA_type": "Standard", "sdxl": True, "sdxl_no_half_vae": True}, "no_half_vae", True),
        ({"bucket_reso_steps": 1}, "bucket_reso_steps", 64),
        ({"bucket_reso_steps": 33, "sdxl": True}, "bucket_reso_steps", 64),
        ({"seed": -1}, "seed", None),
    ],
)
def test_fields_of_the_other_tabs_become_options(tmp_path, fields, name, value):
    assert imported(tmp_path, fields).config.value(name) == value


def test_unknown_keys_are_listed_and_kept(tmp_path):
    made = imported(tmp_path, {"========== Model ==========": "", "flux_capacitor": [1, None, {"a": None}]})
    assert outcome(made, "flux_capacitor") == "unknown"
    assert outcome(made, "========== Model ==========") == "default"
    assert set(made.config.studio["kept"]) == {"flux_capacitor"}
    dumps(made.config)


def test_secrets_are_neither_taken_nor_shown(tmp_path):
    made = imported(tmp_path, {"wandb_api_key": "s3cret", "huggingface_token": "s3cret", "my_api_key": "s3cret"})
    assert "s3cret" not in dumps(made.config) + str(made.rows) + str(made.config.given)


def test_a_value_that_does_not_fit_is_kept(tmp_path):
    made = imported(tmp_path, {"train_batch_size": "many"})
    assert made.config.studio["kept"] == {"train_batch_size": "many"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("--nonsense 1 --noise_offset=0.1", {"additional_parameters --nonsense": "1"}),
        ("nonsense", {"additional_parameters": "nonsense"}),
        ("--max_grad_norm 0", {"max_grad_norm": 1}),
    ],
)
def test_of_additional_parameters_only_what_cannot_be_read_is_kept(tmp_path, text, kept):
    made = imported(tmp_path, {"additional_parameters": text, "max_grad_norm": 1})
    assert made.config.studio["kept"] == kept


def test_form_defaults_are_the_run_of_an_untouched_form():
    made = import_any(OPTIONS / "2024-04_bmaltais_config-example~2.toml", LORA)
    assert made.config.command is LORA
    assert (made.config.value("learning_rate"), made.config.value("seed"), made.config.value("max_token_length")) == (1e-4, 1234, 150)
    assert {"model.models_dir", "advanced.state_dir", "wd14_caption.thresh"} <= set(made.config.studio["kept"])
    assert made.config.value("resume") is None


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000], ids=["empty", "list", "torn", "bytes", "deep"])
def test_unreadable_json_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        import_any(path, LORA)


def test_json_with_options_under_their_own_names_takes_no_forms_defaults(tmp_path):
    made = imported(tmp_path, {"network_module": "networks.lora", "resolution": "512", "xformers": True, "sdpa": False})
    assert dict(made.config.given) == {"network_module": "networks.lora", "resolution": "512", "sdpa": True}


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("max_train_epochs = false", "max_train_epochs", None),
        ('noise_offset = ""', "noise_offset", None),
        ("resolution = [512, 768]", "resolution", "512,768"),
        ('learning_rate = "1e-4"', "learning_rate", 1e-4),
        ('network_args = ["conv_dim=8", "odd=1"]', "conv_dim", 8),
        ('network_args = "conv_dim=8"', "conv_dim", 8),
        ("persistent_data_loader_workers = 1", "persistent_data_loader_workers", True),
        ("lr_restart_cycles = 3", "lr_scheduler_num_cycles", 3),
        ("conv_dim = 4", "conv_dim", 4),
        ("max_token_length = 75", "max_token_length", None),
        ('log_with = "wandb"', "log_with", "wandb"),
        ('huggingface_repo_id = "me/cat"\nhuggingface_repo_type = "model"', "huggingface_repo_type", "model"),
        ('huggingface_repo_type = "model"', "huggingface_repo_type", None),
        ('dynamo_backend = "inductor"', "torch_compile", True),
        ('dynamo_backend = "no"', "torch_compile", False),
        ("cpu_offload_checkpointing = true", "cpu_offload_checkpointing", True),
        ("xformers = true", "sdpa", True),
    ],
)
def test_toml_is_read_as_people_write_it(tmp_path, line, name, value):
    path = tmp_path / "a.toml"
    path.write_text(line + "\n")
    assert import_any(path, LORA).config.value(name) == value


def test_the_forms_keys_are_all_known():
    assert len(gui.gui_keys()) == 316
