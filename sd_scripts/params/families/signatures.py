"""By which tensors a weights file is recognised: one row per kind of file, first match wins. Names and ranks of tensors count; widths only where an
adapter tells nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """A tensor that must be there: `name` is its full name, or how it begins and `*`; `dims` is its number of dimensions where that matters."""

    name: str
    dims: int | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """A kind of model: all `marks` are there and none of `absent`. `script` trains an adapter for it; empty where kohya's suite has none;
    `refusal` then says why, in a sentence."""

    kind: str
    title: str
    marks: tuple[Mark, ...]
    absent: tuple[str, ...] = ()
    script: str = ""
    refusal: str = ""


_UNET = "model.diffusion_model."
_SD_ATTENTION = f"{_UNET}input_blocks.1.1.proj_in.weight"
_SD_LABELS = f"{_UNET}label_emb.0.0.weight"
_FOLDER_ATTENTION = "unet/down_blocks.0.attentions.0.proj_in.weight"
_FOLDER_LABELS = "unet/add_embedding.linear_1.weight"
_FOLDER_FOURTH_LEVEL = "unet/down_blocks.3.resnets.0.conv1.weight"
_REFINES = (
    "The SDXL refiner is not trained here: it only finishes what the base model has drawn, has one text encoder, and is told an aesthetic score."
)

SIGNATURES = (
    Signature("sdxl", "SDXL", (Mark(_SD_LABELS), Mark("conditioner.embedders.1.model.text_projection")), script="sdxl_train_network"),
    Signature("sdxl_refiner", "SDXL refiner", (Mark(_FOLDER_LABELS), Mark(_FOLDER_FOURTH_LEVEL)), refusal=_REFINES),
    Signature("sdxl", "SDXL", (Mark(_FOLDER_LABELS), Mark("text_encoder_2/text_projection.weight")), script="sdxl_train_network"),
    Signature("sdxl_refiner", "SDXL refiner", (Mark(_SD_LABELS), Mark("conditioner.embedders.0.model.text_projection")), refusal=_REFINES),
    Signature("sdxl", "SDXL", (Mark(_SD_LABELS),), script="sdxl_train_network"),
    Signature("sd1", "Stable Diffusion 1.x", (Mark(_SD_ATTENTION, 4),), (_SD_LABELS,), "train_network"),
    Signature("sd2", "Stable Diffusion 2.x", (Mark(_SD_ATTENTION, 2),), (_SD_LABELS,), "train_network"),
    Signature("sd1", "Stable Diffusion 1.x", (Mark(_FOLDER_ATTENTION, 4),), (_FOLDER_LABELS,), "train_network"),
    Signature("sd2", "Stable Diffusion 2.x", (Mark(_FOLDER_ATTENTION, 2),), (_FOLDER_LABELS,), "train_network"),
    Signature("sd3", "Stable Diffusion 3", (Mark(f"{_UNET}joint_blocks.0.x_block.attn.qkv.weight"),), script="sd3_train_network"),
    Signature("sd3", "Stable Diffusion 3", (Mark("joint_blocks.0.x_block.attn.qkv.weight"),), script="sd3_train_network"),
    Signature(
        "sd3",
        "Stable Diffusion 3",
        (Mark("transformer/transformer_blocks.0.attn.add_q_proj.weight"), Mark("transformer/pos_embed.proj.weight")),
        script="sd3_train_network",
    ),
    Signature(
        "chroma",
        "Chroma",
        (Mark("distilled_guidance_layer.in_proj.weight"), Mark("double_blocks.0.img_attn.qkv.weight")),
        script="flux_train_network",
    ),
    Signature("hunyuan_image", "HunyuanImage 2.1", (Mark("double_blocks.0.img_attn_qkv.weight"),), script="hunyuan_image_train_network"),
    Signature("flux", "FLUX.1", (Mark("double_blocks.0.img_attn.qkv.weight"), Mark("single_blocks.0.linear1.weight")), script="flux_train_network"),
    Signature("flux", "FLUX.1", (Mark(f"{_UNET}double_blocks.0.img_attn.qkv.weight"),), script="flux_train_network"),
    Signature("flux", "FLUX.1", (Mark("transformer/single_transformer_blocks.0.proj_mlp.weight"),), script="flux_train_network"),
    Signature(
        "lumina2", "Lumina Image 2", (Mark("cap_embedder.1.weight"), Mark("noise_refiner.0.attention.qkv.weight")), script="lumina_train_network"
    ),
)

LORA_SIGNATURES = (
    Signature("sd3", "Stable Diffusion 3", (Mark("lora_unet_joint_blocks_0_x_block_*"),)),
    Signature("flux", "FLUX.1", (Mark("lora_unet_double_blocks_0_img_attn_qkv.*"),)),
    Signature("flux", "FLUX.1", (Mark("lora_unet_single_blocks_0_linear1.*"),)),
    Signature("sdxl", "SDXL", (Mark("lora_unet_input_blocks_*"),)),
    Signature("sdxl", "SDXL", (Mark("lora_unet_output_blocks_*"),)),
    Signature("sdxl", "SDXL", (Mark("oft_unet_input_blocks_*"),)),
    Signature("sdxl", "SDXL", (Mark("lora_te2_text_model_encoder_*"),)),
    Signature("sd1", "Stable Diffusion 1.x", (Mark("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", 4),)),
    Signature("sd2", "Stable Diffusion 2.x", (Mark("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", 2),)),
)
"""The same for files that hold an adapter. SD 3 comes first: its second text encoder is that of SDXL."""

LORA_NAMES = (
    ("flux", re.compile(r"single_transformer_blocks_\d|(double_blocks_\d+_(img|txt)_(attn|mlp)|single_blocks_\d+_linear[12])")),
    ("sd3", re.compile(r"joint_blocks_\d+_(x|context)_block")),
    ("sdxl", re.compile(r"(down_blocks|up_blocks|mid_block)(_\d)?_attentions_\d_transformer_blocks_[1-9]")),
    ("sdxl", re.compile(r"(input|output)_blocks_\d+_1_transformer_blocks_\d|middle_block_1_transformer_blocks_[1-9]")),
    ("sdxl", re.compile(r"^(base_model_model_)?text_encoder_2_text_model")),
)
"""The same by a part of a name, points written as underscores: for files of PEFT, diffusers and LyCORIS, and for those without the first block."""

JOINED_WIDTHS = {1536: "sd3", 2432: "sd3", 3072: "flux"}
"""Kind of model by the width of layers that join captions and pictures: diffusers calls them alike in both."""

CAPTION_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Kind of model by the width of the captions that its U-Net reads."""

BASE_VERSIONS = {
    "sd_v1": "sd1",
    "sd_v1_v": "sd1",
    "sd_v2": "sd2",
    "sd_v2_v": "sd2",
    "sdxl_base_v1-0": "sdxl",
    "flux1": "flux",
    "chroma": "chroma",
    "lumina2": "lumina2",
}
"""Kind of model by an adapter's `ss_base_model_version`."""

TITLES = {signature.kind: signature.title for signature in SIGNATURES}
