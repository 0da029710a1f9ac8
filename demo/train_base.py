"""Makes the demo's base model from nothing but pictures it draws: `python demo/train_base.py --out FILE --minutes N`.

A VAE first, then U-Net and text encoder together on its latents. Rates fall with the clock, so any number of minutes gives a finished model;
the committed one took about 75. Intermediate files go to `--work`; a stage whose file lies there is not run again.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MethodType

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from demo.draw import draw_doodle, training_picture
from demo.model import SCALING_FACTOR, TinyModel, build_model, build_tokenizer, tokenize, write_model
from demo.muon import split_optimizers

SHARES = {"vae": 0.25, "unet": 0.6, "decoder": 0.15}
VAE_PICTURES, UNET_PICTURES = 5000, 4096
LATENT_NOISE = 0.08
"""Spread of the noise that the decoder learns to bear, as a share of the latents' own spread: the U-Net's latents are never exact."""


@dataclass(slots=True)
class Clock:
    """Progress of one stage in [0, 1], by wall time, and the share of the learning rates that belongs to it."""

    minutes: float
    done_before: float = 0.0
    started: float = 0.0

    def start(self) -> Clock:
        """Begin to count now."""
        self.started = time.monotonic()
        return self

    @property
    def progress(self) -> float:
        """Share of the stage's time that is over, what an interrupted run did included."""
        return min(1.0, self.done_before + (time.monotonic() - self.started) / (60 * self.minutes))

    def factor(self) -> float:
        """What peak learning rates are multiplied by: 3 % linear warm-up, then a cosine down to 0."""
        done = self.progress
        return done / 0.03 if done < 0.03 else 0.5 * (1 + math.cos(math.pi * (done - 0.03) / 0.97))


def as_tensor(picture: Image.Image) -> Tensor:
    """(3, side, side), uint8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def as_input(pixels: Tensor) -> Tensor:
    """uint8 pictures as the VAE wants them: float32 in [-1, 1], channels last in memory."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def speed_up(module: nn.Module) -> nn.Module:
    """Channels-last memory and group norms in float32: torch's bfloat16 group norm takes over half of a step on a CPU."""

    def forward(self: nn.GroupNorm, hidden: Tensor) -> Tensor:
        return F.group_norm(hidden.float(), self.num_groups, self.weight, self.bias, self.eps).to(hidden.dtype)

    for norm in module.modules():
        if isinstance(norm, nn.GroupNorm):
            norm.forward = MethodType(forward, norm)
    return module.to(memory_format=torch.channels_last)


def log(stage: str, **numbers: float) -> None:
    """One line of progress on the terminal."""
    print(time.strftime("%H:%M:%S"), stage, *(f"{name} {value:.4g}" for name, value in numbers.items()), flush=True)


