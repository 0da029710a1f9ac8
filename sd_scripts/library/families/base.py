"""What a model family answers, and the values that pass between a family, a method and the loop. The families live in folders beside this file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from sd_scripts.library.diffusion.draws import Draws
from sd_scripts.library.diffusion.schedule import NoiseSchedule
from sd_scripts.library.weights_file import SavedFile
from sd_scripts.params.config import Config


@dataclass(slots=True)
class TextEmbeddings:
    """Captions after the text encoder: `prompt_embeds` (batch, tokens, width), and `pooled` (batch, width) for families that have one."""

    prompt_embeds: Tensor
    pooled: Tensor | None = None


@dataclass(slots=True)
class Noised:
    """A micro-batch ready for the model.

    `noisy_latents` and `target` are (batch, channels, height, width), `timesteps` (batch,) int64 for DDPM families, `weights` (batch,) float32: how
    much each sample's timestep counts in the loss.
    """

    noisy_latents: Tensor
    timesteps: Tensor
    target: Tensor
    weights: Tensor


@dataclass(slots=True)
class Conditions:
    """What a model is told besides the caption, per item of a micro-batch.

    `sizes` is (batch, 6), float32, in pixels: height and width of the picture as its file has it, top and left of the cut, height and width of the
    bucket. Only families with size conditioning read it (Podell et al. 2023, "SDXL", arXiv:2307.01952, section 2.2).

    `inpaint` is (batch, 1 + channels, height, width) in the latents' size: 1 where an inpainting model is to fill in, and the latents of the rest.
    None: it is to make the whole picture.
    """

    sizes: Tensor
    inpaint: Tensor | None = None

    @classmethod
    def whole(cls, size: tuple[int, int], *, rows: int, device: torch.device) -> Self:
        """Those of `rows` pictures of `size` (width, height) that are seen whole and at their own size."""
        width, height = size
        return cls(torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=device).expand(rows, -1))


@dataclass(frozen=True, slots=True)
class AdapterTarget:
    """One module that an adapter may patch.

    Attributes:
        name: kohya's full name, the stem of its keys in weight files: `lora_unet_down_blocks_0_attentions_0_proj_in`,
            `lora_te_text_model_encoder_layers_0_mlp_fc1`.
        part: which part of the model it belongs to; families with two text encoders call the second one "text_encoder_2".
        module: the Linear, Conv2d or norm itself.
        kind: "linear", "conv1x1", "conv3x3" (any larger kernel) or "norm".
        conv: True for modules that get an adapter only when convolutions are asked for (resnets with their time projection, down- and upsamplers).
        block: index among kohya's blocks of a U-Net (`params.blocks.BlockLayout`); None outside the U-Net.
        is_outer: whether it stands before or behind all blocks of the U-Net.
        alias: another name by which presets of lycoris.kohya may call it, without prefix: "conv_in".
    """

    name: str
    part: Literal["unet", "text_encoder", "text_encoder_2"]
    module: nn.Module
    kind: Literal["linear", "conv1x1", "conv3x3", "norm"]
    conv: bool
    block: int | None
    is_outer: bool = False
    alias: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it belongs to a text encoder."""
        return self.part != "unet"


class Family(Protocol):
    """A loaded model. Its parts are frozen and in eval mode; methods change that where they train them."""

    name: ClassVar[str]
    vae_scale: ClassVar[float]
    latent_stride: ClassVar[int]
    latent_channels: ClassVar[int]
    unet: nn.Module
    vae: nn.Module
    text_encoders: tuple[nn.Module, ...]
    prediction: Literal["epsilon", "v"]
    schedule: NoiseSchedule

    @property
    def inpaints(self) -> bool:
        """Whether it is an inpainting model."""
        ...

    @classmethod
    def load(cls, config: Config, *, device: torch.device, weight_dtype: torch.dtype, trained: frozenset[str] = frozenset()) -> Self:
        """Read the model that `config` names onto `device`; parts named in `trained` ("unet", "text_encoder", ...) are held in float32.

        Raises:
            ConfigError: there is no such model, or it cannot be trained.
            DataError: a file is damaged.
            Diverged: there is NaN in the weights.
        """
        ...

    def image_moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, unscaled, float32, each (batch, channels, height/8, width/8), of pictures in [-1, 1], float32."""
        ...

    def sample_latents(self, mean: Tensor, logvar: Tensor, draws: Draws) -> Tensor:
        """A sample of the posterior, times `vae_scale`, float32, in the moments' shape."""
        ...

    def encode_text(self, captions: Sequence[str]) -> TextEmbeddings:
        """Embeddings of a batch of captions; gradients flow where the text encoder or its adapters train."""
        ...

    def define_word(self, word: str, ids: Sequence[int]) -> None:
        """From now on `word`, in any case of letters and where it stands alone, means these rows of the tables of word vectors."""
        ...

    def encode_prompts(self, prompts: Sequence[str]) -> TextEmbeddings:
        """Embeddings of preview prompts, equally long; unlike captions they are not cut at the training's token length."""
        ...

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Pictures, (batch, 3, height, width), float32, about [-1, 1], from latents times `vae_scale`."""
        ...

    def add_noise(self, latents: Tensor, draws: Draws, *, timesteps: Tensor | None = None) -> Noised:
        """Draw noise and timesteps for a batch of clean latents, with the configured options. Given `timesteps`, (batch,), are not drawn."""
        ...

    def predict(self, noised: Noised, text: TextEmbeddings, conditions: Conditions) -> Tensor:
        """The model's output for a noised batch, float32, shape of the latents. `text` and `conditions` have a row per item."""
        ...

    def targets(self) -> tuple[AdapterTarget, ...]:
        """Every module that an adapter may patch, in kohya's creation order."""
        ...

    def outer_targets(self) -> tuple[AdapterTarget, ...]:
        """Modules that only presets of lycoris.kohya reach: norm layers, and what stands before and behind the U-Net's blocks."""
        ...

    def checkpoint_tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The whole model under the keys of original files, copied to the CPU; None keeps each weight's dtype."""
        ...

    def write_folder(self, folder: Path, save_dtype: torch.dtype | None, *, ending: str) -> SavedFile:
        """Write the whole model in the diffusers layout; `ending` is that of the weight files. Raises RunError."""
        ...

    def unet_block(self, name: str) -> int:
        """The block, as kohya counts them, of the U-Net's weight called `name`. Raises ValueError where a family has no rates by block."""
        ...

    def idle_parameters(self) -> list[nn.Parameter]:
        """Parameters of the text encoders that do not reach the embeddings."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Metadata about the base model: `ss_*` keys in kohya's order, and `modelspec.*` keys."""
        ...
