"""What families of latent diffusion models with CLIP text encoders have in common: encoding, noise and target, prediction, metadata of files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from sd_scripts.errors import ConfigError
from sd_scripts.library.diffusion.draws import Draws, randn_per_item
from sd_scripts.library.diffusion.loss import snr_weights
from sd_scripts.library.diffusion.noise import add_noise, draw_noise, draw_timesteps, perturb_input, velocity
from sd_scripts.library.diffusion.schedule import NoiseSchedule, ddpm_schedule
from sd_scripts.library.families.base import AdapterTarget, Conditions, Noised, TextEmbeddings
from sd_scripts.library.families.clip import chunk_words
from sd_scripts.library.families.hashes import FileHashes
from sd_scripts.library.families.ldm.load import INPAINTING_CHANNELS, Layout, Parts, load_parts
from sd_scripts.library.families.ldm.save import Pipeline, single_file, write_folder
from sd_scripts.library.families.ldm.text import caption_ids, caption_words, emphasised, prompt_words, weighted
from sd_scripts.library.transfer import to_device
from sd_scripts.library.weights_file import SavedFile
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.loss import SNRWeight
from sd_scripts.params.model import SDModel, SourceModel
from sd_scripts.params.noise import NoiseDDPM, Timesteps
from sd_scripts.params.rules.learning import weights_for
from sd_scripts.params.text import ClipText

Ids = Callable[[int], Tensor]
"""A padding id to the ids of a batch, (batch, chunks, 77)."""


class LatentDiffusion(ABC):
    """A loaded model with a U-Net. Attention is torch's scaled_dot_product_attention throughout. A family says what differs."""

    name: ClassVar[str]
    layout: ClassVar[Layout]
    vae_scale: ClassVar[float]
    pipeline: ClassVar[str]
    latent_stride: ClassVar[int] = 8
    latent_channels: ClassVar[int] = 4

    def __init__(self, parts: Parts, config: Config, *, device: torch.device) -> None:
        self.parts = parts
        self.unet, self.vae, self.text_encoders = parts.unet, parts.vae, parts.text_encoders
        self._unet_dtype, self._vae_dtype = parts.unet.dtype, parts.vae.dtype  # asking a module walks its whole tree: 1 ms
        self._clip_text = config[ClipText]
        self._words: dict[str, Sequence[int]] = {}
        self._grey: dict[tuple[int, int], Tensor] = {}
        self._noise, self._timesteps, self._snr_weight = config[NoiseDDPM], config[Timesteps], config[SNRWeight]
        self.prediction: Literal["epsilon", "v"] = _prediction(parts, config)
        schedule = ddpm_schedule(zero_terminal_snr=self._noise.zero_terminal_snr)
        self.schedule = NoiseSchedule(schedule.betas.to(device), schedule.alphas_cumprod.to(device))
        names = {"sd_model": config[SourceModel].pretrained_model_name_or_path, "vae": config[SourceModel].vae}
        self._names = {kind: _Named(name) for kind, name in names.items() if name}

    @property
    def _text_device(self) -> torch.device:
        return next(self.text_encoders[0].parameters()).device

    @abstractmethod
    def _encoded(self, ids: Ids) -> TextEmbeddings:
        """What the text encoders make of ids; each asks for them with its own padding."""

    @abstractmethod
    def targets(self) -> tuple[AdapterTarget, ...]:
        """Every module that an adapter may patch, in kohya's creation order."""

    @abstractmethod
    def outer_targets(self) -> tuple[AdapterTarget, ...]:
        """Modules that only presets of lycoris.kohya reach: norm layers, and what stands before and behind the U-Net's blocks."""

    @abstractmethod
    def describe(self) -> Mapping[str, str]:
        """Metadata about the base model: `ss_*` keys in kohya's order, and `modelspec.*` keys."""

    @classmethod
    def load(cls, config: Config, *, device: torch.device, weight_dtype: torch.dtype, trained: frozenset[str] = frozenset()) -> Self:
        """Read the model that `config` names onto `device`, frozen, in `weight_dtype` (in float32 the `trained` parts, and the VAE with no_half_vae).

        Raises:
            ConfigError: the model does not exist or is of another family; the options do not fit it.
            DataError: a file is damaged or incomplete.
            Diverged: a weight is NaN or infinite.
        """
        return cls(load_parts(config, cls.layout, device=device, weight_dtype=weight_dtype, trained=trained), config, device=device)

    def image_moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the VAE's posterior, unscaled, float32, each (batch, 4, height/8, width/8). Autocast does not apply.

        Args:
            images: (batch, 3, height, width), in [-1, 1], sides divisible by 8.
        """
        device = self.vae.device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            posterior = self.vae.encode(images.to(device, self._vae_dtype)).latent_dist
        return posterior.mean.float(), posterior.logvar.float()

    def sample_latents(self, mean: Tensor, logvar: Tensor, draws: Draws) -> Tensor:
        """A sample of the posterior times `vae_scale`, (batch, 4, height/8, width/8), float32; its noise is `draws.items("vae")`."""
        noise = to_device(randn_per_item(draws.items("vae"), mean.shape[1:]), mean.device)
        return (mean + torch.exp(0.5 * logvar) * noise) * self.vae_scale

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Pictures, (batch, 3, height, width), float32, about [-1, 1], from latents times `vae_scale`. Autocast does not apply."""
        device = self.vae.device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            return self.vae.decode((latents / self.vae_scale).to(device, self._vae_dtype), return_dict=False)[0].float()

    def encode_text(self, captions: Sequence[str]) -> TextEmbeddings:
        """Embeddings of captions, (batch, 75 · chunks + 2, width). Gradients flow where a text encoder or an adapter on it trains."""
        words, weights = caption_words(captions, self._clip_text, self._words)
        text = self._encoded(lambda pad_id: caption_ids(words, self._clip_text, pad_id=pad_id))
        return TextEmbeddings(weighted(text.prompt_embeds, weights), text.pooled)

    def define_word(self, word: str, ids: Sequence[int]) -> None:
        """From now on `word`, in any case of letters and where it stands alone, means these rows of the tables of word vectors."""
        self._words[word.lower()] = tuple(ids)

    def encode_prompts(self, prompts: Sequence[str]) -> TextEmbeddings:
        """Embeddings of preview prompts: as many chunks of 75 words (at most 3) as the longest of them needs, and emphasis like `(word:1.2)`."""
        words, weights, chunks = prompt_words(prompts, self._clip_text, self._words)
        text = self._encoded(lambda pad_id: chunk_words(words, chunks=chunks, pad_id=pad_id))
        return TextEmbeddings(emphasised(text.prompt_embeds, weights), text.pooled)

    def add_noise(self, latents: Tensor, draws: Draws, *, timesteps: Tensor | None = None) -> Noised:
        """Draw noise and timesteps and make the model's input, its target and the samples' weights.

        Args:
            latents: clean latents times `vae_scale`, (batch, 4, height/8, width/8).
            draws: generators of this micro-batch.
            timesteps: (batch,), int64; None draws them.
        """
        noise = draw_noise(latents, self._noise, draws)
        timesteps = to_device(draw_timesteps(self._timesteps, draws) if timesteps is None else timesteps, latents.device)
        noisy_latents = add_noise(latents, perturb_input(noise, self._noise, draws), timesteps, self.schedule.alphas_cumprod)
        target = noise if self.prediction == "epsilon" else velocity(latents, noise, timesteps, self.schedule.alphas_cumprod)
        weights = snr_weights(timesteps, self.schedule, self._snr_weight, prediction=self.prediction)
        return Noised(noisy_latents, timesteps, target, weights)

    def predict(self, noised: Noised, text: TextEmbeddings, conditions: Conditions) -> Tensor:
        """The U-Net's output, (batch, 4, height/8, width/8), float32: noise, or velocity for v-prediction models."""
        dtype = self._unet_dtype
        added = self._added_conditions(text, conditions)
        prompt_embeds = text.prompt_embeds.to(dtype)
        latents = noised.noisy_latents
        if self.inpaints:
            seen = self._nothing_seen(latents) if conditions.inpaint is None else conditions.inpaint
            latents = torch.cat([latents, seen.to(latents)], dim=1)
        return self.unet(latents.to(dtype), noised.timesteps, prompt_embeds, added_cond_kwargs=added, return_dict=False)[0].float()

    @property
    def inpaints(self) -> bool:
        """Whether it is an inpainting model: its U-Net takes 9 channels."""
        return self.unet.config["in_channels"] == INPAINTING_CHANNELS

    def _nothing_seen(self, latents: Tensor) -> Tensor:
        """The condition of a picture that is hidden wholly, (batch, 5, height, width): a hole everywhere, and the latents of grey."""
        size = (latents.shape[2], latents.shape[3])
        if size not in self._grey:
            grey = torch.zeros(1, 3, self.latent_stride * size[0], self.latent_stride * size[1])
            mean, _ = self.image_moments(grey)
            hole = torch.ones(1, 1, *size, device=mean.device)
            self._grey[size] = torch.cat([hole, mean * self.vae_scale], dim=1).to(latents.device)
        return self._grey[size].expand(len(latents), -1, -1, -1)

    def _added_conditions(self, text: TextEmbeddings, conditions: Conditions) -> dict[str, Tensor] | None:  # for families that have some
        """What the U-Net is told besides timestep and caption, as diffusers' `added_cond_kwargs`."""
        return None

    def checkpoint_tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The whole model under the keys of original files, copied to the CPU; None keeps each weight's dtype."""
        return single_file(self.parts, save_dtype, velocity=self.prediction == "v", zero_snr=self._ends_in_noise)

    def write_folder(self, folder: Path, save_dtype: torch.dtype | None, *, ending: str) -> SavedFile:
        """The whole model in the diffusers layout; see `ldm.save.write_folder`."""
        if self.unet.config["sample_size"] is None:  # pipelines of diffusers take their usual size from it, and some ask whether it is below 64
            self.unet.register_to_config(sample_size=self._usual_side() // self.latent_stride)
        self.vae.register_to_config(scaling_factor=self.vae_scale)  # a VAE that came out of a file has diffusers' default, which is that of SD
        return write_folder(folder, self.parts, Pipeline(self._pipeline_name(), self.prediction, self._ends_in_noise), save_dtype, ending=ending)

    @property
    def _ends_in_noise(self) -> bool:
        """Whether its last timestep is pure noise: it was made so, or is trained so."""
        return self.parts.zero_snr or self._noise.zero_terminal_snr

    def _usual_side(self) -> int:
        """The side in pixels that the model was made for."""
        sides = FAMILIES[self.name].resolution_of
        return max(sides.values()) if self.prediction == "v" else min(sides.values())

    def _pipeline_name(self) -> str:
        return self.pipeline.replace("Pipeline", "InpaintPipeline") if self.inpaints else self.pipeline

    def unet_block(self, name: str) -> int:
        """The block, as kohya counts them, of the U-Net's weight called `name`."""
        raise ValueError(f"{self.name} has no rates by block")

    def idle_parameters(self) -> list[nn.Parameter]:
        """Parameters of the text encoders that do not reach the embeddings: they could only be changed by weight decay."""
        return []

    def source_rows(self) -> dict[str, str]:
        """Names and hashes of the model's files in kohya's keys. Waits for the hashes, which are computed since it was loaded."""
        rows: dict[str, str] = {}
        for kind, named in self._names.items():
            rows |= named.rows(kind)
        return rows


def _prediction(parts: Parts, config: Config) -> Literal["epsilon", "v"]:
    """What the user said, else what the file says, else epsilon: shapes do not tell.

    Raises:
        ConfigError: the loss has a weight that is made for the other kind. A model on disk was asked before; one of the hub is known only now.
    """
    said: Literal["epsilon", "v"] = "v" if config[SDModel].v_parameterization else "epsilon"
    prediction = said if "v_parameterization" in config.given else parts.prediction or "epsilon"
    for wrong in weights_for(config[SNRWeight], velocity=prediction == "v"):
        raise ConfigError(wrong.field, wrong.message, fix=wrong.fix)
    return prediction


class _Named:
    """Name and hashes of a model as kohya writes them: a path's last part only, and no hashes for a hub id."""

    def __init__(self, name: str) -> None:
        path = Path(name).expanduser()
        is_local = path.exists()
        self._name = path.name if is_local else name
        self._hashes = FileHashes(path) if is_local else None

    def rows(self, kind: str) -> dict[str, str]:
        """Metadata of the model called `kind` in kohya's keys ("sd_model", "vae")."""
        rows = {f"ss_{kind}_name": self._name}
        if self._hashes:
            legacy, whole = self._hashes.result()
            rows |= {f"ss_{kind}_hash": legacy, f"ss_new_{kind}_hash": whole}
        return rows
