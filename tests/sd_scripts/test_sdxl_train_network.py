"""The SDXL trainer from its command line to its files, and that diffusers reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs
import torch
from safetensors import safe_open
from tiny_models import load_sdxl
from tiny_runs import events, report_to, train

from sd_scripts.library.weights_file import read_weights

ROOT = Path(__file__).parents[2]
SCRIPT = "sdxl_train_network"
UNET_ONLY = {"network_train_unet_only": True}
CACHED = {**UNET_ONLY, "cache_text_encoder_outputs": True}


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


def weights(root: Path, name: str = "cat") -> dict[str, torch.Tensor]:
    return read_weights(root / "out" / f"{name}.safetensors")[0]


def test_a_training_ends_with_a_file_of_kohyas_names(tmp_path, run_dir):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 2 --d 1", encoding="utf-8")
    assert train(tmp_path, SCRIPT, sample_prompts=prompts, sample_every_n_steps=3) == 0
    names = {key.partition(".")[0] for key in weights(tmp_path)}
    assert {"lora_te1_text_model_encoder_layers_0_mlp_fc1", "lora_te2_text_model_encoder_layers_1_self_attn_q_proj"} <= names
    assert "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q" in names and "lora_unet_middle_block_1_proj_in" in names
    assert len(list((tmp_path / "out" / "sample").glob("*.png"))) == 1
    with safe_open(tmp_path / "out" / "cat.safetensors", "pt") as file:
        said = file.metadata()
    assert (said["ss_base_model_version"], said["ss_v2"]) == ("sdxl_base_v1-0", "False")
    assert said["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora" and said["modelspec.resolution"] == "64x64"
    assert events(run_dir)[-1]["exit_code"] == 0


def test_every_part_learns(tmp_path):
    train(tmp_path, SCRIPT, network_args=["conv_dim=2"])
    ups = {key: value for key, value in weights(tmp_path).items() if key.endswith("lora_up.weight")}
    idle = [key for key, value in ups.items() if not bool(value.any())]
    # CLIP-L's last layer and everything behind it has no effect on the last layer but one
    assert all(key.startswith("lora_te1_text_model_encoder_layers_1_") for key in idle), idle


def test_cached_captions_and_latents_change_nothing_but_the_time(tmp_path):
    losses = {}
    for name, more in (("plain", UNET_ONLY), ("memory", CACHED), ("disk", {**CACHED, "cache_text_encoder_outputs_to_disk": True})):
        assert train(tmp_path, SCRIPT, output_name=name, caption_dropout_rate=0.3, **more) == 0
        losses[name] = weights(tmp_path, name)
    for name in ("memory", "disk"):
        for key, value in losses["plain"].items():
            torch.testing.assert_close(losses[name][key], value, rtol=1e-3, atol=2e-4)  # a step is 1e-3: Adam magnifies rounding
    assert len(list((tmp_path / "pictures").rglob("*_te_outputs.npz"))) == len(tiny_runs.SIZES)


def test_shuffled_captions_are_cached_in_versions_or_refused(tmp_path, capsys):
    assert train(tmp_path, SCRIPT, shuffle_caption=True, **CACHED) == 2
    assert "text_encoder_cache_variants" in capsys.readouterr().err
    assert train(tmp_path, SCRIPT, shuffle_caption=True, text_encoder_cache_variants=3, **CACHED) == 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"cache_text_encoder_outputs": True}, "network_train_unet_only"),
        ({**CACHED, "token_warmup_step": 2}, "token_warmup_step"),
        ({"v2": True}, "v2"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_loads(tmp_path, capsys, given, named):
    assert train(tmp_path, SCRIPT, **given) == 2
    assert named in capsys.readouterr().err


def test_stopping_and_resuming_gives_the_same_weights(tmp_path):
    train(tmp_path, SCRIPT, max_train_steps=4, **CACHED)
    train(tmp_path, SCRIPT, output_name="half", max_train_steps=2, save_state=True, **CACHED)
    train(tmp_path, SCRIPT, output_name="rest", max_train_steps=4, resume=tmp_path / "out" / "half-state", **CACHED)
    whole, rest = weights(tmp_path), weights(tmp_path, "rest")
    assert all(torch.equal(value, rest[key]) for key, value in whole.items())


def test_two_rates_train_the_encoders_apart(tmp_path, run_dir):
    assert train(tmp_path, SCRIPT, text_encoder_lr=[1e-3, 0]) == 0
    (last,) = events(run_dir, "step")[-1:]
    assert set(last["lr"]) == {"textencoder 1", "unet"}  # type: ignore[arg-type]
    ups = [key for key, value in weights(tmp_path).items() if key.startswith("lora_te2") and key.endswith("lora_up.weight") and bool(value.any())]
    assert ups == []


def test_it_is_a_program(tmp_path):
    words = tiny_runs.options(tmp_path, pretrained_model_name_or_path=tiny_runs.sdxl_model(tmp_path), max_train_steps=1)
    done = subprocess.run([sys.executable, "sd_scripts/sdxl_train_network.py", *words], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert load_sdxl(tiny_runs.sdxl_model(tmp_path)).name == "sdxl"
