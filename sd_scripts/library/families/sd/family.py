"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, of which clip skip chooses the layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

from sd_scripts.library.families.base import AdapterTarget, TextEmbeddings
from sd_scripts.library.families.clip import EOS, OPEN_CLIP_PAD
from sd_scripts.library.families.ldm.config import Shapes
from sd_scripts.library.families.ldm.family import Ids, LatentDiffusion
from sd_scripts.library.families.ldm.load import Layout, TextPart
from sd_scripts.library.families.ldm.targets import end_targets, text_targets
from sd_scripts.library.families.ldm.text import encode_ids, joined
from sd_scripts.library.families.sd.targets import unet_targets
from sd_scripts.library.transfer import to_device
from sd_scripts.params.families.sd import FACTS, USED_TEXT_LAYERS

CLIP_PREFIX = "cond_stage_model.transformer.text_model."
OLD_CLIP_PREFIX = "cond_stage_model.transformer."
OPEN_CLIP_PREFIX = "cond_stage_model.model."
TEXT = "text_encoder"
CLIP = TextPart(TEXT, CLIP_PREFIX, open_clip=False)
OPEN_CLIP = TextPart(TEXT, OPEN_CLIP_PREFIX, open_clip=True, most_layers=USED_TEXT_LAYERS["sd2"])


def text_parts(shapes: Shapes) -> tuple[TextPart, ...]:
    """The text encoder of a single file: OpenCLIP in 2.x, of whose layers the last is not used; files from before transformers 4.14 have no
    `text_model.` level."""
    if f"{OPEN_CLIP_PREFIX}token_embedding.weight" in shapes:
        return (OPEN_CLIP,)
    return (replace(CLIP, prefix=OLD_CLIP_PREFIX) if f"{OLD_CLIP_PREFIX}final_layer_norm.weight" in shapes else CLIP,)


def folder_parts(unet: Mapping[str, Any]) -> tuple[TextPart, ...]:
    """The text encoder of a diffusers folder: 2.x is known by the linear projections of its U-Net."""
    return (OPEN_CLIP if unet.get("use_linear_projection") else CLIP,)


class SD(LatentDiffusion):
    """A loaded Stable Diffusion 1.x or 2.x model."""

    name: ClassVar[str] = FACTS.name
    layout: ClassVar[Layout] = Layout(FACTS.name, (TEXT,), text_parts, folder_parts)
    vae_scale: ClassVar[float] = 0.18215
    pipeline: ClassVar[str] = "StableDiffusionPipeline"

    @property
    def is_v2(self) -> bool:
        """Whether it is a 2.x model: its projections are linear layers."""
        return bool(self.unet.config["use_linear_projection"])

    def _encoded(self, ids: Ids) -> TextEmbeddings:
        pad_id = OPEN_CLIP_PAD if self.is_v2 else EOS
        input_ids = to_device(ids(pad_id), self._text_device)
        hidden = encode_ids(self.text_encoders[0], input_ids.flatten(0, 1), clip_skip=self._clip_text.clip_skip)
        return TextEmbeddings(joined(hidden, input_ids, pad_id=pad_id))

    def targets(self) -> tuple[AdapterTarget, ...]:
        """Every module that an adapter may patch: text encoder, then down, up and middle blocks of the U-Net."""
        return tuple(chain(text_targets(self.text_encoders[0], part="text_encoder", prefix="lora_te"), unet_targets(self.unet)))

    def outer_targets(self) -> tuple[AdapterTarget, ...]:
        """Norm layers of both, and what stands before and behind the U-Net's blocks."""
        text = text_targets(self.text_encoders[0], part="text_encoder", prefix="lora_te", norms=True)
        ends = end_targets(self.unet, original_names=False, last_block=FACTS.blocks.count - 1)
        return tuple(chain(text, unet_targets(self.unet, norms=True), ends))

    def describe(self) -> Mapping[str, str]:
        """Metadata about the base model, in kohya's order. Waits for the hashes of its files, which are computed since it was loaded."""
        version = ("sd_v2" if self.is_v2 else "sd_v1") + ("_v" if self.prediction == "v" else "")
        rows = {"ss_v2": str(self.is_v2), "ss_base_model_version": version} | self.source_rows()
        if not self.is_v2:
            architecture = "stable-diffusion-v1"
        else:
            architecture = "stable-diffusion-v2-768-v" if self.prediction == "v" else "stable-diffusion-v2-512"
        return rows | {
            "modelspec.architecture": architecture,
            "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": self.prediction,
        }
