"""lycoris.kohya and the package's own network read each other's files and draw the same, and training goes on from what that wrote."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import tiny_runs
import torch
from lycoris.kohya import LycorisNetworkKohya, create_network, create_network_from_weights
from lycoris.logging import logger
from safetensors.torch import load_file, save_file
from tiny_runs import report_to, train
from torch import Tensor

from sd_scripts.library.methods.adapter import Adapter
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config

logger.setLevel(logging.ERROR)
PRESET = """
enable_conv = true
unet_target_module = ["Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D"]
unet_target_name = ["conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"]
text_encoder_target_module = []
exclude_name = ["up_blocks.*"]
"""
"""The U-Net side of "full", which this version of the package makes twice for the time embedding and refuses; half of the model is time enough."""
ALGORITHMS = {
    "locon": {"train_norm": "True", "conv_dim": "2"},
    "loha": {},
    "lokr": {"factor": "4", "decompose_both": "True"},
    "ia3": {},
    "glora": {},
    "full": {"train_norm": "True"},
    "diag-oft": {"rescaled": "True", "constraint": "0.01"},
    "boft": {},
}
SIDE_ONLY = ("glora", "boft")
"""Kinds that the package makes for some layers alone: glora for transformers, boft where its rank splits the outputs."""


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


@pytest.fixture
def preset(tmp_path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(PRESET.replace('["Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D"]', '["Attention"]'), encoding="utf-8")
    return str(path)


@pytest.fixture
def wide_preset(tmp_path) -> str:
    path = tmp_path / "wide.toml"
    path.write_text(PRESET, encoding="utf-8")
    return str(path)


def chosen(algo: str, preset: str, wide_preset: str) -> str:
    return preset if algo in SIDE_ONLY else wide_preset


def asked(algo: str, preset: str) -> dict[str, Any]:
    words = (f"algo={algo}", f"preset={preset}", *(f"{name}={value}" for name, value in ALGORITHMS[algo].items()))
    return {"network_module": "lycoris.kohya", "network_args": words, "network_dim": 4, "network_alpha": 2, "network_train_unet_only": True}


def micro(root: Path) -> Any:
    return tiny_models.load_sd(tiny_runs.micro_model(root))


@torch.no_grad()
def drawn(unet: Any) -> Tensor:
    """The prediction for fixed latents, (1, 4, 8, 8)."""
    hidden = tiny_models.wave(0.03, (1, 77, unet.config["cross_attention_dim"]))
    return unet.eval()(tiny_models.wave(0.05, (1, 4, 8, 8)), torch.tensor([500]), hidden).sample


def theirs_of(algo: str, preset: str, family: Any) -> Any:
    """The package's network on `family`, its parameters moved off their start."""
    given: dict[str, Any] = {name: int(value) if value.isdigit() else value for name, value in ALGORITHMS[algo].items()}
    network = create_network(1.0, 4, 2, None, None, family.unet, algo=algo, preset=preset, **given)
    torch.manual_seed(3)
    with torch.no_grad():
        for module in network.unet_loras:
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
    network.apply_to(None, family.unet, False, True)
    return network


def opened(algo: str, path: Path, preset: str, family: Any) -> Any:
    """The package's network for a file. Its reader fails on ia3, of which it passes a parameter too many: that one is made with the options."""
    if algo == "ia3":
        return create_network(1.0, 4, 2, None, None, family.unet, algo=algo, preset=preset)
    return create_network_from_weights(1.0, str(path), None, None, family.unet)[0]


