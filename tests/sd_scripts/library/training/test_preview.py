"""Preview pictures: the same as diffusers' own pipeline draws, and no trace of them in training's random numbers."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from sd_scripts.library.diffusion.samplers import SAMPLERS, build_sampler
from sd_scripts.library.training.preview import draw_previews, picture_size, preview_path
from sd_scripts.survey.prompts import Prompt
from tests.tiny_models import build_sd15_micro, build_sd15_tiny, load_sd

DIFFERENT = [name for name in SAMPLERS if not name.startswith("k_")]
NOW = datetime(2026, 11, 21, 3, 4, 5)


@pytest.fixture(scope="module")
def sd(tmp_path_factory):
    return load_sd(build_sd15_micro(tmp_path_factory.mktemp("models") / "micro.safetensors"))


def prompt(text="a red cat", **options):
    return Prompt(text, **{"width": 64, "height": 64, "sample_steps": 4, "seed": 5, **options})


def picture(sd, *arguments, **options):
    return np.asarray(draw_previews(sd, [prompt(*arguments, **options)])[0].image).astype(int)


def pipeline_picture(sd, shown):
    """The same prompt through diffusers' pipeline, with the same parts."""
    pipeline = StableDiffusionPipeline(
        vae=sd.vae, text_encoder=sd.text_encoders[0], tokenizer=None, unet=sd.unet, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False, scheduler=build_sampler(shown.sample_sampler, prediction=sd.prediction),
    )  # fmt: skip
    pipeline.scheduler = build_sampler(shown.sample_sampler, prediction=sd.prediction)  # its constructor changes the offset of the steps
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(shown.seed)
    embeds = sd.encode_prompts([shown.negative_prompt or "", shown.prompt]).prompt_embeds
    shape = (1, 4, shown.height // 8, shown.width // 8)
    return pipeline(
        prompt_embeds=embeds[1:], negative_prompt_embeds=embeds[:1], width=shown.width, height=shown.height, num_inference_steps=shown.sample_steps,
        guidance_scale=shown.scale, latents=torch.randn(shape, generator=generator), generator=generator,
    ).images[0]  # fmt: skip


@pytest.mark.parametrize("sampler", ["ddim", "euler_a", "dpmsolver++", "pndm"])
def test_a_picture_is_what_diffusers_draws(tmp_path, sampler):
    tiny = load_sd(build_sd15_tiny(tmp_path / "tiny.safetensors"))
    shown = prompt(negative_prompt="blue", sample_sampler=sampler, width=96)
    ours = np.asarray(draw_previews(tiny, [shown])[0].image).astype(int)
    theirs = np.asarray(pipeline_picture(tiny, shown)).astype(int)
    assert ours.shape == (64, 96, 3)
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("sampler", DIFFERENT)
def test_every_sampler_draws_the_same_picture_for_the_same_seed(sd, sampler):
    first, again, other = (picture(sd, sample_sampler=sampler, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("sampler", DIFFERENT)
def test_every_sampler_draws_with_few_steps(sd, sampler, steps):
    assert picture(sd, sample_sampler=sampler, sample_steps=steps).std() > 0


def test_prompt_and_negative_prompt_change_the_picture(sd):
    plain = picture(sd)
    assert not np.array_equal(plain, picture(sd, "a blue dog"))
    assert not np.array_equal(plain, picture(sd, negative_prompt="blurry"))


def test_a_scale_of_one_ignores_the_negative_prompt(sd):
    assert np.array_equal(picture(sd, scale=1.0), picture(sd, scale=1.0, negative_prompt="blurry"))


def test_long_prompts_are_drawn(sd):
    long = ", ".join(["a red cat on a blue ground"] * 20)
    assert not np.array_equal(picture(sd, long), picture(sd, long.replace("blue", "green")))


def test_without_a_seed_every_picture_differs_and_says_its_seed(sd):
    first, second = draw_previews(sd, [prompt(seed=None), prompt(seed=None)])
    assert first.seed != second.seed
    assert np.array_equal(np.asarray(first.image), np.asarray(draw_previews(sd, [prompt(seed=first.seed)])[0].image))


def test_training_draws_the_same_numbers_with_and_without_previews(sd):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    draw_previews(sd, [prompt(sample_sampler="euler_a", seed=None)])
    assert torch.equal(torch.rand(3), expected)


def test_modules_are_in_eval_mode_meanwhile_and_as_before_afterwards(sd):
    seen = []
    sd.unet.train()
    sd.unet.mid_block.eval()
    draw_previews(sd, [prompt()], on_image=lambda preview: seen.append((sd.unet.training, sd.unet.conv_in.training)))
    after = (sd.unet.training, sd.unet.conv_in.training, sd.unet.mid_block.training)
    sd.unet.eval()
    assert seen == [(False, False)]
    assert after == (True, True, False)


def test_pictures_are_drawn_under_autocast(sd):
    images = draw_previews(sd, [prompt()], autocast=lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    assert np.abs(np.asarray(images[0].image).astype(int) - picture(sd)).mean() < 40


def test_sides_are_rounded_down_to_8_and_at_least_64():
    assert picture_size(prompt(width=519, height=10)) == (512, 64)


def test_files_have_kohyas_names():
    shown = prompt(seed=42, index=3)
    by_step = preview_path(Path("out"), "cat", shown, step=120, now=NOW)
    by_epoch = preview_path(Path("out"), "", prompt(seed=None), step=120, epoch=2, now=NOW)
    assert by_step == Path("out/sample/cat_000120_03_20261121030405_42.png")
    assert by_epoch == Path("out/sample/e000002_00_20261121030405.png")
