"""Training whole models from the command line to the files: what learns, what is saved in which layout, and that other programs read it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import tiny_models
import tiny_runs
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_runs import events, report_to, train
from torch import Tensor

from sd_scripts.library.weights_file import read_weights
from sd_scripts.survey.header import detect

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("script", ["train_db", "sdxl_train"])


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    return report_to(tmp_path / "run", monkeypatch)


def saved(root: Path, name: str = "cat.safetensors") -> dict[str, Tensor]:
    return read_weights(root / "out" / name)[0]


def base(root: Path, script: str) -> dict[str, Tensor]:
    return read_weights(tiny_runs.sdxl_model(root) if script.startswith("sdxl") else tiny_runs.micro_model(root))[0]


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """Keys whose values changed."""
    return {key for key, value in before.items() if not torch.equal(value, after[key])}


UNET, VAE = "model.diffusion_model.", "first_stage_model."


@BOTH
def test_a_training_ends_with_a_model_of_the_same_keys(tmp_path, run_dir, script):
    assert train(tmp_path, script) == 0
    before, after = base(tmp_path, script), saved(tmp_path)
    assert before.keys() == {key for key in after if not key.endswith("logit_scale")} | {key for key in before if key.endswith("logit_scale")}
    changed = moved(before, after)
    assert not any(key.startswith(VAE) for key in changed)
    assert {key for key in before if key.startswith(UNET)} <= changed
    (event,) = events(run_dir, "save")
    assert event["final"] and event["bytes"] == (tmp_path / "out" / "cat.safetensors").stat().st_size
    assert detect(tmp_path / "out" / "cat.safetensors").family == ("sdxl" if script == "sdxl_train" else "sd1")
    with safe_open(tmp_path / "out" / "cat.safetensors", "pt") as file:
        said = file.metadata()
    assert "/" not in said["modelspec.architecture"] and said["modelspec.title"] == "cat"


def texts(keys: set[str]) -> set[str]:
    """Which text encoders these keys belong to, by the start of their names."""
    return {found[0] for key in keys if (found := re.match(r"conditioner\.embedders\.\d|cond_stage_model", key))}


@pytest.mark.parametrize(
    ("script", "given", "learning"),
    [
        ("train_db", {}, {"cond_stage_model"}),
        ("train_db", {"stop_text_encoder_training": -1}, set()),
        ("train_db", {"learning_rate_te": 0}, set()),
        ("fine_tune", {}, set()),
        ("fine_tune", {"train_text_encoder": True}, {"cond_stage_model"}),
        ("fine_tune", {"train_text_encoder": True, "learning_rate_te": 0}, set()),
        ("sdxl_train", {}, set()),
        ("sdxl_train", {"train_text_encoder": True}, {"conditioner.embedders.0", "conditioner.embedders.1"}),
        ("sdxl_train", {"train_text_encoder": True, "learning_rate_te1": 0}, {"conditioner.embedders.1"}),
        ("sdxl_train", {"train_text_encoder": True, "learning_rate_te2": 0}, {"conditioner.embedders.0"}),
    ],
)
def test_text_encoders_learn_where_they_are_asked_for(tmp_path, script, given, learning):
    assert train(tmp_path, script, **given) == 0
    changed = moved(base(tmp_path, script), saved(tmp_path))
    assert texts(changed) == learning
    idle = "conditioner.embedders.0.transformer.text_model.encoder.layers.1."
    assert not any(key.startswith((idle, "conditioner.embedders.0.transformer.text_model.final_layer_norm")) for key in changed)


def test_the_text_encoder_stops_where_it_is_told_to(tmp_path):
    train(tmp_path, "train_db", output_name="one", max_train_steps=1)
    train(tmp_path, "train_db", output_name="stopped", max_train_steps=3, stop_text_encoder_training=1)
    one, stopped = saved(tmp_path, "one.safetensors"), saved(tmp_path, "stopped.safetensors")
    changed = moved(one, stopped)
    assert texts(changed) == set() and any(key.startswith(UNET) for key in changed)


def test_rates_by_block_train_those_blocks_alone(tmp_path, run_dir):
    rates = ["0"] * 23
    rates[4], rates[11], rates[22] = "1e-4", "2e-4", "3e-4"
    assert train(tmp_path, "sdxl_train", block_lr=",".join(rates)) == 0
    changed = {".".join(key.removeprefix(UNET).split(".")[:2]) for key in moved(base(tmp_path, "sdxl_train"), saved(tmp_path))}
    assert changed == {"input_blocks.3", "middle_block.1", "out.0", "out.2"}
    (last,) = events(run_dir, "step")[-1:]
    assert last["lr"] == {"unet_block4": 1e-4, "unet_block11": 2e-4, "unet_block22": 3e-4}
    assert train(tmp_path, "sdxl_train", output_name="short", block_lr="1e-4,1e-4") == 2


def test_a_step_is_what_a_plain_loop_computes(tmp_path):
    """AdamW on all weights with one known batch: the first step moves every weight with a gradient by the rate, against its gradient's sign."""
    assert train(tmp_path, "train_db", max_train_steps=1, learning_rate=1e-4, optimizer_args=["weight_decay=0"]) == 0
    before, after = base(tmp_path, "train_db"), saved(tmp_path)
    moves = torch.cat([(after[key] - value).flatten() for key, value in before.items() if key.startswith(UNET)]).abs()
    assert moves.max().item() == pytest.approx(1e-4, rel=0.02)
    assert (moves > 0.9e-4).float().mean() > 0.8  # the rest has hardly a gradient in so small a model