def apply_gradients(optimizers: list[torch.optim.Optimizer], loss: Tensor, factor: float) -> None:
    """Backward, clip to norm 1, step at `factor` times the peak rates, forget the gradients."""
    loss.backward()
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
    for group in groups:
        group["lr"] = factor * group.setdefault("peak", group["lr"])
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def vae_batches(rng: np.random.Generator, clock: Clock, *, whole_only: bool) -> Iterator[Tensor]:
    """Pictures for the VAE, uint8: 8, then 16 crops of 64 pixels while they suffice, then whole pictures, four at a time."""
    doodles = [as_tensor(draw_doodle(rng)[1]) for _ in range(VAE_PICTURES // 2)]
    pool = torch.stack(doodles + [as_tensor(training_picture(rng)[1]) for _ in range(VAE_PICTURES // 2)])
    while clock.progress < 1:
        crop, count = (128, 4) if whole_only or clock.progress > 0.75 else (64, 8 if clock.progress < 0.5 else 16)
        corners = rng.integers(0, 128 - crop + 1, (count, 2))
        chosen = rng.integers(0, len(pool), count)
        yield torch.stack([pool[k, :, y : y + crop, x : x + crop] for k, (y, x) in zip(chosen, corners, strict=True)])


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the pixels plus that of their differences to the right and lower neighbour, which keeps edges crisp."""
    error = output - target
    return error.abs().mean() + 0.5 * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())


def train_vae(vae: AutoencoderKL, clock: Clock, rng: np.random.Generator, *, decoder_only: bool = False) -> None:
    """Train encoder and decoder, or the decoder alone so that latents stay what the U-Net knows.

    Latents are the encoder's mean; noise on them stands for sampling and for the U-Net's errors.
    """
    speed_up(vae.train())
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(not decoder_only)
    optimizers = split_optimizers(vae, matrix_rate=3e-3 if decoder_only else 5e-3, other_rate=1e-3)
    batches = vae_batches(rng, clock.start(), whole_only=decoder_only)
    for step, batch in enumerate(batches):
        pixels = as_input(batch)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(pixels).latent_dist.mean.float()
            noisy = latents + LATENT_NOISE * latents.std().detach() * torch.randn_like(latents)
            output = vae.decode(noisy).sample.float()
        loss = reconstruction_loss(output, pixels)
        apply_gradients(optimizers, loss + 1e-4 * latents.square().mean(), clock.factor())
        if step % 50 == 0:
            mse = (output.detach().clamp(-1, 1) - pixels).square().mean().item()
            log("vae", step=step, progress=clock.progress, loss=loss.item(), psnr=10 * math.log10(4 / max(mse, 1e-9)), spread=latents.std().item())
    vae.eval()


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Latent means (batch, 4, 16, 16), float32, not yet scaled, in chunks of 16 pictures."""
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([vae.encode(as_input(chunk)).latent_dist.mean.float() for chunk in pixels.split(16)])


@torch.no_grad()
def whiten(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Make scaled latents uncorrelated with mean 0 and variance 1, by a change of basis folded into the two 1x1 convolutions.

    Args:
        vae: changed in place: latents become `(W (z − mean)) / SCALING_FACTOR`, the decoder undoes it, the predicted spread becomes a constant.
        latents: latent means of many pictures, (n, 4, h, w).

    Returns:
        The same latents in the new basis, times SCALING_FACTOR: what the U-Net sees.
    """
    columns = latents.transpose(0, 1).flatten(1).double()
    mean = columns.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(columns))
    basis = torch.diag(values.rsqrt()) @ vectors.T
    inverse = vectors @ torch.diag(values.sqrt())
    quant, post = vae.quant_conv, vae.post_quant_conv
    weight, bias = quant.weight.double()[:4, :, 0, 0], quant.bias.double()[:4]
    quant.weight[:4] = (basis @ weight / SCALING_FACTOR)[:, :, None, None].float()
    quant.bias[:4] = (basis @ (bias - mean) / SCALING_FACTOR).float()
    quant.weight[4:] = 0
    quant.bias[4:] = 2 * math.log(0.02 / SCALING_FACTOR)
    old = post.weight.double()[:, :, 0, 0]
    post.bias += (old @ mean).float()
    post.weight.copy_((old @ inverse * SCALING_FACTOR)[:, :, None, None])
    return torch.einsum("ij,njhw->nihw", basis.float(), latents - mean.float()[:, None, None])


def draw_latents(vae: AutoencoderKL, rng: np.random.Generator, count: int) -> tuple[list[str], Tensor]:
    """Captions and unscaled latents of `count` training pictures."""
    captions: list[str] = []
    latents = []
    while len(captions) < count:
        items = [training_picture(rng) for _ in range(256)]
        captions += [caption for caption, _ in items]
        latents.append(encode(vae, torch.stack([as_tensor(picture) for _, picture in items])))
        log("encode", pictures=len(captions))
    return captions, torch.cat(latents)


def loss_weights(schedule: DDPMScheduler) -> Tensor:
    """Weight of the epsilon loss per timestep, (1000,), float32: clamp(SNR, 0.1, 5) / SNR.

    The upper cap is min-SNR's (Hang et al. 2023, arXiv:2303.09556). The lower one raises the noisiest steps, where the ground's colour is decided:
    an error in epsilon there is an error 15 times as large in the picture, and the plain loss does not see it.
    """
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    return snr.clamp(0.1, 5) / snr


def draw_timesteps(batch_size: int, progress: float) -> Tensor:
    """(batch_size,), int64. Uniform while grounds and colours are learned; then two of three from the middle, where outlines are decided."""
    timesteps = torch.randint(1000, (batch_size,))
    if progress < 0.45:
        return timesteps
    return torch.where(torch.rand(batch_size) < 0.67, torch.randint(200, 800, (batch_size,)), timesteps)


def add_noise(latents: Tensor, timesteps: Tensor, schedule: DDPMScheduler) -> tuple[Tensor, Tensor]:
    """Noisy latents and their noise. Half of the items get noise with an offset per channel, so that the text alone must decide the ground."""
    offset = 0.25 * torch.randn(len(latents), 4, 1, 1) * (torch.rand(len(latents), 1, 1, 1) < 0.5)
    noise = torch.randn_like(latents) + offset
    return schedule.add_noise(latents, noise, timesteps), noise


def average(shadow: dict[str, Tensor], networks: nn.ModuleList, step: int) -> None:
    """Move the running average of the weights (decay 0.995, less at the start) towards the present ones."""
    decay = min(0.995, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, value in networks.state_dict().items():
            if value.is_floating_point():
                shadow[name].lerp_(value, 1 - decay)


def train_unet(model: TinyModel, clock: Clock, captions: list[str], latents: Tensor, snapshot: Path) -> None:
    """Train U-Net and text encoder together on epsilon prediction; leave the averaged weights in the model, and in `snapshot` every 100 steps.

    Goes on from `snapshot` where that exists.
    """
    tokenizer, schedule = build_tokenizer(), schedule_ddpm()
    weights = loss_weights(schedule)
    ids, empty = tokenize(tokenizer, captions), tokenize(tokenizer, [""])
    speed_up(model.unet.train()).set_attn_processor(AttnProcessor())
    networks = nn.ModuleList([model.unet, model.text.train()])
    optimizers = split_optimizers(networks, matrix_rate=4e-3, other_rate=2e-3)
    step, mean_loss = 0, 1.0
    if snapshot.exists():
        stored = torch.load(snapshot, weights_only=True)
        networks.load_state_dict(stored["weights"])
        step, clock.done_before = stored["step"], stored["progress"]
    shadow = {name: value.clone() for name, value in networks.state_dict().items()}
    clock.start()
    while clock.progress < 1:
        progress = clock.progress
        batch_size = 16 if progress < 0.85 else 32
        chosen = torch.randint(len(latents), (batch_size,))
        tokens = torch.where(torch.rand(batch_size, 1) < 0.1, empty, ids[chosen])
        timesteps = draw_timesteps(batch_size, progress)
        noisy, noise = add_noise(latents[chosen], timesteps, schedule)
        with torch.autocast("cpu", torch.bfloat16):
            states = model.text(tokens).last_hidden_state
            predicted = model.unet(noisy.contiguous(memory_format=torch.channels_last), timesteps, states).sample.float()
        loss = ((predicted - noise).square().mean((1, 2, 3)) * weights[timesteps].clamp(max=20 if progress < 0.45 else 4)).mean()
        apply_gradients(optimizers, loss, clock.factor())
        average(shadow, networks, step)
        mean_loss += 0.02 * (loss.item() - mean_loss)
        step += 1
        if step % 20 == 0:
            log("unet", step=step, progress=clock.progress, loss=mean_loss)
        if step % 100 == 0 or clock.progress >= 1:
            torch.save({"weights": shadow, "step": step, "progress": clock.progress}, snapshot)
    networks.load_state_dict(shadow)


def schedule_ddpm() -> DDPMScheduler:
    """SD 1's noise schedule: 1000 steps, square roots of beta spaced evenly from 0.00085 to 0.012."""
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def main() -> None:
    """Train all stages within `--minutes` and write the model to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--minutes", type=float, default=80, help="time for training; drawing and encoding come on top")
    parser.add_argument("--work", type=Path, default=Path("outputs/demo_train"), help="folder for intermediate files")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    model = build_model()
    vae_file, latents_file = options.work / "vae.pt", options.work / "latents.pt"
    if vae_file.exists():
        model.vae.load_state_dict(torch.load(vae_file, weights_only=True))
    else:
        train_vae(model.vae, Clock(options.minutes * SHARES["vae"]), rng)
        torch.save(model.vae.state_dict(), vae_file)
    if not latents_file.exists():
        captions, latents = draw_latents(speed_up(model.vae.eval()), rng, UNET_PICTURES)
        latents = whiten(model.vae, latents)
        torch.save({"captions": captions, "latents": latents, "vae": model.vae.state_dict()}, latents_file)
    stored = torch.load(latents_file, weights_only=True)
    model.vae.load_state_dict(stored["vae"])
    clock = Clock(options.minutes * SHARES["unet"])
    train_unet(model, clock, stored["captions"], stored["latents"], options.work / "unet.pt")
    train_vae(model.vae, Clock(options.minutes * SHARES["decoder"]), rng, decoder_only=True)
    write_model(model, options.out)


if __name__ == "__main__":
    main()
