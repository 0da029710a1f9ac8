"""The committed model is a small SD 1 file, and its pictures show what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors import safe_open
from safetensors.torch import load_file

from demo.draw import Scene, draw_scene, random_scene
from demo.generate import MODEL, generate
from demo.judge import crispness, name_picture
from demo.model import PREFIXES, build_model, build_tokenizer, read_model, tokenize, write_model

PROMPTS = 30


@pytest.fixture(scope="module")
def model():
    return read_model(MODEL)


def test_the_file_is_small_and_fp16():
    assert MODEL.stat().st_size <= 28_000_000
    with safe_open(MODEL, "pt") as file:
        keys = list(file.keys())
        assert {file.get_slice(key).get_dtype() for key in keys} == {"F16"}


def test_keys_are_those_of_stable_diffusion_1():
    with safe_open(MODEL, "pt") as file:
        keys = list(file.keys())
    assert all(key.startswith(tuple(PREFIXES.values())) for key in keys)
    blocks = {tuple(key.split(".")[2:4]) for key in keys if ".input_blocks." in key or ".output_blocks." in key}
    assert len(blocks) + 1 == 25
    assert "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.attn2.to_k.weight" in keys


def test_diffusers_own_converters_read_the_layout(tmp_path):
    torch.manual_seed(0)
    model, path = build_model(), tmp_path / "model.safetensors"
    write_model(model, path)
    unet = convert_ldm_unet_checkpoint(load_file(path), config={"layers_per_block": 2})
    vae = convert_ldm_vae_checkpoint(load_file(path), config={"down_block_types": [""] * 4, "up_block_types": [""] * 4})
    text = {key.removeprefix("text_model."): value for key, value in convert_ldm_clip_checkpoint(load_file(path)).items()}
    for converted, module in ((unet, model.unet), (vae, model.vae), (text, model.text)):
        state = {key.removeprefix("text_model."): value.half() for key, value in module.state_dict().items()}
        assert converted.keys() == state.keys()
        assert all(torch.equal(converted[key], value) for key, value in state.items())


def test_the_tokenizer_gives_clips_ids():
    ids = tokenize(build_tokenizer(), ["a photo of a cat"])[0]
    assert ids[:8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 49407]


def test_scaled_latents_have_unit_variance(model):
    rng = np.random.default_rng(1)
    pixels = np.stack([np.asarray(draw_scene(random_scene(rng))) for _ in range(8)])
    with torch.no_grad():
        latents = model.vae.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mean * model.vae.config.scaling_factor
    assert 0.7 < latents.std() < 1.3


def test_nine_of_ten_prompts_show_shape_colour_and_ground(model):
    rng = np.random.default_rng(7)
    scenes = [random_scene(rng) for _ in range(PROMPTS)]
    pictures = generate(model, [scene.caption for scene in scenes])
    right = [same(name_picture(picture), scene) for picture, scene in zip(pictures, scenes, strict=True)]
    assert sum(right) >= 0.9 * PROMPTS
    assert np.mean([crispness(picture) for picture in pictures]) > 0.85


def same(named: Scene, asked: Scene) -> bool:
    """Whether shape, colour and ground are all right."""
    return (named.shape, named.colour, named.ground) == (asked.shape, asked.colour, asked.ground)


def test_the_script_that_made_the_model_is_there():
    assert (Path(MODEL).parent / "train_base.py").exists()
