"""The survey: one call that tells what a request means and everything that is wrong with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.survey.checks import Report, survey
from tests.sd_scripts.survey.model_files import LINEAR, SD1, SDXL, UNET, write_safetensors

TRAIN = command("train_network")


@pytest.fixture
def request_values(tmp_path: Path) -> dict[str, object]:
    """A sound request: a model, pictures with captions, an output folder."""
    folder = tmp_path / "pictures" / "10_cat"
    folder.mkdir(parents=True)
    for at in range(4):
        Image.new("1", (64, 64)).save(folder / f"{at}.png")
        (folder / f"{at}.txt").write_text("a cat", "utf-8")
    model = write_safetensors(tmp_path / "model.safetensors", SD1)
    return {
        "pretrained_model_name_or_path": str(model), "train_data_dir": str(folder.parent), "resolution": "64,64", "output_dir": str(tmp_path / "out"),
        "network_module": "networks.lora", "network_dim": 4, "caption_extension": ".txt", "learning_rate": 1e-4, "max_train_epochs": 5,
    }  # fmt: skip


def _survey(values: dict[str, object], **changes: object) -> Report:
    return survey(make_config(TRAIN, {**values, **changes}))


def _found(report: Report, field: str) -> str:
    return "\n".join(str(problem) for problem in report.problems if problem.field == field)


def test_a_sound_request_is_told_without_problems(request_values):
    report = _survey(request_values)
    assert report.problems == []
    assert report.pictures_line() == "4 pictures, 4 captions"
    assert report.plan is not None and report.plan.total_steps == 200
    assert report.model is not None and report.model.family == "sd1"
    assert report.adapter is not None and report.adapter.text_encoder_modules == 12


def test_an_empty_request_is_a_report_and_no_exception():
    report = survey(make_config(TRAIN, {}))
    assert {"pretrained_model_name_or_path", "train_data_dir"} <= {problem.field for problem in report.errors}
    assert report.plan is None and report.pictures_line() == ""


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (SDXL, "SDXL model.*Use sdxl_train_network"),
        (
            {f"{UNET}label_emb.0.0.weight": ("F16", (8, 8)), "conditioner.embedders.0.model.text_projection": ("F16", (1, 1))},
            "SDXL refiner is not trained here: it only finishes",
        ),
        (
            {"double_blocks.0.img_attn.qkv.weight": ("F16", (1, 1)), "single_blocks.0.linear1.weight": ("F16", (1, 1))},
            "FLUX.1 model.*flux_train_network",
        ),
        ({"lora_te_x.lora_up.weight": ("F16", (4, 8))}, "is a LoRA"),
        ({"decoder.conv_in.weight": ("F16", (4, 8))}, "is a VAE"),
        ({"x": ("F16", (4, 8))}, "no model that is known"),
    ],
)
def test_a_file_that_is_no_model_for_this_trainer_is_an_error(request_values, tmp_path, tensors, words):
    path = write_safetensors(tmp_path / "other.safetensors", tensors)
    report = _survey(request_values, pretrained_model_name_or_path=str(path))
    assert len(report.errors) == 1
    assert re.search(words, str(report.errors[0]))


def test_an_inpainting_model_cannot_have_its_latents_cached(request_values, tmp_path):
    path = write_safetensors(tmp_path / "hole.safetensors", {**SD1, f"{UNET}input_blocks.0.0.weight": ("F16", (32, 9, 3, 3))})
    assert not _survey(request_values, pretrained_model_name_or_path=str(path)).errors
    report = _survey(request_values, pretrained_model_name_or_path=str(path), cache_latents=True)
    assert [problem.field for problem in report.errors] == ["cache_latents"]


def test_a_missing_model_is_an_error_and_a_hub_id_is_none(request_values):
    assert "does not exist" in _found(
        _survey(request_values, pretrained_model_name_or_path="models/none.safetensors"), "pretrained_model_name_or_path"
    )
    assert not _survey(request_values, pretrained_model_name_or_path="someone/some-model").problems


def test_v2_must_fit_the_file(request_values, tmp_path):
    assert "v2 is on" in _found(_survey(request_values, v2=True), "v2")
    path = write_safetensors(tmp_path / "two.safetensors", LINEAR)
    assert "v2 is off" in _found(_survey(request_values, pretrained_model_name_or_path=str(path)), "v2")


def test_what_a_model_predicts_must_fit_v_parameterization(request_values, tmp_path):
    path = write_safetensors(tmp_path / "v.safetensors", SD1, **{"modelspec.prediction_type": "v"})
    given = {"pretrained_model_name_or_path": str(path)}
    assert "predicts velocity" in _found(_survey(request_values, **given, v_parameterization=False), "v_parameterization")
    assert not _survey(request_values, **given).problems  # the trainer follows the file where nothing is said


def test_weights_of_the_loss_must_fit_what_the_file_predicts(request_values, tmp_path):
    path = write_safetensors(tmp_path / "v.safetensors", SD1, **{"modelspec.prediction_type": "v"})
    velocity, scaled = {"pretrained_model_name_or_path": str(path)}, {"scale_v_pred_loss_like_noise_pred": True}
    assert "noise-prediction" in _found(_survey(request_values, **velocity, v_pred_like_loss=0.5), "v_pred_like_loss")
    assert "v-prediction" in _found(_survey(request_values, **scaled), "scale_v_pred_loss_like_noise_pred")
    assert not _survey(request_values, **velocity, **scaled).problems
    assert not _survey(request_values, v_pred_like_loss=0.5).problems


def test_a_pure_noise_end_is_for_models_that_predict_velocity(request_values, tmp_path):
    marked = write_safetensors(tmp_path / "v.safetensors", {**SD1, "v_pred": ("F32", (0,)), "ztsnr": ("F32", (0,))})
    assert "learns nothing" in _found(_survey(request_values, zero_terminal_snr=True), "zero_terminal_snr")
    for given in ({"v_parameterization": True}, {"pretrained_model_name_or_path": str(marked)}):
        assert not [p for p in _survey(request_values, **given, zero_terminal_snr=True).problems if p.field == "zero_terminal_snr"]


def test_a_model_with_a_pure_noise_end_is_hinted_at(request_values, tmp_path):
    path = write_safetensors(tmp_path / "z.safetensors", {**SD1, "v_pred": ("F32", (0,)), "ztsnr": ("F32", (0,))})
    given = {"pretrained_model_name_or_path": str(path), "v_parameterization": True}
    assert "last timestep is pure noise" in _found(_survey(request_values, **given), "zero_terminal_snr")
    assert not [p for p in _survey(request_values, **given, zero_terminal_snr=True).problems if p.field == "zero_terminal_snr"]


def test_an_adapter_to_continue_from_must_be_one_for_the_model(request_values, tmp_path):
    path = write_safetensors(tmp_path / "l.safetensors", {"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": ("F16", (4, 8))})
    assert "is for SDXL" in _found(_survey(request_values, network_weights=str(path)), "network_weights")
    assert "is no LoRA" in _found(_survey(request_values, network_weights=request_values["pretrained_model_name_or_path"]), "network_weights")
    assert "does not exist" in _found(_survey(request_values, base_weights=["gone.safetensors"]), "base_weights")


def test_a_vae_must_be_one(request_values, tmp_path):
    path = write_safetensors(tmp_path / "vae.safetensors", {"decoder.conv_in.weight": ("F16", (4, 8))})
    assert not _survey(request_values, vae=str(path)).problems
    path = write_safetensors(tmp_path / "no.safetensors", {"x": ("F16", (4, 8))})
    assert "holds no VAE" in _found(_survey(request_values, vae=str(path)), "vae")


def test_problems_of_pictures_and_folders_reach_the_report(request_values):
    folder = Path(str(request_values["train_data_dir"])) / "10_cat"
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "broken.png" in _found(_survey(request_values), "train_data_dir")
    assert "does not exist" in _found(_survey(request_values, train_data_dir="none"), "train_data_dir")


def test_a_folder_of_broken_pictures_alone_is_an_error(request_values, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"x")
    assert "None of the pictures" in _found(_survey(request_values, train_data_dir=str(folder)), "train_data_dir")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"lr_warmup_steps": 500, "lr_scheduler": "cosine"}, "lr_warmup_steps", "only 200 steps"),
        ({"save_every_n_steps": 500}, "save_every_n_steps", "Nothing is saved before the end"),
        ({"save_every_n_epochs": 5}, "save_every_n_epochs", "only 5 epochs"),
        ({"resolution": "60,60"}, "resolution", "multiples of 8"),
        ({"shuffle_caption": True, "caption_prefix": "best"}, "caption_prefix", "first tag"),
        ({"shuffle_caption": True, "caption_suffix": "end"}, "caption_suffix", "last tag"),
        ({"resume": "gone-state"}, "resume", "does not exist"),
    ],
)
def test_what_the_number_of_steps_or_pictures_makes_senseless_is_told(request_values, changes, field, words):
    assert words in _found(_survey(request_values, **changes), field)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "does not exist"), ("# nothing\n", "holds no prompt"), ("a cat --steps 3", "no effect"), ("a --ss x", "no sampler")]
)
def test_the_prompt_file_is_read_before_the_start(request_values, tmp_path, content, words):
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_text(content, "utf-8")
    assert words in _found(_survey(request_values, sample_prompts=str(path), sample_every_n_epochs=1), "sample_prompts")


def test_pictures_that_are_cut_or_enlarged_are_counted(request_values):
    Image.new("1", (64, 40)).save(Path(str(request_values["train_data_dir"])) / "10_cat" / "0.png")
    assert "1 of 4 pictures have another shape than 64×64" in _found(_survey(request_values), "enable_bucket")
    assert not _found(_survey(request_values, enable_bucket=True, min_bucket_reso=64), "enable_bucket")
    assert "4 of 4 pictures have less than half the pixels" in _found(_survey(request_values, resolution="128"), "resolution")


def test_cached_latents_exclude_augmentation_asked_for_in_a_dataset_file(request_values, tmp_path):
    path = tmp_path / "d.toml"
    path.write_text(
        f'[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "{request_values["train_data_dir"]}/10_cat"\ncolor_aug = true\n', "utf-8"
    )
    values = {name: value for name, value in request_values.items() if name not in ("train_data_dir", "resolution")}
    assert "cached" in _found(_survey(values, dataset_config=str(path), cache_latents=True), "color_aug")


def test_the_survey_needs_no_torch():
    code = "import sys, sd_scripts.survey.checks; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
