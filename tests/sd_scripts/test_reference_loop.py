"""The loss of every step of a short training against a straight loop written here from diffusers' and transformers' parts.

Only what is drawn is taken from our code: the order of pictures, the noise of latents and pictures, the timesteps. Models are made, saved and read
by the libraries themselves; captions have their published ids. All weights learn, so one wrong gradient shows in the next step's loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from PIL import Image
from tiny_runs import events, report_to, train
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sd_scripts.library.data.batches import Group, batches_from
from sd_scripts.library.diffusion.draws import Draws, randn_per_item

STEPS, SEED, RATE, SIDE = 5, 11, 1e-4, 64
BOS, EOS = 49406, 49407
CAPTIONS = {"a photo of a cat": [320, 1125, 539, 320, 2368], "don't stop": [847, 713, 1691], "1girl, solo": [272, 1611, 267, 5797]}
WIDTHS = (64, 80, 64)
"""Of the pictures; the middle one is cut."""
SIZES = {64: (SIDE, 64, 0, 0, SIDE, SIDE), 80: (SIDE, 80, 6, 0, SIDE, SIDE)}
"""What SDXL is told of a picture of each width. The cut is kohya's: where the picture, fitted whole into the bucket, would begin (top, left)."""


@dataclass(frozen=True)
class Kind:
    """One kind of model: how its small copy is built, which script trains all of it, and what that script is told."""

    script: str
    unet: dict[str, Any]
    texts: tuple[CLIPTextConfig, ...]
    pads: tuple[int, ...]
    vae_scale: float
    prediction: str
    options: dict[str, object]


def clip(width: int, layers: int, act: str) -> CLIPTextConfig:
    """A small text encoder's settings."""
    return CLIPTextConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=1, projection_dim=width, hidden_act=act,
        vocab_size=49408, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=EOS,
    )  # fmt: skip


LEVELS = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
SWAPPED = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}
SIZED = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 6 * 256 + 64}
KINDS = {
    "sd1": Kind("train_db", {**LEVELS, "cross_attention_dim": 32}, (clip(32, 2, "quick_gelu"),), (EOS,), 0.18215, "epsilon", {}),
    "sd2": Kind(
        "train_db",
        {**LEVELS, "cross_attention_dim": 64, "use_linear_projection": True, "attention_head_dim": (1, 2)},
        (clip(64, 2, "gelu"),),
        (0,),
        0.18215,
        "v_prediction",
        {"v2": True, "v_parameterization": True},
    ),
    "sdxl": Kind(
        "sdxl_train",
        {**SWAPPED, **SIZED, "cross_attention_dim": 96, "use_linear_projection": True, "attention_head_dim": (1, 2)},
        (clip(32, 2, "quick_gelu"), clip(64, 3, "gelu")),
        (EOS, 0),
        0.13025,
        "epsilon",
        {"train_text_encoder": True},
    ),
}


def build(kind: Kind, folder: Path) -> Path:
    """Write a small model of this kind with random weights as a diffusers folder. Returns `folder`."""
    torch.manual_seed(5)
    unet = UNet2DConditionModel(in_channels=4, out_channels=4, block_out_channels=(32, 64), layers_per_block=1, **kind.unet)
    vae = AutoencoderKL(block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    for name, config in zip(("text_encoder", "text_encoder_2"), kind.texts, strict=False):
        (CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel)(config).save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}), encoding="utf-8")
    return folder


def draw_pictures(folder: Path) -> list[Tensor]:
    """Pictures with captions, on disk; as they reach the VAE, (3, 64, 64), in [-1, 1], where a wide one is cut in its middle."""
    folder.mkdir(parents=True)
    random, shown = np.random.default_rng(3), []
    for number, (width, caption) in enumerate(zip(WIDTHS, CAPTIONS, strict=True)):
        pixels = random.integers(0, 255, (SIDE, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(caption, encoding="utf-8")
        left = (width - SIDE) // 2
        shown.append(torch.from_numpy(pixels[:, left : left + SIDE]).permute(2, 0, 1) / 127.5 - 1)
    return shown


def captions(entries: tuple[int, ...], pad: int) -> Tensor:
    """Ids of pictures' captions, (batch, 77)."""
    rows = [[BOS, *list(CAPTIONS.values())[entry], EOS] for entry in entries]
    return torch.tensor([row + [pad] * (77 - len(row)) for row in rows])


def encoded(texts: list[Any], kind: Kind, entries: tuple[int, ...]) -> tuple[Tensor, dict[str, Tensor] | None]:
    """Embeddings, and SDXL's further conditions: the pooled caption; height and width, top and left of the cut, height and width shown."""
    ids = [captions(entries, pad) for pad in kind.pads]
    if len(texts) == 1:
        return texts[0](ids[0]).last_hidden_state, None
    outputs = [text(part, output_hidden_states=True) for text, part in zip(texts, ids, strict=True)]
    sizes = torch.tensor([SIZES[WIDTHS[entry]] for entry in entries], dtype=torch.float32)
    return torch.cat([output.hidden_states[-2] for output in outputs], dim=-1), {"text_embeds": outputs[1].text_embeds, "time_ids": sizes}


def reference_losses(kind: Kind, folder: Path, pictures: list[Tensor]) -> Iterator[float]:
    """The loss of each step."""
    unet, vae = UNet2DConditionModel.from_pretrained(folder / "unet"), AutoencoderKL.from_pretrained(folder / "vae")
    texts: list[Any] = [CLIPTextModel.from_pretrained(folder / "text_encoder")]
    if len(kind.texts) == 2:
        texts.append(CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"))
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=kind.prediction)
    parameters = [parameter for module in (unet, *texts) for parameter in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE)
    groups = [Group(0, (SIDE, SIDE), 2, (0, 1, 2))]
    plans = batches_from(groups, seed=SEED, processes=1, accumulation=1)
    for plan in takewhile(lambda plan: plan.step <= STEPS, plans):
        draws = Draws(SEED, plan.epoch, plan.step, tuple(range(len(plan.entries))))
        with torch.no_grad():
            posterior = vae.encode(torch.stack([pictures[entry] for entry in plan.entries])).latent_dist
        shape = posterior.mean.shape[1:]
        latents = (posterior.mean + posterior.std * randn_per_item(draws.items("vae"), shape)) * kind.vae_scale
        noise = randn_per_item(draws.items("noise"), shape)
        timesteps = torch.cat([torch.randint(0, 1000, (1,), generator=generator) for generator in draws.items("timesteps")])
        target = scheduler.get_velocity(latents, noise, timesteps) if kind.prediction == "v_prediction" else noise
        embeds, more = encoded(texts, kind, plan.entries)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        loss = functional.mse_loss(unet(noisy, timesteps, embeds, added_cond_kwargs=more).sample, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


@pytest.mark.parametrize("name", KINDS)
def test_every_step_has_the_loss_of_a_straight_loop(tmp_path, monkeypatch, name):
    kind = KINDS[name]
    model, pictures = build(kind, tmp_path / "model"), draw_pictures(tmp_path / "own" / "1_thing")
    run_dir = report_to(tmp_path / "run", monkeypatch)
    given = {"train_data_dir": tmp_path / "own", "enable_bucket": None, "max_train_steps": STEPS, "seed": SEED, "learning_rate": RATE}
    assert train(tmp_path, kind.script, pretrained_model_name_or_path=model, **given, **kind.options) == 0
    losses = [event["loss"] for event in events(run_dir, "step")]
    assert losses == pytest.approx(list(reference_losses(kind, model, pictures)), rel=2e-5)
    assert len(losses) == STEPS