@pytest.mark.parametrize(
    ("given", "name", "dtype"),
    [
        ({"save_model_as": "ckpt"}, "cat.ckpt", torch.float32),
        ({"save_precision": "fp16"}, "cat.safetensors", torch.float16),
        ({"save_precision": "bf16"}, "cat.safetensors", torch.bfloat16),
        ({"save_precision": "float", "mixed_precision": "bf16"}, "cat.safetensors", torch.float32),
    ],
)
def test_files_come_in_the_kinds_and_types_asked_for(tmp_path, given, name, dtype):
    assert train(tmp_path, "train_db", max_train_steps=3, **given) == 0
    tensors = saved(tmp_path, name)
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}
    if name.endswith(".ckpt"):
        stored = torch.load(tmp_path / "out" / name, weights_only=True)
        assert (stored["global_step"], stored["epoch"]) == (3, 1) and stored["state_dict"].keys() == tensors.keys()


@pytest.mark.parametrize(
    ("script", "pipeline", "kind"),
    [("train_db", StableDiffusionPipeline, "diffusers_safetensors"), ("train_db", StableDiffusionPipeline, "diffusers"),
     ("sdxl_train", StableDiffusionXLPipeline, "diffusers_safetensors")],
)  # fmt: skip
def test_a_folder_is_read_by_diffusers_and_by_ourselves(tmp_path, run_dir, script, pipeline, kind):
    assert train(tmp_path, script, save_model_as=kind) == 0
    folder = tmp_path / "out" / "cat"
    assert train(tmp_path, script, output_name="file") == 0
    ours = {tiny_runs.SDXL: tiny_models.load_sdxl, tiny_runs.SD: tiny_models.load_sd}[tiny_runs.RECIPES[script][0]]
    one, other = ours(folder), ours(tmp_path / "out" / "file.safetensors")
    for name, module in one.parts.modules.items():
        for ours_, theirs in zip(module.state_dict().values(), other.parts.modules[name].state_dict().values(), strict=True):
            assert torch.equal(ours_, theirs)
    pipe = pipeline.from_pretrained(folder)
    torch.testing.assert_close(dict(pipe.unet.state_dict()), dict(one.unet.state_dict()))
    with torch.no_grad():
        found = pipe.encode_prompt("a photo of a cat", device=torch.device("cpu"), num_images_per_prompt=1, do_classifier_free_guidance=False)
        expected = one.encode_text(["a photo of a cat"])
    torch.testing.assert_close(found[0], expected.prompt_embeds, rtol=1e-4, atol=1e-5)
    if expected.pooled is not None:
        torch.testing.assert_close(found[2], expected.pooled, rtol=1e-4, atol=1e-5)
    event = events(run_dir, "save")[0]
    assert event["path"] == str(folder) and event["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_what_a_model_predicts_goes_from_file_to_folder_and_back(tmp_path):
    """A NoobAI kind of model: its markers become settings of the scheduler, and markers again, whether its last timestep is trained or not."""
    marked = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    save_file({**tiny_models.single_file_tensors(tiny_models.SDXL_TINY), **marked}, tmp_path / "noob.safetensors")
    given = {"v_parameterization": True, "max_train_steps": 1}
    folder = {"save_model_as": "diffusers_safetensors", "output_name": "folder"}
    assert train(tmp_path, "sdxl_train", pretrained_model_name_or_path=tmp_path / "noob.safetensors", **folder, **given) == 0
    settings = json.loads((tmp_path / "out" / "folder" / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    assert (settings["prediction_type"], settings["rescale_betas_zero_snr"], settings["timestep_spacing"]) == ("v_prediction", True, "trailing")
    back = {"save_model_as": "safetensors", "output_name": "back", "zero_terminal_snr": True}
    assert train(tmp_path, "sdxl_train", pretrained_model_name_or_path=tmp_path / "out" / "folder", **back, **given) == 0
    assert saved(tmp_path, "back.safetensors").keys() == read_weights(tmp_path / "noob.safetensors")[0].keys()
    facts = detect(tmp_path / "out" / "back.safetensors")
    assert (facts.prediction, facts.zero_snr) == ("v", True)


@pytest.mark.parametrize(
    ("given", "markers"),
    [({"v_parameterization": True, "zero_terminal_snr": True}, {"v_pred", "ztsnr"}), ({"v_parameterization": True}, {"v_pred"}), ({}, set())],
)
def test_a_single_file_says_what_the_model_was_trained_to_predict(tmp_path, given, markers):
    """Its base says nothing, and programs that draw with the file look for the markers."""
    assert train(tmp_path, "sdxl_train", max_train_steps=1, **given) == 0
    assert {"v_pred", "ztsnr"} & saved(tmp_path).keys() == markers


def test_a_folder_gives_a_folder_and_an_existing_one_is_never_touched(tmp_path, capsys):
    assert train(tmp_path, "train_db", save_model_as="diffusers_safetensors", output_name="model") == 0
    model = tmp_path / "out" / "model"
    assert train(tmp_path, "train_db", pretrained_model_name_or_path=model, output_name="next") == 0
    assert (tmp_path / "out" / "next" / "model_index.json").is_file()
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert train(tmp_path, "train_db", pretrained_model_name_or_path=model, output_name="model") == 2
    assert "exists from an earlier run" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("script", "given"), [("train_db", {}), ("train_db", {"mixed_precision": "bf16"}), ("sdxl_train", {"train_text_encoder": True})]
)
def test_stopping_and_resuming_gives_the_same_model(tmp_path, script, given):
    train(tmp_path, script, max_train_steps=4, **given)
    train(tmp_path, script, output_name="half", max_train_steps=2, save_state=True, **given)
    train(tmp_path, script, output_name="rest", max_train_steps=4, resume=tmp_path / "out" / "half-state", **given)
    assert moved(saved(tmp_path), saved(tmp_path, "rest.safetensors")) == set()


def test_fine_tuning_from_a_metadata_file_goes_on_exactly(tmp_path):
    folder = tiny_runs.draw_pictures(tmp_path / "some")
    lines = [json.dumps({"image_path": str(folder / f"{number}.png"), "caption": f"a cat, {number}, red, blue"}) for number in range(5)]
    (tmp_path / "meta.jsonl").write_text("\n".join(lines), encoding="utf-8")
    given = {"train_data_dir": folder, "in_json": tmp_path / "meta.jsonl", "shuffle_caption": True, "train_text_encoder": True, "max_train_steps": 3}
    assert train(tmp_path, "fine_tune", save_every_n_steps=2, save_state=True, **given) == 0
    assert train(tmp_path, "fine_tune", output_name="rest", resume=tmp_path / "out" / "cat-step00000002-state", **given) == 0
    assert moved(saved(tmp_path), saved(tmp_path, "rest.safetensors")) == set()
    assert texts(moved(saved(tmp_path, "cat-step00000002.safetensors"), saved(tmp_path))) == {"cond_stage_model"}


def test_mixed_precision_trains_full_precision_weights(tmp_path):
    """A rate below bfloat16's resolution must still add up."""
    train(tmp_path, "train_db", mixed_precision="bf16", learning_rate=1e-6, stop_text_encoder_training=-1)
    changed = moved(base(tmp_path, "train_db"), saved(tmp_path))
    assert len([key for key in changed if key.startswith(UNET)]) > 0.9 * len([key for key in base(tmp_path, "train_db") if key.startswith(UNET)])


def test_checkpoints_on_the_way_are_whole_models_and_old_ones_go(tmp_path):
    train(tmp_path, "train_db", max_train_steps=4, save_every_n_steps=1, save_last_n_steps=1, save_model_as="diffusers_safetensors")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat", "cat-step00000003", "cat-step00000004"]


def test_regularisation_pictures_weigh_what_they_are_told(tmp_path, run_dir):
    tiny_runs.draw_pictures(tmp_path / "reg" / "1_cat")
    losses = []
    for weight in (1.0, 0.25):
        name = f"w{weight}"
        assert train(tmp_path, "train_db", output_name=name, max_train_steps=5, reg_data_dir=tmp_path / "reg", prior_loss_weight=weight) == 0
        losses.append(events(run_dir, "step")[-1]["avg_loss"])
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ("script", "given", "named"),
    [
        ("train_db", {"network_module": "networks.lora"}, "network_module"),
        ("train_db", {"learning_rate": 0, "learning_rate_te": 0}, "learning_rate"),
        ("sdxl_train", {"train_text_encoder": True, "cache_text_encoder_outputs": True}, "cache_text_encoder_outputs"),
        ("sdxl_train", {"use_safetensors": True, "save_model_as": "ckpt"}, "use_safetensors"),
    ],
)
def test_what_cannot_work_is_refused_or_told(tmp_path, capsys, script, given, named):
    code = train(tmp_path, script, **given)
    assert named in capsys.readouterr().err and code == (0 if named == "network_module" else 2)


@BOTH
def test_it_is_a_program(tmp_path, script):
    model = tiny_runs.sdxl_model(tmp_path) if script == "sdxl_train" else tiny_runs.micro_model(tmp_path)
    given = {"pretrained_model_name_or_path": model, "network_module": None, "network_dim": None, "max_train_steps": 1, "cache_latents": True}
    words = tiny_runs.options(tmp_path, **given)
    done = subprocess.run([sys.executable, f"sd_scripts/{script}.py", *words], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_captions_come_from_a_metadata_file(tmp_path, run_dir):
    folder = tiny_runs.draw_pictures(tmp_path / "some", sizes=((64, 64), (64, 64)))
    (tmp_path / "meta.json").write_text(json.dumps({"0": {"caption": "a cat", "tags": "red, blue"}, "1.png": {"tags": "red"}}), encoding="utf-8")
    given = {"train_data_dir": folder, "in_json": tmp_path / "meta.json", "dataset_repeats": 3}
    assert train(tmp_path, "fine_tune", max_train_steps=None, max_train_epochs=1, **given) == 0
    (plan,) = events(run_dir, "plan")
    assert plan["plan"]["total_steps"] == 3 * 2 // 2
    with safe_open(tmp_path / "out" / "cat.safetensors", "pt") as file:
        said = file.metadata()
    assert json.loads(said["ss_tag_frequency"]) == {"meta.json": {"a cat": 1, "red": 2, "blue": 1}}
    assert json.loads(said["ss_dataset_dirs"]) == {"meta.json": {"n_repeats": 3, "img_count": 2}}
