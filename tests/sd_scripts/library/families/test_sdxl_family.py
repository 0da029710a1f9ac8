"""SDXL: what is loaded, how captions and sizes reach the U-Net, and the names of its adapters at full size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file

from sd_scripts.errors import ConfigError
from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.families import source
from sd_scripts.library.families.base import Conditions, Noised
from sd_scripts.library.families.clip import EOS, caption_chunks
from sd_scripts.library.families.ldm.config import unet_config
from sd_scripts.library.families.ldm.convert import take, unet_table
from sd_scripts.library.families.ldm.load import single_file_tables, skeleton
from sd_scripts.library.families.ldm.targets import text_targets
from sd_scripts.library.families.sdxl import SDXL
from sd_scripts.library.families.sdxl.targets import unet_targets
from sd_scripts.params.families import FAMILIES
from tests.tiny_models import (
    GOLDEN,
    SDXL_BASE,
    SDXL_TINY,
    Layout,
    build_sd15_micro,
    build_sdxl_tiny,
    load_sdxl,
    rule_tensor,
    single_file_shapes,
    single_file_tensors,
    wave,
)  # fmt: skip

NAMES = json.loads((GOLDEN / "lora_module_names.json").read_text("utf-8"))
RECORDED = json.loads((GOLDEN / "models.json").read_text("utf-8"))["sdxl_unet_small"]
SMALL = Layout((64, 128, 256), (0, 2, 10), 2, 768, 1, 64, (32,), 1, second=None)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return build_sdxl_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(scope="module")
def sdxl(tiny) -> SDXL:
    return load_sdxl(tiny)


@pytest.fixture(scope="module")
def full():
    return skeleton(single_file_shapes(SDXL_BASE), SDXL.layout)


def small_unet_shapes() -> dict[str, tuple[int, ...]]:
    """Keys without prefix of the recorded small U-Net: text of 2048 numbers, a vector of 2816."""
    from dataclasses import replace

    from tests.tiny_models import SecondText

    layout = replace(SMALL, second=SecondText(1280, 1, 64))
    top = "model.diffusion_model."
    return {key.removeprefix(top): shape for key, shape in single_file_shapes(layout).items() if key.startswith(top)}


def test_the_recorded_unet_predicts_the_recorded_numbers():
    shapes = small_unet_shapes()
    assert (len(shapes), sum(torch.Size(shape).numel() for shape in shapes.values())) == (RECORDED["tensors"], RECORDED["parameters"])
    unet = UNet2DConditionModel(**unet_config(shapes, prefix="")).eval()
    table = unet_table(unet.state_dict(), layers_per_block=2, prefix="")
    unet.load_state_dict({name: take(rule_tensor(table[name].key, shapes[table[name].key]), table[name], value.shape)
                          for name, value in unet.state_dict().items()})  # fmt: skip
    vector, context = wave(0.02, (1, 2816)), wave(0.01, (1, 77, 2048), cosine=True)
    embedding = unet.time_embedding(unet.time_proj(torch.tensor([321]))) + unet.add_embedding(vector)
    found = forward_with(unet, embedding, wave(0.05, (1, 4, 16, 16)), context)
    expected = RECORDED["output"]
    assert found.flatten()[expected["at"]].tolist() == pytest.approx(expected["values"], abs=1e-4)
    assert (found.mean().item(), found.std().item()) == pytest.approx((expected["mean"], expected["std"]), abs=1e-4)


@torch.no_grad()
def forward_with(unet: UNet2DConditionModel, embedding: torch.Tensor, latents: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """The U-Net with its time embedding replaced: the record's vector is no pooled caption with sizes."""
    unet.get_aug_embed = lambda **_: None  # type: ignore[method-assign]
    unet.time_embedding.forward = lambda *_: embedding  # type: ignore[method-assign,assignment]
    return unet(latents, 321, context, return_dict=False)[0]


def test_sizes_become_the_recorded_sines(sdxl):
    recorded = RECORDED["size_embedding"]
    sizes = torch.tensor([[*recorded["original h,w"], *recorded["crop top,left"], *recorded["target h,w"]]], dtype=torch.float32)
    found = sdxl.unet.add_time_proj(sizes.flatten()).reshape(1, -1)
    assert list(found.shape) == recorded["shape"]
    assert found.flatten()[recorded["at"]].tolist() == pytest.approx(recorded["values"], abs=1e-5)


@pytest.mark.parametrize(("golden", "conv"), [("sdxl_lora", False), ("sdxl_lora_conv", True)])
def test_adapter_names_and_order_at_full_size_are_kohyas(full, golden, conv):
    assert [target.name for target in unet_targets(full.unet) if conv or not target.conv] == NAMES[golden]["denoiser"]
    first = text_targets(full.text_encoders[0], part="text_encoder", prefix="lora_te1")
    second = text_targets(full.text_encoders[1], part="text_encoder_2", prefix="lora_te2")
    assert [target.name for target in (*first, *second)] == NAMES[golden]["text_encoders"]


