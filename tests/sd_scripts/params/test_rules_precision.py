"""Rules on number formats."""

from __future__ import annotations

import pytest

from sd_scripts.params.check import check
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

CASES = [
    ("train_network", {"full_fp16": True}, ("full_fp16", "error")),
    ("train_network", {"full_bf16": True, "mixed_precision": "fp16"}, ("full_bf16", "error")),
    ("train_network", {"full_bf16": True, "mixed_precision": "bf16"}, None),
    ("train_db", {"full_bf16": True, "mixed_precision": "bf16"}, None),
    ("train_network", {"full_fp16": True, "mixed_precision": "fp16"}, ("full_fp16", "error")),
    ("train_network", {"full_fp16": True, "mixed_precision": "fp16", "optimizer_type": "AdamW8bit"}, None),
    ("train_textual_inversion", {"full_bf16": True, "mixed_precision": "bf16"}, ("full_bf16", "warning")),
    ("train_db", {"fp8_base": True}, ("fp8_base", "error")),
    ("sdxl_train", {"fp8_base": True}, ("fp8_base", "error")),
    ("train_textual_inversion", {"fp8_base": True}, None),
    ("train_network", {"fp8_base": True}, None),
    ("train_network", {"fp8_base": True, "quantize_base": "nf4"}, ("quantize_base", "error")),
    ("train_network", {"fp8_base_unet": True, "quantize_base": "int8"}, ("quantize_base", "error")),
    ("train_network", {"quantize_base": "nf4"}, None),
    ("sdxl_train_network", {"mixed_precision": "fp16"}, ("no_half_vae", "warning")),
    ("sdxl_train_network", {"mixed_precision": "fp16", "no_half_vae": True}, None),
    ("sdxl_train_network", {"mixed_precision": "fp16", "vae": "sdxl-vae-fp16-fix.safetensors"}, None),
    ("sdxl_train_network", {"mixed_precision": "bf16"}, None),
    ("train_network", {"mixed_precision": "fp16"}, None),
]


@pytest.mark.parametrize(("script", "given", "found"), CASES, ids=str)
def test_what_does_not_fit_is_named(script, given, found):
    concerned = ("full_fp16", "full_bf16", "fp8_base", "fp8_base_unet", "quantize_base", "no_half_vae")
    problems = {(problem.field, problem.severity) for problem in check(make_config(command(script), given)) if problem.field in concerned}
    assert problems == (set() if found is None else {found})
