"""What a button does for a problem: after it the problem is gone, and none that is worse has come."""

from __future__ import annotations

import pytest

from sd_scripts.params.check import check
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

SOUND = {"pretrained_model_name_or_path": "m.safetensors", "train_data_dir": "p", "output_dir": "o", "resolution": "512,512", "learning_rate": 1e-4}
LORA = {**SOUND, "network_module": "networks.lora", "network_dim": 8}
BROKEN = [
    ("train_network", {**LORA, "network_module": "networks.lorra"}, "network_module"),
    ("train_network", {**LORA, "network_alpha": 64}, "network_alpha"),
    ("train_network", {**LORA, "learning_rate": None}, "learning_rate"),
    ("train_network", {**LORA, "optimizer_type": "Prodigy", "learning_rate": 1e-4}, "learning_rate"),
    ("train_network", {**LORA, "use_8bit_adam": True, "optimizer_type": "Lion"}, "use_8bit_adam"),
    ("train_network", {**LORA, "lr_scheduler": "cosine", "optimizer_type": "AdamWScheduleFree"}, "lr_scheduler"),
    ("train_network", {**LORA, "lr_warmup_steps": 5}, "lr_warmup_steps"),
    ("train_network", {**LORA, "max_train_epochs": 3, "max_train_steps": 9}, "max_train_steps"),
    ("train_network", {**LORA, "adaptive_noise_scale": 0.1}, "adaptive_noise_scale"),
    ("train_network", {**LORA, "scale_v_pred_loss_like_noise_pred": True, "v_parameterization": False}, "scale_v_pred_loss_like_noise_pred"),
    ("train_network", {**LORA, "v_pred_like_loss": 0.5, "v_parameterization": True}, "v_pred_like_loss"),
    ("train_network", {**LORA, "keep_tokens": 2}, "keep_tokens"),
    ("train_network", {**LORA, "caption_extension": "txt"}, "caption_extension"),
    ("train_network", {**LORA, "color_aug": True, "cache_latents": True}, "color_aug"),
    ("train_network", {**LORA, "random_crop": True, "cache_latents": True}, "random_crop"),
    ("train_network", {**LORA, "full_bf16": True}, "full_bf16"),
    ("train_network", {**LORA, "torch_compile": True, "dynamo_backend": "ofi"}, "dynamo_backend"),
    ("train_network", {**LORA, "save_last_n_epochs": 2}, "save_last_n_epochs"),
    ("train_network", {**LORA, "initial_epoch": 2, "initial_step": 9}, "initial_epoch"),
    ("train_network", {**LORA, "clip_skip": 2, "v2": True}, "clip_skip"),
    ("sdxl_train_network", {**LORA, "cache_text_encoder_outputs": True}, "cache_text_encoder_outputs"),
    ("train_db", {**SOUND, "learning_rate": 1e-2}, "learning_rate"),
    ("train_db", {**SOUND, "learning_rate": 1e-6, "use_safetensors": True, "save_model_as": "ckpt"}, "use_safetensors"),
    ("sdxl_train", {**SOUND, "learning_rate": 1e-6, "fused_backward_pass": True, "fused_optimizer_groups": 3}, "fused_optimizer_groups"),
    ("fine_tune", {**SOUND, "learning_rate": 1e-6, "learning_rate_te": 1e-6}, "learning_rate_te"),
]


@pytest.mark.parametrize(("script", "given", "field"), BROKEN, ids=[f"{script}-{field}" for script, _, field in BROKEN])
def test_it_does_what_the_fix_says(script, given, field):
    broken = make_config(command(script), {name: value for name, value in given.items() if value is not None})
    found = [problem for problem in check(broken) if problem.field == field and problem.mend]
    assert found, check(broken)
    mended = make_config(command(script), {**broken.given, **dict(found[0].mend)})
    left = check(mended)
    assert found[0] not in left
    assert {problem.field for problem in left if problem.severity == "error"} <= {p.field for p in check(broken) if p.severity == "error"}
