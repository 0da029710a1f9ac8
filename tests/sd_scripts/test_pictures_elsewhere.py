"""What a training's last preview shows, other programs draw too from the files that it saved: diffusers, and diffusers with the package lycoris-lora.

The package's modules are attached, not merged: it merges LoHa and LoKr with another strength than it trains them with. Files of `lycoris.kohya` are
those of the package itself; `test_adapter_kinds.py` has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import tiny_runs
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from lycoris import LycorisNetwork, create_lycoris_from_weights
from lycoris.modules import get_module, make_module
from PIL import Image

from sd_scripts.library.diffusion.samplers import build_sampler
from sd_scripts.library.weights_file import read_weights

PIPELINES = {"train_network": StableDiffusionPipeline, "sdxl_train_network": StableDiffusionXLPipeline}
LORA, FA, DYLORA, LOHA, LOKR, OFT = (f"networks.{name}" for name in ("lora", "lora_fa", "dylora", "loha", "lokr", "oft"))
ROUNDING = 2
"""Levels of 255 by which pictures differ that are computed in another order."""

Pipe = StableDiffusionPipeline | StableDiffusionXLPipeline


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """The small models as single files, and beside them the folders that we write of them."""
    root = tmp_path_factory.mktemp("models")
    for script, path in (("train_network", tiny_runs.micro_model(root)), ("sdxl_train_network", tiny_runs.sdxl_model(root))):
        load = tiny_models.load_sd if script == "train_network" else tiny_models.load_sdxl
        load(path).write_folder(root / script, None, ending=".safetensors")
    return root


def trained(root: Path, models: Path, script: str, module: str, words: tuple[str, ...]) -> tuple[Path, np.ndarray]:
    """The file of a short training, and the preview that it ends with."""
    for path in models.glob("*.safetensors"):
        (root / path.name).symlink_to(path)
    (root / "prompts.txt").write_text("a cat, red --w 64 --h 64 --s 3 --d 1 --l 7.5 --ss ddim", encoding="utf-8")
    given = {"network_dim": 16, "network_alpha": 0.1} if module == OFT else {"network_dim": 2, "network_alpha": 1}
    given |= {"sample_prompts": root / "prompts.txt", "sample_every_n_steps": 3, "learning_rate": 1e-2}
    assert tiny_runs.train(root, script, network_module=module, network_args=words or None, **given) == 0
    (preview,) = (root / "out" / "sample").glob("*.png")
    return root / "out" / "cat.safetensors", levels(Image.open(preview))


def levels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def pipeline(models: Path, script: str) -> Pipe:
    made = PIPELINES[script].from_pretrained(models / script)
    made.set_progress_bar_config(disable=True)
    return made


def drawn(pipe: Pipe) -> np.ndarray:
    """The preview's prompt through the pipeline, its own tokenizer, text encoders, guidance and VAE."""
    pipe.scheduler = build_sampler("ddim", prediction="epsilon")
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    return levels(pipe("a cat, red", negative_prompt="", width=64, height=64, num_inference_steps=3, guidance_scale=7.5, latents=latents).images[0])


def assert_same(theirs: np.ndarray, preview: np.ndarray, plain: np.ndarray) -> None:
    assert np.abs(theirs - preview).max() <= ROUNDING
    assert np.abs(preview - plain).max() >= 10 * ROUNDING  # the adapter shows


@pytest.mark.parametrize(
    ("script", "module", "words"),
    [
        ("train_network", LORA, ()),
        ("train_network", LORA, ("conv_dim=3", "conv_alpha=1")),
        ("train_network", LORA, ("rs_lora=True",)),
        ("train_network", LORA, ("pissa=True",)),
        ("train_network", LORA, ("tlora_min_rank=1",)),  # drawn with all its ranks at every timestep, as previews are
        ("train_network", FA, ()),
        ("train_network", DYLORA, ("unit=2", "conv_dim=2")),
        ("sdxl_train_network", LORA, ("conv_dim=2",)),
        ("sdxl_train_network", LORA, ("pissa=True",)),
        ("sdxl_train_network", LORA, ("tlora_min_rank=1",)),
        ("sdxl_train_network", FA, ()),
    ],
)
def test_diffusers_draws_the_preview(tmp_path, models, script, module, words):
    path, preview = trained(tmp_path, models, script, module, words)
    pipe = pipeline(models, script)
    plain = drawn(pipe)
    pipe.load_lora_weights(path)
    assert_same(drawn(pipe), preview, plain)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (LORA, ("dora_wd=True", "conv_dim=2")),  # diffusers leaves the lengths of DoRA out of kohya's files, and says so
        (LOHA, ("conv_dim=2", "use_tucker=True")),
        (LOHA, ("dora_wd=True",)),
        (LOKR, ("factor=4", "conv_dim=1", "use_tucker=True", "decompose_both=True")),
        (LOKR, ("full_matrix=True", "dora_wd=True")),
        (OFT, ("enable_all_linear=True", "enable_conv=True")),
    ],
)
def test_lycoris_in_diffusers_draws_the_preview(tmp_path, models, monkeypatch, module, words):
    """By the package's own loader, whose names have a level less in text encoders since transformers 5."""
    path, preview = trained(tmp_path, models, "train_network", module, words)
    pipe, names = pipeline(models, "train_network"), {key.partition(".")[0] for key in read_weights(path)[0]}
    plain, loaded = drawn(pipe), 0
    for prefix, part in (("oft_unet" if module == OFT else "lora_unet", pipe.unet), ("lora_te_text_model", pipe.text_encoder)):
        monkeypatch.setattr(LycorisNetwork, "LORA_PREFIX", prefix)
        network, _ = create_lycoris_from_weights(1.0, str(path), part)
        network.apply_to()
        loaded += len(network.loras)
    assert loaded == len(names)
    assert_same(drawn(pipe), preview, plain)


@pytest.mark.parametrize(
    ("module", "words"), [(LORA, ("dora_wd=True",)), (LOHA, ("conv_dim=2",)), (LOKR, ("factor=4",)), (OFT, ("enable_conv=True",))]
)
def test_lycoris_in_diffusers_draws_the_preview_of_sdxl(tmp_path, models, module, words):
    """Layer by layer: the package's loader looks for the names that layers have in the original program, diffusers has others."""
    path, preview = trained(tmp_path, models, "sdxl_train_network", module, words)
    pipe, tensors = pipeline(models, "sdxl_train_network"), read_weights(path)[0]
    plain, family = drawn(pipe), tiny_models.load_sdxl(tiny_runs.sdxl_model(models))
    places = {
        id(layer): (part, name) for part in ("unet", "text_encoder", "text_encoder_2") for name, layer in family.parts.modules[part].named_modules()
    }
    loaded = 0
    for target in family.targets():
        kind, parameters = get_module(tensors, name := target.name.replace("lora_unet", "oft_unet") if module == OFT else target.name)
        if kind is not None:
            part, place = places[id(target.module)]
            make_module(kind, parameters, name, getattr(pipe, part).get_submodule(place)).apply_to()
            loaded += 1
    assert loaded == len({key.partition(".")[0] for key in tensors})
    assert_same(drawn(pipe), preview, plain)
