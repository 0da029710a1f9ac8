"""The files of adapters on models of full size, built without weights: their keys are the ecosystem's, and their shapes fit the layers."""

from __future__ import annotations

import json
from functools import cache

import pytest
import tiny_models
import torch

from sd_scripts.library.families.ldm.family import LatentDiffusion
from sd_scripts.library.families.ldm.load import skeleton
from sd_scripts.library.families.sd import SD
from sd_scripts.library.families.sdxl import SDXL
from sd_scripts.networks.build import build
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.families import FAMILIES

NAMES = json.loads((tiny_models.GOLDEN / "lora_module_names.json").read_text("utf-8"))
FACTORS = {"lora_down.weight", "lora_up.weight", "alpha"}
LOHA = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"}
SIZES = {
    "sd15": ("train_network", tiny_models.SD15, SD),
    "sd2": ("train_network", tiny_models.SD21, SD),
    "sdxl": ("sdxl_train_network", tiny_models.SDXL_BASE, SDXL),
}


def asked(size: str, module: str, *words: str, rank: int = 4) -> Config:
    return make_config(command(SIZES[size][0]), {"network_module": module, "network_args": words, "network_dim": rank, "learning_rate": 1e-4})


@cache
def full(size: str) -> LatentDiffusion:
    """The model with layers that hold no numbers."""
    _, layout, family = SIZES[size]
    parts = skeleton(tiny_models.single_file_shapes(layout), family.layout)
    return family(parts, asked(size, "networks.lora"), device=torch.device("cpu"))


@pytest.mark.parametrize(
    ("size", "golden", "module", "words", "ends"),
    [
        ("sd15", "sd15_lora", "networks.lora", (), FACTORS),
        ("sd15", "sd15_lora_conv", "networks.lora", ("conv_dim=2",), FACTORS),
        ("sd15", "sd15_lora", "networks.lora_fa", (), FACTORS),
        ("sd15", "sd15_lora_conv", "networks.dylora", ("conv_dim=4",), FACTORS),
        ("sd15", "sd15_lora_conv", "networks.lora", ("conv_dim=2", "dora_wd=True"), FACTORS | {"dora_scale"}),
        ("sd15", "sd15_lora", "networks.loha", (), LOHA),
        ("sd15", "sd15_oft", "networks.oft", (), {"oft_blocks", "alpha"}),
        ("sd2", "sd2_lora", "networks.lora", (), FACTORS),
        ("sdxl", "sdxl_lora", "networks.lora", (), FACTORS),
        ("sdxl", "sdxl_lora_conv", "networks.lora", ("conv_dim=2",), FACTORS),
        ("sdxl", "sdxl_lora_conv", "networks.loha", ("conv_dim=2",), LOHA),
        ("sdxl", "sdxl_oft", "networks.oft", (), {"oft_blocks", "alpha"}),
    ],
)
def test_keys_are_the_recorded_names_with_the_kinds_ends(size, golden, module, words, ends):
    config = asked(size, module, *words, rank=320 if module == "networks.oft" else 4)  # small blocks: fewer numbers
    adapter = build(config, full(size).targets(), layout=FAMILIES[config.command.family].blocks)
    names = [*NAMES[golden]["text_encoders"], *NAMES[golden]["denoiser"]]
    assert list(adapter.modules_by_name) == names
    tensors = adapter.file_tensors()
    assert tensors.keys() == {f"{name}.{end}" for name in names for end in ends}
    assert len(names) > 100


@pytest.mark.parametrize("size", SIZES)
def test_factors_fit_the_layers(size):
    config = asked(size, "networks.lora", "conv_dim=2")
    targets = full(size).targets()
    tensors = build(config, targets, layout=FAMILIES[config.command.family].blocks).file_tensors()
    layers = {target.name: target for target in targets if f"{target.name}.alpha" in tensors}
    assert 3 * len(layers) == len(tensors)
    for name, target in layers.items():
        outputs, inputs, *kernel = target.module.weight.shape
        rank, ones = 2 if target.kind == "conv3x3" else 4, [1] * len(kernel)
        assert list(tensors[f"{name}.lora_down.weight"].shape) == [rank, inputs, *kernel]
        assert list(tensors[f"{name}.lora_up.weight"].shape) == [outputs, rank, *ones]


def test_lokr_has_a_small_and_a_large_part_for_each_layer_of_sdxl():
    """Which of them is split into two factors depends on the layer's size."""
    config = asked("sdxl", "networks.lokr", "factor=8", rank=16)
    tensors = build(config, full("sdxl").targets(), layout=FAMILIES["sdxl"].blocks).file_tensors()
    names = {*NAMES["sdxl_lora"]["text_encoders"], *NAMES["sdxl_lora"]["denoiser"]}
    small, large = {"lokr_w1"}, ({"lokr_w2_a", "lokr_w2_b"}, {"lokr_w2"})
    found: dict[str, set[str]] = {}
    for key in tensors:
        name, _, end = key.partition(".")
        found.setdefault(name, set()).add(end)
    assert found.keys() == names
    assert all(ends - {"alpha"} in [small | part for part in large] for ends in found.values())
