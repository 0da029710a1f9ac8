"""Preview pictures during training, for families that predict noise or velocity: classifier-free guidance with any of kohya's samplers.

Previews draw from generators of their own, so training's random numbers are the same with and without them. When they are due is decided by the loop.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from sd_scripts.library.diffusion.samplers import FEWEST_STEPS, build_sampler
from sd_scripts.library.families.base import Conditions, Family, Noised, TextEmbeddings
from sd_scripts.survey.prompts import Prompt

MIN_SIDE = 64
SIDE_STEP = 8
_MAX_SEED = 2**32
Autocast = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Preview:
    """One picture, its prompt, and the seed that made it (drawn by chance where the prompt names none)."""

    image: Image.Image
    prompt: Prompt
    seed: int


def draw_previews(
    family: Family, prompts: Sequence[Prompt], *, autocast: Autocast = nullcontext, on_image: Callable[[Preview], None] | None = None
) -> list[Preview]:
    """Draw one picture per prompt, with the model as it is now; its parts are in eval mode meanwhile.

    Args:
        family: a loaded model, with whatever adapter is attached to it.
        prompts: what to draw.
        autocast: makes the context in which the model runs, as in training; the picture is decoded outside of it.
        on_image: told about each picture as soon as it is there.
    """
    previews = []
    with _evaluating(family.unet, *family.text_encoders):
        for prompt in prompts:
            seed = random.SystemRandom().randrange(_MAX_SEED) if prompt.seed is None else prompt.seed
            latents = sample_latents(family, prompt, seed=seed, autocast=autocast)
            previews.append(Preview(decode(family, latents), prompt, seed))
            if on_image:
                on_image(previews[-1])
    return previews


@torch.no_grad()
def sample_latents(family: Family, prompt: Prompt, *, seed: int, autocast: Autocast = nullcontext) -> Tensor:
    """Latents of one picture times `vae_scale`, (1, channels, height/8, width/8), float32. The same seed gives the same start on every device.

    Source: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", arXiv:2207.12598: negative + scale · (positive − negative). A scale
    of 1 or less leaves the negative prompt out.
    """
    device = next(family.unet.parameters()).device
    sampler = build_sampler(prompt.sample_sampler, prediction=family.prediction, zero_terminal_snr=bool(family.schedule.alphas_cumprod[-1] == 0))
    sampler.set_timesteps(max(prompt.sample_steps, FEWEST_STEPS.get(prompt.sample_sampler, 1)), device=device)
    guided = prompt.scale > 1
    generator = torch.Generator().manual_seed(seed)
    width, height = picture_size(prompt)
    shape = (1, family.latent_channels, height // family.latent_stride, width // family.latent_stride)
    latents = torch.randn(shape, generator=generator).to(device) * sampler.init_noise_sigma
    settings = {"generator": generator} if "generator" in inspect.signature(sampler.step).parameters else {}
    with autocast():
        text = family.encode_prompts([prompt.negative_prompt or "", prompt.prompt] if guided else [prompt.prompt])
        conditions = Conditions.whole((width, height), rows=text.prompt_embeds.shape[0], device=device)
        for timestep in sampler.timesteps:
            model_pred = _predict(family, sampler.scale_model_input(latents, timestep), timestep, text=text, conditions=conditions)
            if guided:
                negative, positive = model_pred.chunk(2)
                model_pred = negative + prompt.scale * (positive - negative)
            latents = sampler.step(model_pred, timestep, latents, return_dict=False, **settings)[0]
    return latents.float()


def decode(family: Family, latents: Tensor) -> Image.Image:
    """Latents of one picture, (1, channels, height/8, width/8), times `vae_scale`, as an RGB picture."""
    pixels = family.decode_latents(latents)[0]
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def picture_size(prompt: Prompt) -> tuple[int, int]:
    """(width, height) that will be drawn: rounded down to multiples of 8, at least 64."""
    width, height = (max(MIN_SIDE, side - side % SIDE_STEP) for side in (prompt.width, prompt.height))
    return width, height


def preview_path(output_dir: Path, output_name: str, prompt: Prompt, *, step: int, epoch: int | None = None, now: datetime | None = None) -> Path:
    """Where kohya puts a preview: `sample/<name>_<step or e<epoch>>_<index>_<time>[_<seed>].png` in `output_dir`.

    `epoch` is given for previews at an epoch's end and takes the step's place; a seed stands in the name only if the prompt has one.
    """
    when = f"e{epoch:06d}" if epoch is not None else f"{step:06d}"
    time = (now or datetime.now()).strftime("%Y%m%d%H%M%S")
    seed = "" if prompt.seed is None else f"_{prompt.seed}"
    name = f"{output_name}_" if output_name else ""
    return output_dir / "sample" / f"{name}{when}_{prompt.index:02d}_{time}{seed}.png"


def _predict(family: Family, latents: Tensor, timestep: Tensor, *, text: TextEmbeddings, conditions: Conditions) -> Tensor:
    rows = text.prompt_embeds.shape[0]
    batch = latents.expand(rows, -1, -1, -1)
    nothing = torch.zeros(rows, device=latents.device)  # a preview has no target and no loss
    return family.predict(Noised(batch, timestep.expand(rows).to(latents.device), nothing, nothing), text, conditions)


@contextmanager
def _evaluating(*modules: nn.Module) -> Generator[None]:
    """Put modules into eval mode, and afterwards every submodule back into the mode that it had."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
