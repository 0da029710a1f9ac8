"""What an adapter will train, told from the header: every recorded module name, and the true size of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sd_scripts.networks.build import build
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.families.facts import AdapterPlace
from sd_scripts.survey.header import Header, read_header
from sd_scripts.survey.targets import adapter_size
from tests.tiny_models import SD15, SD15_MICRO, SD15_TINY, SD21, Layout, build_diffusers_folder, build_sd15_micro, load_sd, single_file_shapes

NAMES = json.loads((Path(__file__).parents[2] / "golden" / "lora_module_names.json").read_text("utf-8"))


def places(header: Header, family: str = "sd") -> tuple[AdapterPlace, ...]:
    return FAMILIES[family].places(header.tensors)


def _header(layout: Layout) -> Header:
    return Header({name: ("F16", shape) for name, shape in single_file_shapes(layout).items()}, {}, 0)


def _config(**given: object) -> Config:
    return make_config(command("train_network"), {"network_module": "networks.lora", **given})


@pytest.mark.parametrize(("golden", "layout", "conv"), [("sd15_lora", SD15, False), ("sd15_lora_conv", SD15, True), ("sd2_lora", SD21, False)])
def test_the_targets_are_kohyas_modules(golden, layout, conv):
    found = [target for target in places(_header(layout)) if conv or not target.needs_conv]
    assert {target.name for target in found if target.part == "unet"} == set(NAMES[golden]["denoiser"])
    assert {target.name for target in found if target.part == "text_encoder"} == set(NAMES[golden]["text_encoders"])
    assert len(found) == len({target.name for target in found})


def test_block_indices_are_kohyas():
    golden = json.loads((Path(__file__).parents[2] / "golden" / "lora.json").read_text("utf-8"))["block_index"]["sd1"]
    found = {target.name: -1 if target.block is None else target.block for target in places(_header(SD15))}
    assert {name: found[name] for name in golden} == golden


def test_a_folder_has_the_same_targets_as_the_single_file(tmp_path):
    folder = read_header(build_diffusers_folder(tmp_path / "m", SD15_TINY))
    assert {(t.name, t.shape, t.block) for t in places(folder)} == {(t.name, t.shape, t.block) for t in places(_header(SD15_TINY))}


@pytest.mark.parametrize(
    "given",
    [{}, {"network_dim": 8}, {"network_train_unet_only": True}, {"network_train_text_encoder_only": True}, {"network_args": ["conv_dim=2"]},
     {"save_precision": "fp16"}, {"network_args": ["block_dims=" + ",".join(["0"] * 12 + ["4"] * 13)]}],
)  # fmt: skip
def test_the_file_is_as_large_as_told(tmp_path, given):
    header = _header(SD15_MICRO)
    config = _config(**given)
    size = adapter_size(config, header)
    assert size is not None
    dtype = torch.float16 if given.get("save_precision") else torch.float32
    tensors, parameters = {}, 0
    for name, rank, shape in _chosen(given, header):
        tensors |= {
            f"{name}.lora_down.weight": torch.zeros(rank, *shape[1:], dtype=dtype),
            f"{name}.lora_up.weight": torch.zeros(shape[0], rank, dtype=dtype),
        }
        tensors[f"{name}.alpha"] = torch.zeros((), dtype=dtype)
        parameters += rank * (torch.Size(shape[1:]).numel() + shape[0])
    save_file(tensors, tmp_path / "lora.safetensors", {"x": "y" * 6000})
    assert (size.parameters, (size.unet_modules + size.text_encoder_modules) * 3) == (parameters, len(tensors))
    assert size.file_bytes == pytest.approx((tmp_path / "lora.safetensors").stat().st_size, rel=0.05)


def _chosen(given: dict, header: Header) -> list[tuple[str, int, tuple[int, ...]]]:
    rank = given.get("network_dim", 4)
    words = " ".join(given.get("network_args", []))
    chosen = []
    for target in places(header):
        is_text = target.part == "text_encoder"
        if (is_text and given.get("network_train_unet_only")) or (not is_text and given.get("network_train_text_encoder_only")):
            continue
        if (target.needs_conv and "conv_dim" not in words) or ("block_dims" in words and not is_text and target.block < 12):
            continue
        chosen.append((target.name, 2 if target.is_large_conv else rank, target.shape))
    return chosen


def test_ranks_that_a_file_decides_have_no_size():
    asked = _config(network_module="lycoris.kohya", dim_from_weights=True, network_weights="a")
    assert adapter_size(asked, _header(SD15_MICRO)) is None


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("networks.lora", ("conv_dim=2",)),
        ("networks.lora", ("dora_wd=True",)),
        ("networks.lora", ("include_patterns=*attn2*", "network_reg_dims=to_q=3")),
        ("networks.lora_fa", ()),
        ("networks.dylora", ()),
        ("networks.loha", ("conv_dim=2", "use_tucker=True")),
        ("networks.lokr", ("conv_dim=2", "factor=4")),
        ("networks.lokr", ("decompose_both=True", "use_tucker=True", "conv_dim=1")),
        ("networks.lokr", ("full_matrix=True",)),
        ("networks.oft", ("enable_conv=True",)),
    ],
)
def test_the_table_has_what_is_then_trained(tmp_path, module, words):
    """Counts told from the header against the adapter that is built."""
    path = build_sd15_micro(tmp_path / "micro.safetensors")
    config = _config(network_module=module, network_args=words, network_dim=4, pretrained_model_name_or_path=str(path))
    size = adapter_size(config, _header(SD15_MICRO))
    assert size is not None
    built = build(config, load_sd(path).targets()).modules_by_name.values()
    assert size.unet_modules + size.text_encoder_modules == len(built)
    assert size.parameters == sum(parameter.numel() for module in built for parameter in module.trained_parameters())
    assert sum(row.layers for row in size.rows) == len(built) and sum(row.parameters for row in size.rows) == size.parameters
    assert all(f"{row.layers:,} layers" in row.line() for row in size.rows)