def prepared(root: Path, **given: Any) -> Adapter:
    """Our adapter on a fresh model, with `given` options."""
    start = {"pretrained_model_name_or_path": str(tiny_runs.micro_model(root)), "learning_rate": 1e-3, "seed": 1}
    method = Adapter(make_config(command("train_network"), {**start, **given}), micro(root))
    method.prepare()
    return method


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_packages_network_draws_with_our_file_as_we_do(tmp_path, run_dir, monkeypatch, preset, wide_preset, algo):
    options = asked(algo, chosen(algo, preset, wide_preset))
    assert train(tmp_path, output_name="cat", learning_rate=1e-2, max_train_steps=2, **options) == 0
    path = tmp_path / "out" / "cat.safetensors"
    ours = prepared(tmp_path, **options, network_weights=str(path))
    ours.adapter.merge()
    family = micro(tmp_path)
    plain = drawn(family.unet)
    monkeypatch.setattr(LycorisNetworkKohya, "UNET_TARGET_REPLACE_NAME", [])  # it makes its usual network first, and stops at what that has twice
    network = opened(algo, path, options["network_args"][1].removeprefix("preset="), family)
    assert {module.lora_name for module in network.unet_loras} == {key.partition(".")[0] for key in load_file(path)}
    network.apply_to(None, family.unet, False, True)
    if algo == "ia3":
        assert not network.load_state_dict(load_file(path), strict=False).unexpected_keys
    expected = drawn(ours.family.unet)
    torch.testing.assert_close(drawn(family.unet), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-4)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_training_goes_on_from_the_packages_file(tmp_path, run_dir, preset, wide_preset, algo):
    """With its options, with ranks from the file, and merged first."""
    options = asked(algo, chosen(algo, preset, wide_preset))
    family = micro(tmp_path)
    plain = drawn(family.unet)
    network = theirs_of(algo, chosen(algo, preset, wide_preset), family)
    expected = drawn(family.unet)
    assert not torch.allclose(plain, expected, atol=1e-3)
    path = str(tmp_path / "theirs.safetensors")
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
    told = {"network_args": (f"algo={algo}", options["network_args"][1])}
    for given in ({"network_weights": path}, {"network_weights": path, "dim_from_weights": True, "network_dim": 1, "network_alpha": 1, **told}):
        ours = prepared(tmp_path, **{**options, **given})
        ours.adapter.merge()
        torch.testing.assert_close(drawn(ours.family.unet), expected, rtol=1e-3, atol=1e-4)
    merged = prepared(tmp_path, network_module="networks.lora", base_weights=(path,), network_train_unet_only=True)
    torch.testing.assert_close(drawn(merged.family.unet), expected, rtol=1e-3, atol=1e-4)
    assert train(tmp_path, output_name="next", learning_rate=1e-9, max_train_steps=1, network_weights=path, **options) == 0
    before, after = load_file(path), load_file(tmp_path / "out" / "next.safetensors")
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        torch.testing.assert_close(after[key].float(), tensor.float(), rtol=1e-3, atol=1e-5)


def test_dylora_of_the_package_goes_on(tmp_path, run_dir, preset):
    """Its file is that of a LoRA; the package itself draws with ranks taken at random, so the whole one is ours to compare."""
    family = micro(tmp_path)
    network = create_network(1.0, 4, 2, None, None, family.unet, algo="dylora", preset=preset, block_size=2)
    network.apply_to(None, family.unet, False, True)
    path = str(tmp_path / "theirs.safetensors")
    file = {key: tensor + 0.05 * torch.randn(tensor.shape) if tensor.dim() else tensor for key, tensor in network.state_dict().items()}
    save_file({key: tensor.contiguous() for key, tensor in file.items()}, path)
    words = {
        "network_module": "lycoris.kohya",
        "network_args": ("algo=dylora", f"preset={preset}", "block_size=2"),
        "network_dim": 4,
        "network_alpha": 2,
    }
    assert (
        train(tmp_path, output_name="next", learning_rate=1e-9, max_train_steps=1, network_weights=path, network_train_unet_only=True, **words) == 0
    )
    after = load_file(tmp_path / "out" / "next.safetensors")
    assert after.keys() == file.keys()
    for key, tensor in file.items():
        torch.testing.assert_close(after[key].float().flatten(), tensor.float().flatten(), rtol=1e-3, atol=1e-5)


def test_a_file_for_sdxl_has_the_names_of_its_original_file(tmp_path, run_dir):
    """ComfyUI and A1111 look a layer up by the original key with underscores."""
    words = {"network_module": "lycoris.kohya", "network_args": ("preset=full", "train_norm=True", "conv_dim=1"), "network_dim": 2}
    model = tiny_runs.sdxl_model(tmp_path)
    given = {"pretrained_model_name_or_path": model, "max_train_steps": 1, "learning_rate": 1e-2, "network_train_unet_only": True, **words}
    assert train(tmp_path, script="sdxl_train_network", output_name="xl", **given) == 0
    file = load_file(tmp_path / "out" / "xl.safetensors")
    names = {key.partition(".")[0] for key in file}
    original = {key.removeprefix("model.diffusion_model.").removesuffix(".weight").replace(".", "_") for key in load_file(model)}
    assert {name.removeprefix("lora_unet_") for name in names} <= original
    assert {"lora_unet_input_blocks_0_0", "lora_unet_out_2", "lora_unet_time_embed_0", "lora_unet_input_blocks_1_0_in_layers_0"} <= names
    family = tiny_models.load_sdxl(model)
    before = {name: value.clone() for name, value in family.unet.state_dict().items()}
    start = {"pretrained_model_name_or_path": str(model), "learning_rate": 1e-3, "network_module": "networks.lora"}
    config = make_config(command("sdxl_train_network"), {**start, "base_weights": (str(tmp_path / "out" / "xl.safetensors"),)})
    Adapter(config, family).prepare()
    moved = {name.rpartition(".")[0] for name, value in family.unet.state_dict().items() if not torch.equal(value, before[name])}
    assert moved >= {"conv_in", "conv_out", "time_embedding.linear_1", "down_blocks.0.resnets.0.norm1"} and len(moved) == len(names)
