"""A LoRA of another family, whatever program wrote it, is refused in one sentence before the model is loaded."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import tiny_models
import torch
from tiny_runs import events, report_to, train
from torch import Tensor

from sd_scripts.library.families.ldm.family import LatentDiffusion
from sd_scripts.library.families.ldm.load import skeleton
from sd_scripts.library.families.sd import SD
from sd_scripts.library.families.sdxl import SDXL
from sd_scripts.networks.build import build
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.families import FAMILIES
from sd_scripts.survey.header import Header, facts_of
from tests.sd_scripts.survey.model_files import write_safetensors

SIZES = {
    "sd1": ("train_network", tiny_models.SD15, SD),
    "sd2": ("train_network", tiny_models.SD21, SD),
    "sdxl": ("sdxl_train_network", tiny_models.SDXL_BASE, SDXL),
}
KINDS = {
    "lora": ("networks.lora", ()),
    "lora of one block": ("networks.lora", ("include_patterns=mid_block|middle_block",)),
    "loha": ("networks.loha", ()),
    "lokr": ("networks.lokr", ("factor=8",)),
    "dylora": ("networks.dylora", ()),
    "lycoris loha": ("lycoris.kohya", ("algo=loha", "preset=attn-only")),
    "lycoris lokr": ("lycoris.kohya", ("algo=lokr", "preset=attn-only", "factor=8")),
    "lycoris glora": ("lycoris.kohya", ("algo=glora", "preset=attn-only")),
}
ENDS = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
ROOTS = {"diffusers": "unet.", "peft": "base_model.model."}
DOWN, UP = ("F16", (4, 3072)), ("F16", (3072, 4))
FOREIGN = {
    "FLUX.1": {
        "kohya": "lora_unet_single_blocks_7_linear1.lora_down.weight",
        "diffusers": "transformer.single_transformer_blocks.7.attn.to_q.lora_A.weight",
        "two streams alone": "transformer.transformer_blocks.3.attn.add_k_proj.lora_A.weight",
        "its authors' names": "diffusion_model.double_blocks.3.img_attn.qkv.lora_A.weight",
        "lycoris": "lycoris_single_blocks_7_linear1.hada_w1_a",
    },
    "Stable Diffusion 3": {
        "kohya": "lora_unet_joint_blocks_5_context_block_attn_qkv.lora_down.weight",
        "diffusers": "transformer.transformer_blocks.3.attn.add_k_proj.lora_A.weight",
    },
}


@cache
def full(size: str) -> LatentDiffusion:
    """The model with layers that hold no numbers."""
    script, layout, family = SIZES[size]
    config = make_config(command(script), {"network_module": "networks.lora", "learning_rate": 1e-4})
    return family(skeleton(tiny_models.single_file_shapes(layout), family.layout), config, device=torch.device("cpu"))


def adapter_file(size: str, kind: str) -> dict[str, Tensor]:
    """What a training of the U-Net saves."""
    module, words = KINDS[kind]
    given = {"network_module": module, "network_args": words, "network_dim": 4, "learning_rate": 1e-4, "network_train_unet_only": True}
    config = make_config(command(SIZES[size][0]), given)
    targets = [target for target in full(size).targets() if target.part == "unet"]
    return build(config, targets, layout=FAMILIES[config.command.family].blocks).file_tensors()


def header(tensors: dict[str, Tensor]) -> Header:
    return Header({name: ("F16", tuple(tensor.shape)) for name, tensor in tensors.items()}, {}, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_metadata_tells_its_family(size, kind):
    facts = facts_of(header(adapter_file(size, kind)))
    assert (facts.kind, facts.family) == ("lora", size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("style", ROOTS)
def test_so_does_one_of_another_program(size, style):
    paths = {id(module): path for path, module in full(size).unet.named_modules()}
    layers = {target.name: paths[id(target.module)] for target in full(size).targets() if target.part == "unet"}
    theirs = {}
    for key, tensor in adapter_file(size, "lora").items():
        name, _, end = key.partition(".")
        if end in ENDS:
            theirs[f"{ROOTS[style]}{layers[name]}.{ENDS[end]}"] = tensor
    assert facts_of(header(theirs)).family == size


def test_names_that_tell_nothing_are_no_family():
    """Such as the text encoder's, which Stable Diffusion 1.x and SDXL share, and widths of no published model."""
    assert facts_of(Header({"text_encoder.text_model.encoder.layers.0.self_attn.k_proj.lora_A.weight": ("F16", (4, 768))}, {}, 1)).family == ""
    assert facts_of(Header({"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": ("F16", (4, 32))}, {}, 1)).family == ""


@pytest.mark.parametrize("option", ["network_weights", "base_weights"])
@pytest.mark.parametrize(("title", "style"), [(title, style) for title, rows in FOREIGN.items() for style in rows])
def test_a_lora_of_another_architecture_is_refused_before_anything_loads(tmp_path, monkeypatch, capsys, option, title, style):
    name = FOREIGN[title][style]
    shape = DOWN if title == "FLUX.1" else ("F16", (4, 1536))
    path = write_safetensors(tmp_path / "theirs.safetensors", {name: shape})
    refused(tmp_path, monkeypatch, capsys, "train_network", option, path, title)


@pytest.mark.parametrize(("size", "script", "title"), [("sd1", "sdxl_train_network", "Stable Diffusion 1.x"), ("sdxl", "train_network", "SDXL"),
                                                       ("sd2", "train_network", "Stable Diffusion 2.x")])  # fmt: skip
@pytest.mark.parametrize("kind", ["lora", "lycoris loha"])
def test_a_lora_of_another_size_is_refused_before_anything_loads(tmp_path, monkeypatch, capsys, size, script, title, kind):
    tensors = {name: ("F16", tuple(tensor.shape)) for name, tensor in adapter_file(size, kind).items()}
    path = write_safetensors(tmp_path / "theirs.safetensors", tensors)
    refused(tmp_path, monkeypatch, capsys, script, "network_weights", path, title)


def test_the_kind_is_known_without_the_model_too(tmp_path, monkeypatch, capsys):
    """A model that the hub has is not there yet when the LoRA is looked at."""
    path = write_safetensors(tmp_path / "theirs.safetensors", {FOREIGN["FLUX.1"]["diffusers"]: DOWN})
    refused(tmp_path, monkeypatch, capsys, "train_network", "network_weights", path, "FLUX.1", pretrained_model_name_or_path="somebody/model")


def refused(root: Path, monkeypatch, capsys, script: str, option: str, path: Path, title: str, **more: object) -> None:
    """A training with this file ends at once, with both kinds named, and no model was read."""
    run_dir = report_to(root / "run", monkeypatch)
    given = {option: [path] if option == "base_weights" else path, **more}
    assert train(root, script, **given) == 2
    said = capsys.readouterr().err
    assert f"theirs.safetensors is for {title}" in said and option in said, said
    assert [event["what"] for event in events(run_dir, "phase") if "load" in json.dumps(event)] == []
