"""Other programs take our LoRA files: diffusers' loader, and a merge into transformers' own text encoder."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextModel

from sd_scripts.library.families.sd import SD
from sd_scripts.library.methods.adapter import Adapter
from sd_scripts.library.weights_file import save_weights
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from tests.tiny_models import SD15_TINY, build_diffusers_folder, build_sd15_tiny, wave

CONTEXT = wave(0.1, (1, 77, 64))
PROMPT = "a photo of a cat"
IDS = torch.tensor([[49406, 320, 1125, 539, 320, 2368, *[49407] * 71]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as diffusers' and transformers' own converters write it."""
    return build_diffusers_folder(tmp_path_factory.mktemp("diffusers") / "tiny", SD15_TINY)


@pytest.fixture(scope="module")
def single_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sd15_tiny(tmp_path_factory.mktemp("single") / "tiny.safetensors")


def trained(single_file: Path, **options: object) -> Adapter:
    """An adapter on our loader's model, with factors that matter."""
    given = {"pretrained_model_name_or_path": str(single_file), "network_module": "networks.lora", "network_dim": 4, "network_alpha": 2, "seed": 3}
    asked = make_config(command("train_network"), {**given, **options})
    method = Adapter(asked, SD.load(asked, device=torch.device("cpu"), weight_dtype=torch.float32))
    method.prepare()
    with torch.no_grad():
        for index, module in enumerate(method.adapter.modules_by_name.values()):
            up = module.lora_up.weight
            up.copy_(0.1 * wave(0.7 + index, tuple(up.shape)))  # type: ignore[arg-type,union-attr]
    return method


@torch.no_grad()
def predicted(unet: torch.nn.Module) -> Tensor:
    return unet(wave(0.05, (1, 4, 16, 16)), torch.tensor([500]), CONTEXT, return_dict=False)[0]


@pytest.mark.parametrize("options", [{}, {"network_args": ["conv_dim=2", "conv_alpha=1"]}], ids=["lora", "with conv"])
@torch.no_grad()
def test_diffusers_loads_our_file_and_encodes_and_predicts_the_same(folder, single_file, tmp_path, options):
    method = trained(single_file, **options)
    save_weights(tmp_path / "ours.safetensors", method.tensors(None), method.metadata())
    unet, text_encoder = UNet2DConditionModel.from_pretrained(folder / "unet"), CLIPTextModel.from_pretrained(folder / "text_encoder")
    plain, plain_text = predicted(unet), text_encoder(IDS).last_hidden_state
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    absent = dict.fromkeys(("vae", "tokenizer", "safety_checker", "feature_extractor"))
    pipeline = StableDiffusionPipeline(unet=unet, text_encoder=text_encoder, scheduler=scheduler, requires_safety_checker=False, **absent)
    pipeline.load_lora_weights(tmp_path / "ours.safetensors")
    ours, ours_text = predicted(method.family.unet), method.family.encode_text([PROMPT]).prompt_embeds
    torch.testing.assert_close(predicted(pipeline.unet), ours, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pipeline.text_encoder(IDS).last_hidden_state, ours_text, rtol=1e-4, atol=1e-5)
    assert (ours - plain).abs().max() > 0.05
    assert (ours_text - plain_text).abs().max() > 0.05


def merged_into(text_encoder: CLIPTextModel, path: Path) -> CLIPTextModel:
    """The file's text-encoder part added to a model's weights by its key names alone: `lora_te_<path with underscores>`."""
    tensors = load_file(path)
    by_name = {f"text_model_{re.sub('^text_model[.]', '', name)}".replace(".", "_"): module for name, module in text_encoder.named_modules()}
    stems = {key.partition(".")[0] for key in tensors if key.startswith("lora_te_")}
    assert len(stems) == 12
    with torch.no_grad():
        for stem in stems:
            down, up, alpha = (tensors[f"{stem}.{part}"] for part in ("lora_down.weight", "lora_up.weight", "alpha"))
            by_name[stem.removeprefix("lora_te_")].weight += alpha / down.shape[0] * (up @ down)
    return text_encoder


@torch.no_grad()
def test_our_text_encoder_part_merged_by_key_names_encodes_the_same(folder, single_file, tmp_path):
    method = trained(single_file)
    save_weights(tmp_path / "ours.safetensors", method.tensors(None), method.metadata())
    theirs = merged_into(CLIPTextModel.from_pretrained(folder / "text_encoder"), tmp_path / "ours.safetensors")
    plain = CLIPTextModel.from_pretrained(folder / "text_encoder")(IDS).last_hidden_state
    ours = method.family.encode_text([PROMPT]).prompt_embeds
    torch.testing.assert_close(theirs(IDS).last_hidden_state, ours, rtol=1e-4, atol=1e-5)
    assert (ours - plain).abs().max() > 0.05


@torch.no_grad()
def test_merged_text_encoder_weights_equal_the_formula_on_the_file(single_file, tmp_path):
    method = trained(single_file)
    save_weights(tmp_path / "ours.safetensors", method.tensors(None), method.metadata())
    before = {target.name: target.module.weight.clone() for target in method.family.targets() if target.part == "text_encoder"}  # type: ignore[operator]
    method.adapter.merge()
    tensors = load_file(tmp_path / "ours.safetensors")
    for target in method.family.targets():
        if target.part == "text_encoder":
            change = tensors[f"{target.name}.lora_up.weight"].double() @ tensors[f"{target.name}.lora_down.weight"].double() * (2 / 4)
            torch.testing.assert_close(target.module.weight.double(), before[target.name].double() + change, rtol=1e-6, atol=1e-7)
            assert math.isfinite(change.norm().item())