def test_block_indices_are_kohyas_and_the_header_tells_the_same(full):
    recorded = json.loads((GOLDEN / "lora.json").read_text("utf-8"))["block_index"]["sdxl"]
    found = {target.name: (target.block, target.conv) for target in unet_targets(full.unet)}
    assert {name: found[name][0] for name in recorded if "te1" not in name} == {name: at for name, at in recorded.items() if "te1" not in name}
    places = FAMILIES["sdxl"].places({name: ("F16", shape) for name, shape in single_file_shapes(SDXL_BASE).items()})
    assert {place.name: (place.block, place.needs_conv) for place in places if place.part == "unet"} == found
    assert [place.name for place in places if place.part != "unet"] == NAMES["sdxl_lora"]["text_encoders"] or len(places) == 788 + 264
    assert {place.name for place in places if place.part != "unet"} == set(NAMES["sdxl_lora"]["text_encoders"])


def test_the_full_unet_has_its_published_size(full):
    assert sum(weight.numel() for weight in full.unet.parameters()) == 2_567_463_684
    assert full.text_encoders[1].config.num_hidden_layers == 32


def test_a_single_file_comes_back_key_by_key(sdxl):
    original = single_file_tensors(SDXL_TINY)
    from sd_scripts.library.families.ldm.convert import join

    tables = single_file_tables(sdxl.parts)
    back = {key: value for name, table in tables.items() for key, value in join(table, sdxl.parts.modules[name].state_dict()).items()}
    assert original.keys() - back.keys() == {"conditioner.embedders.1.model.logit_scale"}
    assert all(torch.equal(value, original[key]) for key, value in back.items())


def test_captions_are_the_last_layer_but_one_of_both_encoders_and_a_projected_end_mark(sdxl):
    with torch.no_grad():
        text = sdxl.encode_text(["a photo of a cat", ""])
        first = caption_chunks(["a photo of a cat", ""], max_chunks=1, pad_id=EOS)[:, 0]
        second = caption_chunks(["a photo of a cat", ""], max_chunks=1, pad_id=0)[:, 0]
        one = sdxl.text_encoders[0](first, output_hidden_states=True).hidden_states[-2]
        outputs = sdxl.text_encoders[1](second, output_hidden_states=True)
    torch.testing.assert_close(text.prompt_embeds, torch.cat([one, outputs.hidden_states[-2]], dim=-1))
    torch.testing.assert_close(text.pooled, outputs.text_embeds)


@pytest.mark.parametrize("length", [150, 225])
def test_long_captions_are_several_chunks_with_the_first_ones_pooled(tiny, length):
    family = load_sdxl(tiny, max_token_length=length)
    with torch.no_grad():
        text, short = family.encode_text(["a cat " * 60, "a cat"]), load_sdxl(tiny).encode_text(["a cat " * 60, "a cat"])
    assert text.prompt_embeds.shape == (2, length + 2, 96)
    torch.testing.assert_close(text.pooled, short.pooled)


def test_sizes_and_the_pooled_caption_change_the_prediction(sdxl):
    latents = wave(0.05, (1, 4, 8, 8))
    noised = Noised(latents, torch.tensor([400]), latents, torch.ones(1))
    with torch.no_grad():
        text = sdxl.encode_text(["a cat"])
        plain = sdxl.predict(noised, text, Conditions.whole((64, 64), rows=1, device=CPU))
        other_size = sdxl.predict(noised, text, Conditions.whole((640, 64), rows=1, device=CPU))
        assert text.pooled is not None
        text.pooled = text.pooled + 1
        other_caption = sdxl.predict(noised, text, Conditions.whole((64, 64), rows=1, device=CPU))
    assert plain.shape == latents.shape and not torch.equal(plain, other_size) and not torch.equal(plain, other_caption)


def test_latents_have_sdxls_scale(sdxl):
    mean = torch.ones(1, 4, 8, 8)
    latents = sdxl.sample_latents(mean, torch.full_like(mean, -60.0), Draws(1, 1, 1, (0,)))
    torch.testing.assert_close(latents, mean * 0.13025)


def test_reading_without_mapping_gives_the_same_weights(tiny, sdxl, monkeypatch):
    plain, bytes_read = source._Read.tensor, []
    monkeypatch.setattr(source._Read, "tensor", lambda self, key: bytes_read.append(key) or plain(self, key))
    load_sdxl(tiny)
    assert bytes_read == []
    read = load_sdxl(tiny, disable_mmap_load_safetensors=True)
    assert len(bytes_read) > 400
    for name, module in sdxl.parts.modules.items():
        for ours, theirs in zip(read.parts.modules[name].state_dict().values(), module.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs)


def test_markers_in_the_file_say_velocity_and_zero_snr(tmp_path):
    tensors = {**single_file_tensors(SDXL_TINY), "v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    save_file(tensors, tmp_path / "noob.safetensors")
    family = load_sdxl(tmp_path / "noob.safetensors")
    assert family.prediction == "v" and family.parts.zero_snr
    assert family.describe()["modelspec.prediction_type"] == "v"


def test_a_model_of_another_family_is_refused_with_its_trainer(tmp_path):
    with pytest.raises(ConfigError, match=r"another family: Stable Diffusion 1\.x\..*train_network\.py"):
        load_sdxl(build_sd15_micro(tmp_path / "sd.safetensors"))
