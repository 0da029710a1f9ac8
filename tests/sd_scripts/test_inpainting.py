"""Inpainting models: loaded, told what they see, trained, saved, and equal to diffusers' reading of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_models
import tiny_runs
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image
from tiny_runs import events, report_to, train

from sd_scripts.library.families.base import Conditions, Noised
from sd_scripts.library.weights_file import read_weights
from sd_scripts.survey.header import detect

LAYOUTS = {"train_network": tiny_models.SD15_MICRO, "sdxl_train_network": tiny_models.SDXL_TINY}
LOADERS = {"train_network": tiny_models.load_sd, "sdxl_train_network": tiny_models.load_sdxl}
BOTH = pytest.mark.parametrize("script", LAYOUTS)


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


def model(root, script: str):
    path = root / "inpaint.safetensors"
    return path if path.exists() else tiny_models.build(replace(LAYOUTS[script], in_channels=9), path)


@BOTH
def test_a_lora_is_trained_on_it_and_goes_on_exactly(tmp_path, run_dir, script):
    given = {"pretrained_model_name_or_path": model(tmp_path, script), "max_train_steps": 3}
    assert train(tmp_path, script, output_name="whole", **given) == 0
    assert train(tmp_path, script, output_name="half", save_every_n_steps=2, save_state=True, **given) == 0
    assert train(tmp_path, script, output_name="rest", resume=tmp_path / "out" / "half-step00000002-state", **given) == 0
    whole, rest = (read_weights(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("whole", "rest"))
    assert all(torch.equal(whole[key], rest[key]) for key in whole)
    assert all(0 < event["loss"] < 3 for event in events(run_dir, "step"))  # type: ignore[operator]


@BOTH
def test_what_it_sees_changes_its_prediction_and_nothing_is_grey(tmp_path, script):
    family = LOADERS[script](model(tmp_path, script))
    assert family.inpaints
    latents = tiny_models.wave(0.05, (1, 4, 8, 8))
    text = family.encode_text(["a cat"])
    noised = Noised(latents, torch.tensor([500]), latents, torch.ones(1))
    conditions = Conditions.whole((64, 64), rows=1, device=torch.device("cpu"))
    mean, _ = family.image_moments(torch.zeros(1, 3, 64, 64))
    grey = torch.cat([torch.ones(1, 1, 8, 8), mean * family.vae_scale], dim=1)
    with torch.no_grad():
        nothing = family.predict(noised, text, conditions)
        hidden = family.predict(noised, text, replace(conditions, inpaint=grey))
        seen = family.predict(noised, text, replace(conditions, inpaint=torch.zeros(1, 5, 8, 8)))
    assert torch.equal(nothing, hidden) and not torch.allclose(nothing, seen, atol=1e-4)


@BOTH
def test_previews_are_drawn_of_the_whole_picture(tmp_path, run_dir, script):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 2 --d 1\n", encoding="utf-8")
    given = {"pretrained_model_name_or_path": model(tmp_path, script), "max_train_steps": 1, "sample_prompts": prompts}
    assert train(tmp_path, script, sample_every_n_steps=1, **given) == 0
    assert list((tmp_path / "out" / "sample").glob("*.png"))


@BOTH
def test_masks_of_files_are_the_holes(tmp_path, run_dir, script):
    folder = tmp_path / "holes"
    folder.mkdir()
    for number in range(2):
        Image.new("L", (64, 64), 255 * number).save(folder / f"{number}.png")
    pictures = tiny_runs.draw_pictures(tmp_path / "mine" / "1_cat", sizes=((64, 64), (64, 64))).parent
    given = {"pretrained_model_name_or_path": model(tmp_path, script), "train_data_dir": pictures, "max_train_steps": 1}
    for name, more in (("drawn", {}), ("files", {"conditioning_data_dir": folder})):
        assert train(tmp_path, script, output_name=name, **given, **more) == 0
    drawn, files = (event["loss"] for event in events(run_dir, "step"))
    assert drawn != files
    assert not any("no effect" in str(event) for event in events(run_dir, "warning"))


@pytest.mark.parametrize(
    ("script", "as_lora", "pipeline", "more"),
    [
        ("train_db", "train_network", StableDiffusionInpaintPipeline, {"safety_checker": None}),
        ("sdxl_train", "sdxl_train_network", StableDiffusionXLInpaintPipeline, {}),
    ],
)
def test_a_whole_model_is_saved_as_diffusers_reads_it(tmp_path, run_dir, script, as_lora, pipeline, more):
    given = {"pretrained_model_name_or_path": model(tmp_path, as_lora), "max_train_steps": 1}
    assert train(tmp_path, script, save_model_as="diffusers_safetensors", **given) == 0
    assert pipeline.from_pretrained(tmp_path / "out" / "cat", **more).unet.config.in_channels == 9
    assert train(tmp_path, script, output_name="file", save_model_as="safetensors", **given) == 0
    assert detect(tmp_path / "out" / "file.safetensors").inpainting


def test_latents_cannot_be_cached(tmp_path, run_dir, capsys):
    assert train(tmp_path, pretrained_model_name_or_path=model(tmp_path, "train_network"), cache_latents=True) == 2
    assert "latents cannot be cached" in capsys.readouterr().err
