"""Trainings in half, and on models that are held in fewer bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import events, report_to, train
from torch import nn

from sd_scripts.library.families.sd import SD
from sd_scripts.library.held_weights import HOLDING, HeldWeight
from sd_scripts.library.training import session
from sd_scripts.library.weights_file import read_weights


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """The run folder that trainers of a test report to."""
    return report_to(tmp_path / "run", monkeypatch)


def losses(run_dir: Path) -> torch.Tensor:
    return torch.tensor([step["loss"] for step in events(run_dir, "step")])


HELD = {
    "fp8": ({"fp8_base": True}, {torch.float8_e4m3fn}, {torch.float8_e4m3fn}),
    "fp8-unet": ({"fp8_base_unet": True}, {torch.float8_e4m3fn}, {None}),
    "fp8-16bit": ({"fp8_base": True, "mixed_precision": "bf16"}, {torch.float8_e4m3fn}, {torch.float8_e4m3fn}),
    "int8": ({"quantize_base": "int8"}, {torch.int8}, {None}),
    "nf4": ({"quantize_base": "nf4", "gradient_checkpointing": True, "cache_latents": True}, {torch.uint8}, {None}),
}


def codes(model: nn.Module) -> set[torch.dtype | None]:
    """What the weights of a model's layers are held in; None where they are plain."""
    layers = [module for module in model.modules() if isinstance(module, HOLDING)]
    return {layer.weight.data.codes.dtype if isinstance(layer.weight.data, HeldWeight) else None for layer in layers}


@pytest.mark.parametrize("way", HELD)
def test_a_held_model_is_held_and_trains_nearly_alike(way, tmp_path, run_dir, monkeypatch):
    given, unet, text = HELD[way]
    models = []
    begin = session.loop
    monkeypatch.setattr(session, "loop", lambda run: models.append(run.family) or begin(run))
    assert train(tmp_path, output_name="plain") == 0
    assert train(tmp_path, output_name="held", **given) == 0
    assert [codes(models[0].unet), codes(models[0].text_encoders[0])] == [{None}, {None}]
    assert [codes(models[1].unet), codes(models[1].text_encoders[0])] == [unet, text]
    found = losses(run_dir)
    assert 0 < (found[3:] - found[:3]).abs().max() < (0.1 if way == "nf4" else 0.03)
    assert all(tensor.dtype == torch.float32 for tensor in read_weights(tmp_path / "out" / "held.safetensors")[0].values())


def test_adapters_are_merged_before_weights_are_held(tmp_path, run_dir):
    assert train(tmp_path, output_name="first", max_train_steps=4, network_train_unet_only=True) == 0
    merged = {"base_weights": [tmp_path / "out" / "first.safetensors"], "base_weights_multiplier": [1.0], "learning_rate": 1e-20}
    begun = len(losses(run_dir))
    assert train(tmp_path, output_name="plain", **merged) == 0
    assert train(tmp_path, output_name="held", quantize_base="int8", **merged) == 0
    found = losses(run_dir)[begun:]
    assert 0 < (found[3:] - found[:3]).abs().max() < 0.01


def test_a_word_is_learnt_on_a_held_model(tmp_path, run_dir):
    words = {"network_module": None, "network_dim": None, "token_string": "zzcat", "init_word": "cat", "use_object_template": True}
    assert train(tmp_path, "train_textual_inversion", fp8_base=True, **words) == 0
    assert losses(run_dir).isfinite().all()


HALF = [
    ("full_bf16", "bf16", "AdamW", torch.bfloat16),
    ("full_fp16", "fp16", "AdamW8bit", torch.float16),
    ("full_fp16", "fp16", "Adafactor", torch.float16),
]


@pytest.mark.parametrize(("switch", "mixed", "optimizer", "dtype"), HALF, ids=lambda value: str(value))
@pytest.mark.parametrize("script", ["train_network", "train_db"])
def test_what_is_trained_is_half_and_still_learns(tmp_path, run_dir, monkeypatch, script, switch, mixed, optimizer, dtype):
    seen = set()
    begin = session.loop
    monkeypatch.setattr(session, "loop", lambda run: seen.update(parameter.dtype for parameter in run.method.trainable()) or begin(run))
    given = {"mixed_precision": mixed, "optimizer_type": optimizer, switch: True, "learning_rate": 1e-3, "max_train_steps": 4}
    assert train(tmp_path, script, **given) == 0
    assert seen == {dtype} and losses(run_dir).isfinite().all()
    tensors = read_weights(tmp_path / "out" / "cat.safetensors")[0]
    assert {tensor.dtype for key, tensor in tensors.items() if script == "train_network" or "diffusion_model" in key} == {dtype}
    if script == "train_network":
        assert max(tensor.abs().max() for key, tensor in tensors.items() if "lora_up" in key) > 5e-5


@pytest.mark.parametrize(("script", "optimizer"), [("train_network", "Adafactor"), ("train_db", "Adafactor"), ("train_db", "AdamW8bit")])
def test_a_half_training_resumes_bit_for_bit(tmp_path, script, optimizer):
    given = {"mixed_precision": "fp16", "full_fp16": True, "optimizer_type": optimizer, "max_train_steps": 4, "save_every_n_steps": 2}
    assert train(tmp_path, script, output_name="whole", save_state=True, **given) == 0
    assert train(tmp_path, script, output_name="rest", resume=tmp_path / "out" / "whole-step00000002-state", **given) == 0
    whole, rest = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("whole", "rest"))
    assert [key for key in whole if not whole[key].equal(rest[key])] == []


def test_weights_are_held_while_the_file_is_read(tmp_path):
    from tiny_runs import micro_model

    from sd_scripts.params.commands import command
    from sd_scripts.params.config import make_config

    config = make_config(command("train_network"), {"pretrained_model_name_or_path": str(micro_model(tmp_path)), "quantize_base": "nf4"})
    family = SD.load(config, device=torch.device("cpu"), weight_dtype=torch.float32)
    assert (codes(family.unet), codes(family.vae)) == ({torch.uint8}, {None})
