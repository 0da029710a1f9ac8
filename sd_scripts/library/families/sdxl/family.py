"""SDXL: two CLIP text encoders, a pooled caption, and the picture's size and cut as conditions.

Source: Podell et al. 2023, "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis", arXiv:2307.01952.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from sd_scripts.library.families.base import AdapterTarget, Conditions, TextEmbeddings
from sd_scripts.library.families.clip import EOS, OPEN_CLIP_PAD
from sd_scripts.library.families.ldm.config import Shapes
from sd_scripts.library.families.ldm.convert import unet_key
from sd_scripts.library.families.ldm.family import Ids, LatentDiffusion
from sd_scripts.library.families.ldm.load import Layout, TextPart
from sd_scripts.library.families.ldm.targets import end_targets, text_targets
from sd_scripts.library.families.ldm.text import joined, text_root
from sd_scripts.library.families.sdxl.targets import levels_with_attention, unet_targets
from sd_scripts.library.transfer import to_device
from sd_scripts.params.families.sdxl import FACTS, block_of

TEXT_PARTS = (
    TextPart("text_encoder", "conditioner.embedders.0.transformer.text_model.", open_clip=False),
    TextPart("text_encoder_2", "conditioner.embedders.1.model.", open_clip=True, projected=True),
)
LAST_BLOCK = FACTS.blocks.count - 1
PAD_IDS = (EOS, OPEN_CLIP_PAD)
IMPLEMENTATION = "https://github.com/Stability-AI/generative-models"


def text_parts(shapes: Shapes) -> tuple[TextPart, ...]:  # all files keep them in the same places
    """The text encoders of a single file: CLIP-L, OpenCLIP-G."""
    return TEXT_PARTS


def folder_parts(unet: Mapping[str, Any]) -> tuple[TextPart, ...]:  # all folders hold the same
    """The text encoders of a diffusers folder."""
    return TEXT_PARTS


class SDXL(LatentDiffusion):
    """A loaded SDXL model. `clip_skip` does not apply: both encoders give their last layer but one."""

    name: ClassVar[str] = FACTS.name
    layout: ClassVar[Layout] = Layout(FACTS.name, tuple(part.name for part in TEXT_PARTS), text_parts, folder_parts)
    vae_scale: ClassVar[float] = 0.13025
    pipeline: ClassVar[str] = "StableDiffusionXLPipeline"

    def _encoded(self, ids: Ids) -> TextEmbeddings:
        """Hidden states of the last layer but one of both encoders, side by side, without a final norm; pooled is the second one's projection of its
        end mark in the first chunk."""
        all_ids = [to_device(ids(pad_id), self._text_device) for pad_id in PAD_IDS]
        outputs = [
            cast(Any, encoder)(input_ids.flatten(0, 1), output_hidden_states=True)
            for encoder, input_ids in zip(self.text_encoders, all_ids, strict=True)
        ]
        embeds = [
            joined(output.hidden_states[-2], input_ids, pad_id=pad_id) for output, input_ids, pad_id in zip(outputs, all_ids, PAD_IDS, strict=True)
        ]
        return TextEmbeddings(torch.cat(embeds, dim=-1), self._pooled(outputs[-1].last_hidden_state, all_ids[-1]))

    def _pooled(self, hidden: Tensor, input_ids: Tensor) -> Tensor:
        """Projection of the hidden state at the first end mark of each caption's first chunk, (batch, width)."""
        first = hidden.view(*input_ids.shape, -1)[:, 0]
        ends = (input_ids[:, 0] == EOS).int().argmax(dim=-1)
        rows = torch.arange(len(ends), device=ends.device)
        return cast(Any, self.text_encoders[-1]).text_projection(first[rows, ends])

    def _added_conditions(self, text: TextEmbeddings, conditions: Conditions) -> dict[str, Tensor]:
        if text.pooled is None:
            raise ValueError("SDXL needs the pooled caption")
        return {"text_embeds": text.pooled.to(self._unet_dtype), "time_ids": conditions.sizes.to(text.pooled.device)}

    def targets(self) -> tuple[AdapterTarget, ...]:
        """Every module that an adapter may patch: both text encoders, then the U-Net in the order of the original file."""
        first = text_targets(self.text_encoders[0], part="text_encoder", prefix="lora_te1")
        second = text_targets(self.text_encoders[1], part="text_encoder_2", prefix="lora_te2")
        return tuple(chain(first, second, unet_targets(self.unet)))

    def outer_targets(self) -> tuple[AdapterTarget, ...]:
        """Norm layers of all, and what stands before and behind the U-Net's blocks."""
        first = text_targets(self.text_encoders[0], part="text_encoder", prefix="lora_te1", norms=True)
        second = text_targets(self.text_encoders[1], part="text_encoder_2", prefix="lora_te2", norms=True)
        return tuple(chain(first, second, unet_targets(self.unet, norms=True), end_targets(self.unet, original_names=True, last_block=LAST_BLOCK)))

    def unet_block(self, name: str) -> int:
        """0 the time and size embeddings, 1-9 input, 10-12 middle, 13-21 output blocks, 22 the output."""
        key = unet_key(name, self.unet.config["layers_per_block"], levels_with_attention(self.unet))
        return LAST_BLOCK if key.startswith("out.") else 0 if key.startswith(("time_embed.", "label_emb.")) else block_of(key)

    def idle_parameters(self) -> list[nn.Parameter]:
        """The first text encoder's last layer and final norm: embeddings are taken before them."""
        root = text_root(self.text_encoders[0])
        return [*root.encoder.layers[-1].parameters(), *root.final_layer_norm.parameters()]

    def describe(self) -> Mapping[str, str]:
        """Metadata about the base model, in kohya's order. Waits for the hashes of its files, which are computed since it was loaded."""
        rows = {"ss_v2": "False", "ss_base_model_version": "sdxl_base_v1-0"} | self.source_rows()
        return rows | {
            "modelspec.architecture": "stable-diffusion-xl-v1-base",
            "modelspec.implementation": IMPLEMENTATION,
            "modelspec.prediction_type": self.prediction,
        }
