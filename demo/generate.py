"""Pictures from the demo's model with plain diffusers parts: `python demo/generate.py "a red circle on a blue ground" --out picture.png`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import EulerAncestralDiscreteScheduler
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from demo.model import SCALING_FACTOR, TinyModel, build_tokenizer, read_model, tokenize

MODEL = Path(__file__).resolve().parent / "model.safetensors"


@torch.no_grad()
def generate(model: TinyModel, prompts: Sequence[str], *, seed: int = 1, steps: int = 20, guidance_scale: float = 4.0) -> list[Image.Image]:
    """One 128 x 128 picture per prompt, by ancestral Euler steps with classifier-free guidance against the empty prompt.

    Args:
        model: in evaluation mode; runs in its own dtype on the CPU.
        prompts: any number; all go through the U-Net together.
        seed: of all noise. A picture depends on its place among the prompts too.
        steps: of the sampler.
        guidance_scale: 1 is none.
    """
    generator = torch.Generator().manual_seed(seed)
    scheduler = EulerAncestralDiscreteScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.set_timesteps(steps)
    prompt_embeds = model.text(tokenize(build_tokenizer(), ["", *prompts])).last_hidden_state
    both = torch.cat([prompt_embeds[:1].expand(len(prompts), -1, -1), prompt_embeds[1:]])
    latents = torch.randn(len(prompts), 4, 16, 16, generator=generator) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        model_input = scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
        empty, wanted = model.unet(model_input, timestep, both).sample.chunk(2)
        noise_pred = empty + guidance_scale * (wanted - empty)
        latents = scheduler.step(noise_pred, timestep, latents, generator=generator).prev_sample
    return as_pictures(model.vae.decode(latents / SCALING_FACTOR).sample)


def as_pictures(output: Tensor) -> list[Image.Image]:
    """Pictures of what the decoder returned, (batch, 3, side, side) in about [-1, 1]."""
    pixels = ((output.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(np.ascontiguousarray(picture)) for picture in pixels]


def main() -> None:
    """Draw the prompts of the command line side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pictures = generate(read_model(options.model), options.prompts, seed=options.seed)
    sheet = Image.new("RGB", (128 * len(pictures), 128))
    for k, picture in enumerate(pictures):
        sheet.paste(picture, (128 * k, 0))
    sheet.save(options.out)


if __name__ == "__main__":
    main()
